"""What routes and backends do to requests and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from torana.config.standalone.schema.record import Duration, Empty, HeaderValues, Name, Port, Record


class HeaderModifier(Record, frozen=True):
    """Changes headers: `remove` first, then `set`, then `add`."""

    add: Annotated[HeaderValues, Meta(description="Headers to append, by name; one that is there already stays.")] = (
        field(default_factory=dict)
    )
    set: Annotated[HeaderValues, Meta(description="Headers to overwrite, by name.")] = field(default_factory=dict)
    remove: Annotated[tuple[str, ...], Meta(description="Names of headers to delete.")] = ()


class Authority(Record, frozen=True):
    """The `Host` that goes on. Give exactly one key."""

    exactly_one = ("full", "host", "port")

    full: Annotated[
        str | None, Meta(description="The whole `host[:port]`. `:443` with TLS and `:80` without it are dropped.")
    ] = None
    host: Annotated[str | None, Meta(description="A host; the port of the request is kept.")] = None
    port: Annotated[Port | None, Meta(description="A port; the host of the request is kept.")] = None


AuthorityRule = Authority | Literal["auto", "none"]


class RewritePath(Record, frozen=True):
    """The path that goes on. Give exactly one key."""

    exactly_one = ("full", "prefix")

    full: Annotated[str | None, Meta(description="The whole path; the client's query is kept.")] = None
    prefix: Annotated[
        str | None, Meta(description="What takes the place of the matched `pathPrefix`; all matches need one.")
    ] = None


class UrlRewrite(Record, frozen=True):
    """Changes the host name and the path on the way to the backend."""

    authority: Annotated[
        AuthorityRule | None,
        Meta(
            description="The `Host` that goes on: an object, or `auto` (the backend's own name; the default) or `none` "
            "(the client's). Without `hostOverride`, `full` and `host` also say where an `ai` backend is."
        ),
    ] = None
    path: Annotated[RewritePath | None, Meta(description="The path that goes on.")] = None


class RequestRedirect(Record, frozen=True):
    """Answers with a redirect; the request goes no further."""

    scheme: Annotated[Literal["http", "https"] | None, Meta(description="The scheme to redirect to.")] = None
    authority: Annotated[AuthorityRule | None, Meta(description="The host to redirect to.")] = None
    path: Annotated[RewritePath | None, Meta(description="The path to redirect to.")] = None
    status: Annotated[int, Meta(description="301, 302, 303, 307 or 308.")] = 302


class DirectResponse(Record, frozen=True):
    """Answers by itself; the request goes no further."""

    not_yet = ("bodyExpression", "conditional")

    status: Annotated[int, Meta(ge=200, le=599, description="The status code.")]
    body: Annotated[str, Meta(description="The body, as text.")] = ""
    headers: Annotated[HeaderValues, Meta(description="Headers of the answer, by name.")] = field(default_factory=dict)


class Timeout(Record, frozen=True):
    """How long an answer may take to begin; 504 when it takes longer."""

    request_timeout: Annotated[
        Duration | None, Meta(description="From the request to the head of the answer, all attempts together.")
    ] = None
    backend_request_timeout: Annotated[Duration | None, Meta(description="The same for one attempt.")] = None


class Cors(Record, frozen=True):
    """Which web pages of other origins may call this route (Fetch standard)."""

    allow_origins: Annotated[
        tuple[str, ...], Meta(description="Origins: exact, `*`, or with one `*` as in `https://*.example.com`.")
    ] = ()
    allow_methods: Annotated[tuple[str, ...], Meta(description="Methods, or `*`.")] = ()
    allow_headers: Annotated[tuple[str, ...], Meta(description="Request headers, or `*`.")] = ()
    expose_headers: Annotated[tuple[str, ...], Meta(description="Response headers that the page may read.")] = ()
    allow_credentials: Annotated[bool, Meta(description="Whether cookies and credentials may be sent along.")] = False
    max_age: Annotated[
        int | Duration | None, Meta(description="How long a browser may remember the answer; a number is seconds.")
    ] = None


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


class BackendPolicies(Record, frozen=True):
    """What one backend adds. A more specific place replaces the same policy of a less specific one as a whole."""

    not_yet = (
        "transformations",
        "backendTunnel",
        "http",
        "tcp",
        "health",
        "extAuthz",
        "authorization",
        "ai",
        "a2a",
        "mcpAuthorization",
        "mcpAuthentication",
        "mcpGuardrails",
        "sessionAffinity",
        "inferenceRouting",
    )

    request_header_modifier: Annotated[HeaderModifier | None, Meta(description="Changes headers of the request.")] = (
        None
    )
    response_header_modifier: Annotated[HeaderModifier | None, Meta(description="Changes headers of the answer.")] = (
        None
    )
    request_redirect: Annotated[RequestRedirect | None, Meta(description="Answers with a redirect.")] = None
    backend_tls: Annotated[BackendTls | None, Meta(description="TLS towards the backend.")] = field(
        default=None, name="backendTLS"
    )
    backend_auth: Annotated[BackendAuth | None, Meta(description="The credential that the backend gets.")] = None


class RoutePolicies(Record, frozen=True):
    """What a route does to its requests and their answers."""

    not_yet = (
        "a2a",
        "ai",
        "apiKey",
        "authorization",
        "backendTunnel",
        "basicAuth",
        "buffer",
        "csrf",
        "delay",
        "extAuthz",
        "extProc",
        "jwtAuth",
        "localRateLimit",
        "mcpAuthentication",
        "mcpAuthorization",
        "mcpGuardrails",
        "oidc",
        "remoteRateLimit",
        "requestMirror",
        "retry",
        "transformations",
    )

    url_rewrite: Annotated[UrlRewrite | None, Meta(description="Changes host name and path.")] = None
    request_header_modifier: Annotated[HeaderModifier | None, Meta(description="Changes headers of the request.")] = (
        None
    )
    response_header_modifier: Annotated[HeaderModifier | None, Meta(description="Changes headers of the answer.")] = (
        None
    )
    request_redirect: Annotated[RequestRedirect | None, Meta(description="Answers with a redirect.")] = None
    direct_response: Annotated[DirectResponse | None, Meta(description="Answers by itself.")] = None
    timeout: Annotated[Timeout | None, Meta(description="How long an answer may take to begin.")] = None
    cors: Annotated[Cors | None, Meta(description="Which web pages of other origins may call this route.")] = None
    backend_tls: Annotated[
        BackendTls | None, Meta(description="TLS towards the backends that do not say it themselves.")
    ] = field(default=None, name="backendTLS")
    backend_auth: Annotated[
        BackendAuth | None, Meta(description="The credential for backends that have none of their own.")
    ] = None
