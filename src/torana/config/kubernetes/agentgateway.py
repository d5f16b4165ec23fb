"""agentgateway's AgentgatewayBackend as Drafts: `ai` and `static`, with their policies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import msgspec

from torana.config.kubernetes import conditions
from torana.config.kubernetes.agentgateway_policies import (
    Trouble,
    auth,
    connect_timeout,
    health,
    keepalive,
    request_timeout,
    tls,
)
from torana.config.kubernetes.conditions import Fault, judged
from torana.config.kubernetes.drafts import (
    HTTPS,
    Draft,
    OfRoute,
    Outcome,
    address_fault,
    address_of,
    closed,
    finish,
    full_path_fault,
    lone,
    of_groups,
    own_place,
    unspoken,
)
from torana.config.kubernetes.objects import Key, Object
from torana.config.kubernetes.resources import agentgateway as schema
from torana.config.kubernetes.resources.record import ObjectReference
from torana.config.kubernetes.services import Services
from torana.config.kubernetes.store import AGENTGATEWAY, Store
from torana.config.kubernetes.tls_policies import TlsPolicies
from torana.config.syntax import path_fault
from torana.model.backend import Connecting, Provider, ProviderKind, Tunnel
from torana.model.policy import BackendTls

KIND: Final = "AgentgatewayBackend"

_PROVIDERS = ("openai", "azureopenai", "azure", "anthropic", "gemini", "vertexai", "bedrock", "custom")
_KINDS = {
    "ai": "ai",
    "static": "static",
    "dynamic_forward_proxy": "dynamicForwardProxy",
    "mcp": "mcp",
    "aws": "aws",
    "a2a": "a2a",
}
_PLAINTEXT = "is reached in plaintext, on port 443: give policies.tls or a BackendTLSPolicy"


class Around(msgspec.Struct, frozen=True):
    """What a backend may refer to."""

    store: Store
    policies: TlsPolicies
    services: Services


def read(obj: Object, around: Around) -> Outcome:
    written = around.store.read(schema.AgentgatewayBackend, obj)
    if written is None:
        return Outcome(faults=(around.store.why(obj),))
    given = [name for member, name in _KINDS.items() if getattr(written, member) is not None]
    if len(given) != 1:
        return Outcome(faults=(f"exactly one of {', '.join(_KINDS.values())} must be set",))
    static, ai, outer = written.static, written.ai, written.policies
    if static is not None:
        return _attempt(obj, around, lambda reader: reader.static(static, outer))
    if ai is None:
        return Outcome(faults=(f"{given[0]} is not supported yet",))
    return _ai(obj, ai, outer, around)


def _ai(obj: Object, ai: schema.Ai, outer: schema.Policies | None, around: Around) -> Outcome:
    """A provider's own policies come before the backend's, field by field."""
    provider = ai.provider
    if (provider is None) == (not ai.groups):
        return Outcome(faults=("exactly one of provider and groups must be set",))
    name = f"{obj.namespace}/{obj.name}"
    if provider is not None:
        return _attempt(obj, around, lambda reader: reader.provider(provider, outer, name))

    def read_one(one: schema.LlmProvider, label: str) -> Outcome:
        given = _merged(outer, one.policies)
        return _attempt(obj, around, lambda reader: reader.provider(one, given, f"{name}/{label}"))

    return of_groups((group.providers for group in ai.groups), read_one)


def _attempt(obj: Object, around: Around, make: Callable[[_Reader], Draft | None]) -> Outcome:
    reader = _Reader(obj, around)
    try:
        return lone(make(reader), reader.warnings)
    except Trouble as trouble:
        return Outcome((), (str(trouble),), tuple(reader.warnings))


def status(obj: Object, outcome: Outcome) -> dict[str, Any]:
    """Reasons and messages are those of agentgateway's controller."""
    fault = None
    if outcome.faults:
        words = "\n".join(text[:1].lower() + text[1:] for text in dict.fromkeys(outcome.faults))
        fault = Fault("TranslationError", f"failed to translate backend: {words}")
    message = "; ".join(("Backend successfully accepted", *outcome.warnings))
    return {"conditions": [judged(conditions.ACCEPTED, fault, message, obj.generation)]}


class _Reader:
    """One place upstream. Stops at the first fault, with Trouble; warnings are kept."""

    def __init__(self, obj: Object, around: Around) -> None:
        self._obj = obj
        self._around = around
        self._store = around.store
        self.warnings: list[str] = []

    def static(self, written: schema.Static, policies: schema.Policies | None) -> Draft | None:
        address = address_of(written.host, written.port)
        draft = Draft(f"{self._obj.namespace}/{self._obj.name}", _sound(None, address))
        return self._secured(draft, policies, None, written.host, written.port)

    def provider(self, written: schema.LlmProvider, policies: schema.Policies | None, name: str) -> Draft | None:
        """`name` is the backend's in logs and metrics."""
        provider = _provider_of(written)
        host, port = written.host, written.port
        if (host is None) != (port is None):
            raise Trouble("both host and port must be set together")
        if host is None or port is None:
            place = own_place(provider.kind)
            if place is None:
                raise Trouble("custom needs host and port")
            draft = Draft(name, place, provider, BackendTls())
        else:
            draft = Draft(name, _sound(provider, address_of(host, port)), provider)
        return self._secured(_with_paths(draft, written), policies, written.name, host, port)

    def _secured(
        self, draft: Draft, policies: schema.Policies | None, section: str | None, host: str | None, port: int | None
    ) -> Draft | None:
        """TLS of the backend's policies comes before a BackendTLSPolicy's, as the more specific. None fails closed."""
        given = policies or schema.Policies()
        kind = draft.provider.kind if draft.provider is not None else None
        made = auth(given.auth, kind, self._store, self._obj.namespace, self.warnings)
        ruling = self._around.policies.ruling(self._obj.key, section)
        if given.tls is not None:
            settings: BackendTls | None = tls(given.tls, self._store, self._obj.namespace, self.warnings)
        elif closed(ruling):
            return None
        else:
            settings = ruling.tls if ruling is not None else draft.tls
        if settings is None and port == HTTPS:
            self.warnings.append(f"{host} {_PLAINTEXT}")
        return msgspec.structs.replace(
            draft,
            tls=settings,
            auth=made,
            health=health(given.health),
            request_timeout=request_timeout(given.http),
            connecting=self._connecting(given),
        )

    def _connecting(self, given: schema.Policies) -> Connecting | None:
        tunnel = self._tunnel(given.tunnel.backend_ref) if given.tunnel is not None else None
        made = Connecting(connect_timeout(given.tcp), keepalive(given.tcp), tunnel)
        return made if made != Connecting() else None

    def _tunnel(self, ref: ObjectReference) -> Tunnel:
        """Of a Service the first ready endpoint: a tunnel has one way in."""
        field = "policies.tunnel.backendRef"
        key = Key(ref.group, ref.kind, ref.namespace or self._obj.namespace, ref.name)
        if key.namespace != self._obj.namespace:
            raise Trouble(f"{field}: {key} is in another namespace, which is not supported yet")
        match (ref.group, ref.kind):
            case ("", "Service"):
                found = self._around.services.find(key, ref.port)
                if isinstance(found, Fault):
                    raise Trouble(f"{field}: {found.message}")
                draft = next(chain.from_iterable(found), None)
            case (group, kind) if (group, kind) == (AGENTGATEWAY, KIND):
                draft = self._proxy(key, field)
            case _:
                raise Trouble(f"{field}: {key} can be no proxy; use a Service or an AgentgatewayBackend")
        proxy = finish(draft, OfRoute()) if draft is not None else None
        if proxy is None:
            raise Trouble(f"{field}: {key} has no ready endpoint, or a BackendTLSPolicy that cannot be used")
        return Tunnel(proxy.target, proxy.tls, proxy.auth)

    def _proxy(self, key: Key, field: str) -> Draft | None:
        """Raises Trouble. It has no tunnel of its own, so that no two can lead through each other."""
        obj = self._store.get(key)
        if obj is None:
            raise Trouble(f"{field}: {key} {self._store.absence(key)}")
        written = self._store.read(schema.AgentgatewayBackend, obj)
        if written is None or written.static is None:
            raise Trouble(f"{field}: {key} is no static backend, as a proxy has to be")
        if written.policies is not None and written.policies.tunnel is not None:
            raise Trouble(f"{field}: {key} has a tunnel of its own, and one through another is not supported")
        return _Reader(obj, self._around).static(written.static, written.policies)


def _provider_of(written: schema.LlmProvider) -> Provider:
    given = [name for name in _PROVIDERS if getattr(written, name) is not None]
    if len(given) != 1:
        raise Trouble(f"exactly one of {', '.join(_PROVIDERS)} must be set")
    if written.openai is not None:
        return Provider(ProviderKind.OPENAI, written.openai.model or None)
    if written.anthropic is not None:
        return Provider(ProviderKind.ANTHROPIC, written.anthropic.model or None)
    if written.custom is not None and written.custom.backend_ref is None:
        return Provider(ProviderKind.CUSTOM, written.custom.model or None)
    name = "custom.backendRef" if written.custom is not None else given[0]
    raise Trouble(unspoken(name, "pathPrefix {}"))


def _with_paths(draft: Draft, written: schema.LlmProvider) -> Draft:
    if written.path is not None and written.path_prefix is not None:
        raise Trouble("at most one of path and pathPrefix may be set")
    if written.path_prefix is not None and written.host is None:
        raise Trouble("pathPrefix requires host")
    if written.path is not None and (fault := full_path_fault(written.path)) is not None:
        raise Trouble(fault)
    if written.path_prefix is not None and (fault := path_fault(written.path_prefix)) is not None:
        raise Trouble(f'pathPrefix "{written.path_prefix}" {fault}')
    return msgspec.structs.replace(draft, path_override=written.path, path_prefix=written.path_prefix)


def _merged(outer: schema.Policies | None, inner: schema.Policies | None) -> schema.Policies | None:
    if outer is None or inner is None:
        return inner or outer
    own = {name: value for name, value in msgspec.structs.asdict(inner).items() if value is not None}
    return msgspec.structs.replace(outer, **own)


def _sound(provider: Provider | None, address: str) -> str:
    fault = address_fault(provider, address)
    if fault is not None:
        raise Trouble(fault)
    return address
