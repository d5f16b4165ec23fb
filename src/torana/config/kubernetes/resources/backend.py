"""kgateway's Backend, `gateway.kgateway.dev/v1alpha1`: the API of its guide to OpenAI-compatible providers."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from torana.config.kubernetes.resources.record import Declined, LocalReference, NotYet, Port, Record, Text

LONE_PROVIDER: Final = "backend"
"""kgateway's name for the provider of `spec.ai.llm`, which has none of its own."""


class AuthToken(Record, frozen=True, kw_only=True):
    """`kind` names the member that holds the token; the API does not enforce it, we do."""

    kind: Literal["Inline", "SecretRef", "Passthrough"]
    inline: str | None = None
    secret_ref: LocalReference | None = None


class OpenAI(Record, frozen=True, kw_only=True):
    auth_token: AuthToken
    model: str | None = None


class Anthropic(Record, frozen=True, kw_only=True):
    """`api_version` goes into the header `anthropic-version`."""

    auth_token: AuthToken
    api_version: str | None = None
    model: str | None = None


class Path(Record, frozen=True, kw_only=True):
    full: Text


class AuthHeader(Record, frozen=True, kw_only=True):
    prefix: Text | None = None
    header_name: Text | None = None


class LlmProvider(Record, frozen=True, kw_only=True):
    """Exactly one of the six providers; `name` is given in priority groups only."""

    name: str | None = None
    openai: OpenAI | None = None
    anthropic: Anthropic | None = None
    azureopenai: Declined = None
    gemini: Declined = None
    vertexai: Declined = None
    bedrock: Declined = None
    host: Text | None = None
    port: Port | None = None
    path: Path | None = None
    auth_header: AuthHeader | None = None
    routes: NotYet = None


class PriorityGroup(Record, frozen=True, kw_only=True):
    providers: tuple[LlmProvider, ...]


class Ai(Record, frozen=True, kw_only=True):
    llm: LlmProvider | None = None
    priority_groups: tuple[PriorityGroup, ...] = ()


class StaticHost(Record, frozen=True, kw_only=True):
    host: Text
    port: Port


class Static(Record, frozen=True, kw_only=True):
    hosts: tuple[StaticHost, ...]
    app_protocol: NotYet = None


class Backend(Record, frozen=True, kw_only=True):
    fails_closed: ClassVar[bool] = True

    type: Literal["AI", "AWS", "Static", "DynamicForwardProxy", "MCP"]
    ai: Ai | None = None
    static: Static | None = None
    aws: Declined = None
    dynamic_forward_proxy: Declined = None
    mcp: Declined = None
