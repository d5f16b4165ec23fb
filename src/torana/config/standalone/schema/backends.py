"""The places upstream."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from torana.config.standalone.schema.policies import BackendPolicies
from torana.config.standalone.schema.providers import Provider
from torana.config.standalone.schema.record import Name, Record


class AiKeys(Record, frozen=True):
    """What a backend that serves a language model says besides its provider."""

    name: Annotated[Name | None, Meta(description="Its name in logs and metrics.")] = None
    host_override: Annotated[
        str | None,
        Meta(
            description="Where to connect: `host:port`, `host` (port 443 with TLS, 80 without), `[v6]:port`, "
            "`unix:/path`, or `http://` and `https://` before a host. Left out: `urlRewrite.authority`, else the "
            "provider's own place."
        ),
    ] = None
    path_override: Annotated[
        str | None, Meta(description="The path that goes on, whatever the client's; its query is dropped.")
    ] = None
    path_prefix: Annotated[str | None, Meta(description="What takes the place of the provider's base path, `/v1`.")] = (
        None
    )
    tokenize: Annotated[bool, Meta(description="Counting tokens before the call; only `false` is supported.")] = False
    policies: Annotated[BackendPolicies | None, Meta(description="Policies of this provider.")] = None


class AiProvider(AiKeys, frozen=True, kw_only=True):
    """One of several places that serve a language model."""

    provider: Annotated[Provider, Meta(description="Which API it speaks.")]


class AiGroup(Record, frozen=True):
    """Providers of one priority: requests are balanced among them."""

    providers: Annotated[tuple[AiProvider, ...], Meta(description="The providers; the better of two drawn is asked.")]


class Ai(AiKeys, frozen=True, kw_only=True):
    """A backend that serves a language model. Give exactly one of `provider` and `groups`."""

    exactly_one = ("provider", "groups")
    alone = ("groups",)

    provider: Annotated[Provider | None, Meta(description="Which API it speaks.")] = None
    groups: Annotated[
        tuple[AiGroup, ...] | None,
        Meta(
            description="Several providers, in order of priority: a group takes what those before it cannot. "
            "No other key may stand beside it."
        ),
    ] = None


class RouteBackend(Record, frozen=True):
    """A backend's share of a route. Give exactly one of `host`, `ai` and `backend`."""

    not_yet = ("mcp", "service", "dynamic", "aws", "routeGroup", "internal", "invalid")
    exactly_one = ("host", "ai", "backend")

    weight: Annotated[int, Meta(ge=0, description="It is picked in proportion to this; 0 is never picked.")] = 1
    host: Annotated[
        str | None,
        Meta(description="A plain HTTP backend: `name:port`, `1.2.3.4:80`, `[v6]:port`, `unix:/path`, `https://name`."),
    ] = None
    ai: Annotated[Ai | None, Meta(description="A backend that serves a language model.")] = None
    backend: Annotated[
        str | None, Meta(description="One of the top-level `backends`: `/name` or `namespace/name`.")
    ] = None
    policies: Annotated[BackendPolicies | None, Meta(description="Policies of this backend on this route.")] = None


class NamedBackend(Record, frozen=True):
    """A backend that routes refer to by name. Give exactly one of `host` and `ai`."""

    not_yet = ("mcp", "service", "dynamic", "aws", "internal")
    exactly_one = ("host", "ai")

    name: Annotated[Name, Meta(description="The name that routes use: `backend: /name`.")]
    namespace: Annotated[
        str | None, Meta(description="Its namespace; routes then write `backend: namespace/name`.")
    ] = None
    host: Annotated[str | None, Meta(description="A plain HTTP backend, as in `routes[].backends[].host`.")] = None
    ai: Annotated[Ai | None, Meta(description="A backend that serves a language model.")] = None
    policies: Annotated[BackendPolicies | None, Meta(description="Policies of this backend wherever it is used.")] = (
        None
    )
