"""agentgateway's AgentgatewayBackend, `agentgateway.dev/v1alpha1`: the same providers, in today's words."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from torana.config.kubernetes.resources.record import (
    Declined,
    LocalReference,
    NotYet,
    ObjectReference,
    Port,
    Record,
    Refused,
    Text,
)


class OpenAI(Record, frozen=True, kw_only=True):
    model: str | None = None


class Anthropic(Record, frozen=True, kw_only=True):
    model: str | None = None


class Custom(Record, frozen=True, kw_only=True):
    model: str | None = None
    backend_ref: Declined = None
    formats: NotYet = None


class SecretRef(LocalReference, frozen=True, kw_only=True):
    key: str | None = None


class HeaderLocation(Record, frozen=True, kw_only=True):
    name: Text
    prefix: str | None = None


class NamedLocation(Record, frozen=True, kw_only=True):
    name: Text


class Location(Record, frozen=True, kw_only=True):
    """Exactly one of them."""

    header: HeaderLocation | None = None
    query_parameter: NamedLocation | None = None
    cookie: NamedLocation | None = None


class Auth(Record, frozen=True, kw_only=True):
    """At most one credential. Without one that is refused here requests would go bare."""

    key: str | None = None
    secret_ref: SecretRef | None = None
    passthrough: dict[str, object] | None = None
    location: Location | None = None
    aws: Refused = None
    azure: Refused = None
    gcp: Refused = None
    oauth_token_exchange: Refused = None
    cross_app_access: Refused = None
    jwt_sign: Refused = None
    credentials: Refused = None


class Tls(Record, frozen=True, kw_only=True):
    """`{}` is TLS with the system's authorities, for the host that is connected to."""

    sni: str | None = None
    ca_certificate_refs: tuple[LocalReference, ...] = ()
    mtls_certificate_ref: tuple[LocalReference, ...] = ()
    verify_subject_alt_names: tuple[str, ...] = ()
    insecure_skip_verify: Literal["All", "Hostname"] | None = None
    alpn_protocols: tuple[str, ...] = ()
    certificate_source: Refused = None


class AiPolicies(Record, frozen=True, kw_only=True):
    """Guards and what changes a prompt are refused; the others only tune."""

    prompt_guard: Refused = None
    prompt: Refused = None
    overrides: Refused = None
    transformations: Refused = None
    final_transformations: Refused = None
    defaults: NotYet = None
    model_aliases: NotYet = None
    prompt_caching: NotYet = None
    routes: NotYet = None


class Eviction(Record, frozen=True, kw_only=True):
    """Shares are of 100. Without both thresholds the process's own holds."""

    duration: str = "3s"
    consecutive_failures: Annotated[int, msgspec.Meta(ge=0)] | None = None
    health_threshold: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    restore_health: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None


class Health(Record, frozen=True, kw_only=True):
    """`unhealthy_condition` is CEL."""

    unhealthy_condition: str | None = None
    eviction: Eviction | None = None


class Http(Record, frozen=True, kw_only=True):
    version: Literal["HTTP1", "HTTP2"] | None = None
    request_timeout: str | None = None


class Keepalive(Record, frozen=True, kw_only=True):
    time: str = "180s"
    interval: str = "180s"
    retries: Annotated[int, msgspec.Meta(ge=1, le=64)] = 9


class Tcp(Record, frozen=True, kw_only=True):
    keepalive: Keepalive | None = None
    connect_timeout: str | None = None


class Tunnel(Record, frozen=True, kw_only=True):
    """A forward proxy, which is a Service or a static AgentgatewayBackend."""

    backend_ref: ObjectReference


class Policies(Record, frozen=True, kw_only=True):
    auth: Auth | None = None
    tls: Tls | None = None
    ai: AiPolicies | None = None
    ext_auth: Refused = None
    mcp: Refused = None
    transformation: Refused = None
    health: Health | None = None
    http: Http | None = None
    tcp: Tcp | None = None
    tunnel: Tunnel | None = None


class LlmProvider(Record, frozen=True, kw_only=True):
    """Exactly one of the providers; `name` and `policies` are given in groups only."""

    name: str | None = None
    policies: Policies | None = None
    openai: OpenAI | None = None
    anthropic: Anthropic | None = None
    custom: Custom | None = None
    azureopenai: Declined = None
    azure: Declined = None
    gemini: Declined = None
    vertexai: Declined = None
    bedrock: Declined = None
    host: Text | None = None
    port: Port | None = None
    path: str | None = None
    path_prefix: str | None = None


class Group(Record, frozen=True, kw_only=True):
    providers: tuple[LlmProvider, ...]


class Ai(Record, frozen=True, kw_only=True):
    provider: LlmProvider | None = None
    groups: tuple[Group, ...] = ()


class Static(Record, frozen=True, kw_only=True):
    host: Text
    port: Port


class AgentgatewayBackend(Record, frozen=True, kw_only=True):
    fails_closed: ClassVar[bool] = True

    ai: Ai | None = None
    static: Static | None = None
    policies: Policies | None = None
    dynamic_forward_proxy: Declined = None
    mcp: Declined = None
    aws: Declined = None
    a2a: Declined = None
