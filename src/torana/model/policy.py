"""What a route or a backend does to a request or its answer, as data. The behaviour of each is one file in `policies/`.

Names and meanings follow Gateway API's HTTPRoute filters and agentgateway's route policies.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from torana.model.secret import Secret


class HeaderModifier(msgspec.Struct, frozen=True):
    """Gateway API HTTPHeaderFilter: `remove` deletes, then `set` overwrites, then `add` appends."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class AuthorityKind(Enum):
    """How the `Host` that goes on is made.

    FULL: the text given. HOST: that host, the request's port kept. PORT: the request's host, that port. AUTO: the
    address connected to, with its port when it is not the scheme's default. NONE: the client's, unchanged.
    """

    FULL = "full"
    HOST = "host"
    PORT = "port"
    AUTO = "auto"
    NONE = "none"


class Authority(msgspec.Struct, frozen=True):
    """A rule for `Host`; `value` is set for FULL (host[:port]), HOST (host) and PORT (a number as text)."""

    kind: AuthorityKind = AuthorityKind.AUTO
    value: str = ""


class PathKind(Enum):
    """How the path that goes on is made.

    KEEP: the client's. FULL: the text given, the client's query kept. PREFIX: the route's matched prefix swapped for
    the text. OVERRIDE: the text given and nothing else, the query dropped. BASE: the text plus the operation's own
    suffix (`/v1` + `/chat/completions`), the query kept; a path that is no known operation has its leading `/v1`
    swapped for the text. CHAT: as BASE, but a path that is no known operation is a chat completion: a route of its own,
    such as `/mistral`, says enough.
    """

    KEEP = "keep"
    FULL = "full"
    PREFIX = "prefix"
    OVERRIDE = "override"
    BASE = "base"
    CHAT = "chat"


class PathRule(msgspec.Struct, frozen=True):
    kind: PathKind = PathKind.KEEP
    value: str = ""


class Redirect(msgspec.Struct, frozen=True):
    """Gateway API HTTPRequestRedirectFilter. `status` is one of 301, 302, 303, 307, 308."""

    scheme: str | None = None
    authority: Authority | None = None
    path: PathRule | None = None
    status: int = 302


class DirectResponse(msgspec.Struct, frozen=True):
    """A fixed reply; the body goes out as UTF-8."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Timeout(msgspec.Struct, frozen=True):
    """Seconds until the answer's head: `request` for all attempts together, `backend_request` for each."""

    request: float | None = None
    backend_request: float | None = None


class Cors(msgspec.Struct, frozen=True):
    """Cross-origin rules (Fetch standard). Origins are exact, `*`, or with one `*` as in `https://*.example.com`."""

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int | None = None


class TlsVersion(Enum):
    V1_2 = "TLS_V1_2"
    V1_3 = "TLS_V1_3"


class BackendTls(msgspec.Struct, frozen=True):
    """TLS towards a backend; its presence means TLS is on. Certificates are PEM text, read when configuration is.

    `hostname` is sent as SNI and checked against the certificate; None means the host connected to. `insecure` checks
    nothing; `insecure_host` checks the chain and not the name; `subject_alt_names` are accepted instead of the
    hostname. `roots` None means the system's.
    """

    hostname: str | None = None
    roots: str | None = None
    cert: str | None = None
    key: Secret | None = None
    insecure: bool = False
    insecure_host: bool = False
    subject_alt_names: tuple[str, ...] = ()


class CredentialPlace(Enum):
    HEADER = "header"
    QUERY = "queryParameter"
    COOKIE = "cookie"


class BackendAuth(msgspec.Struct, frozen=True):
    """The credential a backend gets, and where. The default place is `Authorization: Bearer <key>`."""

    key: Secret
    place: CredentialPlace = CredentialPlace.HEADER
    name: str = "authorization"
    prefix: str = "Bearer "


class RoutePolicies(msgspec.Struct, frozen=True):
    """What happens on a route before and after the backend; None is off."""

    cors: Cors | None = None
    request_headers: HeaderModifier | None = None
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    response_headers: HeaderModifier | None = None
    timeout: Timeout | None = None
