"""What routes and backends do to requests and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from torana.config.standalone.schema.ai import AiPolicy
from torana.config.standalone.schema.connection import (
    BackendAuth,
    BackendHttp,
    BackendTcp,
    BackendTls,
    BackendTunnel,
)
from torana.config.standalone.schema.record import Duration, Expression, HeaderValues, Port, Record
from torana.config.standalone.schema.traffic import (
    Buffer,
    ConditionalRateLimits,
    Delay,
    Health,
    RateLimit,
    RequestMirror,
    Retry,
    SessionAffinity,
    Timeout,
)


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


class Answer(Record, frozen=True):
    """An answer of the gateway's own, but for its status."""

    not_yet = ("bodyExpression",)

    body: Annotated[str, Meta(description="The body, as text.")] = ""
    headers: Annotated[HeaderValues, Meta(description="Headers of the answer, by name.")] = field(default_factory=dict)


Status = Annotated[int, Meta(ge=200, le=599)]


class ConditionalResponse(Answer, frozen=True, kw_only=True):
    """A direct response to some requests."""

    status: Annotated[Status, Meta(description="The status code.")]
    condition: Annotated[
        Expression | None, Meta(description="Of the request; left out, and then in the last entry only: always.")
    ] = None


class DirectResponse(Answer, frozen=True, kw_only=True):
    """Answers by itself; the request goes no further. Give exactly one of `status` and `conditional`."""

    exactly_one = ("status", "conditional")
    alone = ("conditional",)

    status: Annotated[Status | None, Meta(description="The status code.")] = None
    conditional: Annotated[
        tuple[ConditionalResponse, ...] | None,
        Meta(
            description="Up to 64 responses: the first whose condition is true is given. Without one, the request "
            "goes on."
        ),
    ] = None


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


class Csrf(Record, frozen=True):
    """Requests of browsers that change something must come from the host itself; others are answered 403."""

    additional_origins: Annotated[
        tuple[str, ...], Meta(description="Other origins they may come from, such as `https://app.example.com`.")
    ] = ()


class BackendPolicies(Record, frozen=True):
    """What one backend adds. A more specific place replaces the same policy of a less specific one as a whole."""

    not_yet = (
        "transformations",
        "extAuthz",
        "authorization",
        "a2a",
        "mcpAuthorization",
        "mcpAuthentication",
        "mcpGuardrails",
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
    backend_tunnel: Annotated[
        BackendTunnel | None, Meta(description="A forward proxy that the backend is reached through.")
    ] = None
    ai: Annotated[AiPolicy | None, Meta(description="What is done to the calls of a language model.")] = None
    http: Annotated[BackendHttp | None, Meta(description="How HTTP is spoken with the backend.")] = None
    tcp: Annotated[BackendTcp | None, Meta(description="How connections to the backend are made and kept.")] = None
    health: Annotated[Health | None, Meta(description="When the backend gets no more requests for a while.")] = None
    session_affinity: Annotated[
        SessionAffinity | None, Meta(description="Which requests go to the same provider of an `ai.groups`.")
    ] = None


class RoutePolicies(Record, frozen=True):
    """What a route does to its requests and their answers."""

    not_yet = (
        "a2a",
        "apiKey",
        "authorization",
        "basicAuth",
        "extAuthz",
        "extProc",
        "jwtAuth",
        "mcpAuthentication",
        "mcpAuthorization",
        "mcpGuardrails",
        "oidc",
        "remoteRateLimit",
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
    ai: Annotated[
        AiPolicy | None, Meta(description="What is done to calls, for backends that do not say it themselves.")
    ] = None
    timeout: Annotated[Timeout | None, Meta(description="How long an answer may take.")] = None
    retry: Annotated[Retry | None, Meta(description="What is sent once more when nobody has answered.")] = None
    local_rate_limit: Annotated[
        tuple[RateLimit, ...] | ConditionalRateLimits | None,
        Meta(
            description="How many requests or tokens may come; all limits of the list hold. Counted per process group."
        ),
    ] = None
    request_mirror: Annotated[
        RequestMirror | tuple[RequestMirror, ...] | None,
        Meta(description="Where copies of the requests go, whose answers nobody reads; one, or a list."),
    ] = None
    delay: Annotated[
        Delay | None, Meta(description="A pause before the request goes on, to try what a slow day is like.")
    ] = None
    buffer: Annotated[Buffer | None, Meta(description="Bodies that are gathered before they go on.")] = None
    cors: Annotated[Cors | None, Meta(description="Which web pages of other origins may call this route.")] = None
    csrf: Annotated[Csrf | None, Meta(description="Whether browsers may send changes from other sites.")] = None
    backend_tls: Annotated[
        BackendTls | None, Meta(description="TLS towards the backends that do not say it themselves.")
    ] = field(default=None, name="backendTLS")
    backend_auth: Annotated[
        BackendAuth | None, Meta(description="The credential for backends that have none of their own.")
    ] = None
    backend_tunnel: Annotated[
        BackendTunnel | None, Meta(description="A forward proxy for backends that have none of their own.")
    ] = None
