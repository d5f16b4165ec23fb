"""How a backend is reached: TLS, credentials, forward proxies, and the connections themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from torana.config.standalone.schema.record import Count, Duration, Empty, Name, Record, Size


class BackendTls(Record, frozen=True):
    """TLS towards the backend. `{}` is enough: the system's roots, and the host connected to is the name checked."""

    not_yet = ("keyExchangeGroups", "spiffe")
    empty = Empty.REFUSED

    cert: Annotated[str | None, Meta(description="File of the client certificate, PEM; needs `key`.")] = None
    key: Annotated[str | None, Meta(description="File of the client certificate's key, PEM; needs `cert`.")] = None
    root: Annotated[
        str | None, Meta(description="File of the certificate authorities to trust, PEM, instead of the system's.")
    ] = None
    hostname: Annotated[
        str | None, Meta(description="The name sent (SNI) and checked, instead of the host connected to.")
    ] = None
    insecure: Annotated[bool, Meta(description="Check nothing. Anyone on the way can read the key.")] = False
    insecure_host: Annotated[
        bool, Meta(description="Check who issued the certificate, not for which name. Wins over `insecure`.")
    ] = False
    alpn: Annotated[
        tuple[str, ...] | None, Meta(description="Protocols to offer; Torana speaks `http/1.1` to backends.")
    ] = None
    subject_alt_names: Annotated[
        tuple[str, ...], Meta(description="Names that are accepted instead of the host connected to.")
    ] = ()


class KeyFile(Record, frozen=True):
    """A credential in a file of its own."""

    file: Annotated[
        str, Meta(description="The file; white space around its text is cut off. It is read again on change.")
    ]


class HeaderLocation(Record, frozen=True):
    """A header for the credential."""

    name: Annotated[Name, Meta(description="The header's name.")]
    prefix: Annotated[str, Meta(description="Text before the credential, such as `Bearer ` with its space.")] = ""


class NamedLocation(Record, frozen=True):
    """A query parameter or a cookie for the credential."""

    name: Annotated[Name, Meta(description="Its name.")]


class KeyLocation(Record, frozen=True):
    """Where the credential goes. Give exactly one key."""

    not_yet = ("expression",)
    exactly_one = ("header", "queryParameter", "cookie")

    header: Annotated[HeaderLocation | None, Meta(description="Into a header.")] = None
    query_parameter: Annotated[NamedLocation | None, Meta(description="Into the query.")] = None
    cookie: Annotated[NamedLocation | None, Meta(description="Into a cookie.")] = None


class Key(Record, frozen=True):
    """A credential, and where it goes. Give exactly one of `file` and `value`."""

    exactly_one = ("file", "value")

    file: Annotated[str | None, Meta(description="A file with the credential, sent as `Authorization: Bearer`.")] = None
    value: Annotated[str | KeyFile | None, Meta(description="The credential, or the file that holds it.")] = None
    location: Annotated[
        KeyLocation | None, Meta(description="Where it goes; `Authorization: Bearer` when left out. Needs `value`.")
    ] = None


class Passthrough(Record, frozen=True):
    """Nothing is added: the client's own credential goes on."""

    not_yet = ("location",)
    empty = Empty.REFUSED


class BackendAuth(Record, frozen=True):
    """The credential that the backend gets. Give exactly one key."""

    not_yet = (
        "gcp",
        "aws",
        "azure",
        "copilot",
        "jwtSign",
        "oauthTokenExchange",
        "crossAppAccess",
        "credentials",
    )
    exactly_one = ("key", "passthrough")
    empty = Empty.REFUSED

    key: Annotated[
        str | Key | None,
        Meta(description="The key, sent as `Authorization: Bearer <key>`; or an object for a file or another place."),
    ] = None
    passthrough: Annotated[Passthrough | None, Meta(description="The client's own credential goes on.")] = None


class BackendHttp(Record, frozen=True):
    """How HTTP is spoken with the backend."""

    version: Annotated[
        Literal["HTTP/1.1"], Meta(description="The version to speak.", extra={"not_yet": ("HTTP/2.0",)})
    ] = "HTTP/1.1"
    request_timeout: Annotated[
        Duration | None,
        Meta(description="How long each attempt may take to begin its answer; 504 when it takes longer."),
    ] = None


class Keepalives(Record, frozen=True):
    """Probes of connections on which nothing is said."""

    enabled: Annotated[bool, Meta(description="Whether there are any.")] = True
    time: Annotated[Duration, Meta(description="How long nothing is said before the first.")] = "180s"
    interval: Annotated[Duration, Meta(description="How long between two.")] = "180s"
    retries: Annotated[Count, Meta(description="How many stay unanswered until the connection is given up.")] = 9


class Time(Record, frozen=True):
    """A duration in two parts."""

    secs: Annotated[Size, Meta(description="Seconds.")] = 0
    nanos: Annotated[Annotated[int, Meta(ge=0, le=999_999_999)], Meta(description="Billionths of a second.")] = 0


class BackendTcp(Record, frozen=True):
    """How connections to the backend are made and kept."""

    keepalives: Annotated[Keepalives | None, Meta(description="Probes of silent connections.")] = None
    connect_timeout: Annotated[
        Duration | Time | None,
        Meta(description="How long connecting, with TLS, may take; `config.backend.connectTimeout` when left out."),
    ] = None


class BackendPlace(Record, frozen=True):
    """A backend without a share of the route. Give exactly one key."""

    not_yet = ("service",)
    exactly_one = ("host", "backend")

    host: Annotated[str | None, Meta(description="Where it is, as in `routes[].backends[].host`.")] = None
    backend: Annotated[
        str | None, Meta(description="One of the top-level `backends`: `/name` or `namespace/name`.")
    ] = None


class TunnelPolicies(Record, frozen=True):
    """What the proxy gets."""

    backend_tls: Annotated[BackendTls | None, Meta(description="TLS towards the proxy.")] = field(
        default=None, name="backendTLS"
    )
    backend_auth: Annotated[
        BackendAuth | None, Meta(description="Its credential, sent as `Proxy-Authorization` when no place is given.")
    ] = None


class BackendTunnel(Record, frozen=True):
    """A forward proxy: it is asked with CONNECT for a connection to the backend."""

    proxy: Annotated[BackendPlace, Meta(description="Where the proxy is.")]
    policies: Annotated[TunnelPolicies | None, Meta(description="TLS towards the proxy, and its credential.")] = None
