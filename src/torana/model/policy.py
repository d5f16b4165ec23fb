"""What a route or a backend does to a request or its answer, as data. The behaviour of each is one file in `policies/`.

Names and meanings follow Gateway API's HTTPRoute filters and agentgateway's route policies.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

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
    """Seconds; None is no limit of its own.

    Until the answer's head: `request` for all attempts together, `backend_request` for each. `first_byte` is
    `backend_request` that, in a stream, lasts until its first content. `stream_idle` is the longest silence within an
    answer (a comment ends it), and `total` the whole exchange, to the answer's last byte.
    """

    request: float | None = None
    backend_request: float | None = None
    first_byte: float | None = None
    stream_idle: float | None = None
    total: float | None = None


class Retry(msgspec.Struct, frozen=True):
    """What is sent once more when no other endpoint is left to take it.

    `attempts` counts the repetitions, not the first. `backoff` is the least pause before each, in seconds. `codes` are
    answers that count as failed, besides those that always do. `precondition` (of the request) and `condition` (of the
    answer) are CEL. `budget` is the share of the recent requests of a route that may be repetitions, 0 to 1.
    """

    attempts: int = 1
    backoff: float = 0.025
    codes: tuple[int, ...] = ()
    precondition: str | None = None
    condition: str | None = None
    budget: float = 0.2


class Eviction(msgspec.Struct, frozen=True):
    """When an endpoint gets no more requests for a while, and for how long. Seconds.

    After `consecutive_failures` in a row, or with a health (the moving share of answers that were well, 0 to 1) below
    `health_threshold`. `duration` doubles with every eviction that follows upon another, up to `max_duration`; what the
    upstream asks for (`retry-after`) goes before it. `restore_health` is the health it comes back with.
    """

    consecutive_failures: int | None = 3
    health_threshold: float | None = None
    duration: float = 3.0
    max_duration: float = 60.0
    restore_health: float = 1.0


class Health(msgspec.Struct, frozen=True):
    """Which of an endpoint's answers speak against it, and what follows. `unhealthy` is CEL; None: 5xx and 429."""

    unhealthy: str | None = None
    eviction: Eviction = Eviction()


class Delay(msgspec.Struct, frozen=True):
    """A pause before the request goes on: `seconds`, or a CEL `expression` that gives them or a duration."""

    seconds: float = 0.0
    expression: str | None = None


class Csrf(msgspec.Struct, frozen=True):
    """Unsafe methods of browsers must come from the host itself or one of these origins."""

    additional_origins: tuple[str, ...] = ()


class BodyBuffer(msgspec.Struct, frozen=True):
    """A body that is gathered before it goes on. One over `max_bytes` is refused, or with `fail_open` streamed."""

    max_bytes: int
    fail_open: bool = False


class Buffer(msgspec.Struct, frozen=True):
    request: BodyBuffer | None = None
    response: BodyBuffer | None = None


class LimitUnit(Enum):
    """What a bucket holds: requests, each of which takes one, or a language model's tokens, taken when known."""

    REQUESTS = "requests"
    TOKENS = "tokens"


class RateLimitKeyKind(Enum):
    """Whose bucket it is. HEADER: the value of a header; API_KEY: the client's credential; CLIENT: its address."""

    HEADER = "header"
    API_KEY = "apiKey"
    CLIENT = "client"


class RateLimitKey(msgspec.Struct, frozen=True):
    """`name` is the header's, for HEADER only."""

    kind: RateLimitKeyKind
    name: str = ""


class RateLimit(msgspec.Struct, frozen=True):
    """A token bucket that begins full: `tokens_per_fill` more every `fill_interval` seconds, up to `max_tokens`.

    `key` None is one bucket for the whole route. `condition` and `unless` are CEL; the limit counts where the condition
    is true and none of `unless` is.
    """

    max_tokens: int
    tokens_per_fill: int
    fill_interval: float
    unit: LimitUnit = LimitUnit.REQUESTS
    key: RateLimitKey | None = None
    condition: str | None = None
    unless: tuple[str, ...] = ()


class Affinity(msgspec.Struct, frozen=True):
    """What requests that belong together have in common: a header, a cookie, or the value of a CEL expression."""

    header: str | None = None
    cookie: str | None = None
    expression: str | None = None


class Conditional(msgspec.Struct, frozen=True):
    """A direct response that is given where `condition` (CEL) is true; None is always."""

    condition: str | None
    response: DirectResponse


LONGEST_KEEPALIVE: Final = 32767
MOST_PROBES: Final = 127
"""Seconds and probes; Linux refuses more (tcp(7): MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT)."""


class Keepalive(msgspec.Struct, frozen=True):
    """TCP keepalive: seconds idle before the first probe, seconds between probes, and probes until it is given up."""

    idle: float = 180.0
    interval: float = 180.0
    probes: int = 9


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


class RoutePolicies(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens on a route before and after the backend; None is off."""

    cors: Cors | None = None
    request_headers: HeaderModifier | None = None
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    response_headers: HeaderModifier | None = None
    timeout: Timeout | None = None
    retry: Retry | None = None
    csrf: Csrf | None = None
    delay: Delay | None = None
    buffer: Buffer | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    conditional_responses: tuple[Conditional, ...] = ()
