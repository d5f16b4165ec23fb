"""agentgateway's AgentgatewayBackend as a Draft: `ai` and `static`, with the policies `auth` and `tls`."""

from __future__ import annotations

from typing import Any

import msgspec

from torana.config.kubernetes import conditions
from torana.config.kubernetes.agentgateway_policies import Trouble, auth, tls
from torana.config.kubernetes.conditions import Fault, judged
from torana.config.kubernetes.drafts import (
    HTTPS,
    Draft,
    Outcome,
    address_fault,
    address_of,
    closed,
    full_path_fault,
    own_place,
)
from torana.config.kubernetes.objects import Object
from torana.config.kubernetes.resources import agentgateway as schema
from torana.config.kubernetes.store import Store
from torana.config.kubernetes.tls_policies import TlsPolicies
from torana.config.syntax import path_fault
from torana.model.backend import Provider, ProviderKind
from torana.model.policy import BackendTls

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


def read(obj: Object, store: Store, policies: TlsPolicies) -> Outcome:
    written = store.read(schema.AgentgatewayBackend, obj)
    if written is None:
        return Outcome(None, (store.why(obj),))
    given = [name for member, name in _KINDS.items() if getattr(written, member) is not None]
    if len(given) != 1:
        return Outcome(None, (f"exactly one of {', '.join(_KINDS.values())} must be set",))
    reader = _Reader(obj, store, policies)
    try:
        if written.static is not None:
            draft = reader.static(written.static, written.policies)
        elif written.ai is not None:
            draft = reader.ai(written.ai, written.policies)
        else:
            return Outcome(None, (f"{given[0]} is not supported yet",))
    except Trouble as trouble:
        return Outcome(None, (str(trouble),), tuple(reader.warnings))
    return Outcome(draft, (), tuple(reader.warnings))


def status(obj: Object, outcome: Outcome) -> dict[str, Any]:
    """Reasons and messages are those of agentgateway's controller."""
    fault = None
    if outcome.faults:
        words = "\n".join(text[:1].lower() + text[1:] for text in dict.fromkeys(outcome.faults))
        fault = Fault("TranslationError", f"failed to translate backend: {words}")
    message = "; ".join(("Backend successfully accepted", *outcome.warnings))
    return {"conditions": [judged(conditions.ACCEPTED, fault, message, obj.generation)]}


class _Reader:
    """Stops at the first fault, with Trouble; warnings are kept."""

    def __init__(self, obj: Object, store: Store, policies: TlsPolicies) -> None:
        self._obj = obj
        self._store = store
        self._policies = policies
        self._name = f"{obj.namespace}/{obj.name}"
        self.warnings: list[str] = []

    def static(self, written: schema.Static, policies: schema.Policies | None) -> Draft | None:
        address = address_of(written.host, written.port)
        draft = Draft(self._name, _sound(None, address))
        return self._secured(draft, policies, None, written.host, written.port)

    def ai(self, ai: schema.Ai, policies: schema.Policies | None) -> Draft | None:
        """The provider's own policies come before the backend's, field by field."""
        if (ai.provider is None) == (not ai.groups):
            raise Trouble("exactly one of provider and groups must be set")
        if ai.provider is not None:
            return self._provider(ai.provider, policies, None)
        providers = [provider for group in ai.groups for provider in group.providers]
        if not ai.groups[0].providers:
            raise Trouble("no valid AI provider groups were translated")
        first = providers[0]
        if len(providers) > 1:
            what = f'only the first provider "{first.name}" is used: failover and balancing are not supported yet'
            self.warnings.append(what)
        return self._provider(first, _merged(policies, first.policies), first.name)

    def _provider(
        self, written: schema.LlmProvider, policies: schema.Policies | None, section: str | None
    ) -> Draft | None:
        provider = _provider_of(written)
        host, port = written.host, written.port
        if (host is None) != (port is None):
            raise Trouble("both host and port must be set together")
        if host is None or port is None:
            place = own_place(provider.kind)
            if place is None:
                raise Trouble("custom needs host and port")
            draft = Draft(self._name, place, provider, BackendTls())
        else:
            draft = Draft(self._name, _sound(provider, address_of(host, port)), provider)
        return self._secured(_with_paths(draft, written), policies, section, host, port)

    def _secured(
        self, draft: Draft, policies: schema.Policies | None, section: str | None, host: str | None, port: int | None
    ) -> Draft | None:
        """TLS of the backend's policies comes before a BackendTLSPolicy's, as the more specific. None fails closed."""
        given = policies or schema.Policies()
        made = auth(given.auth, self._store, self._obj.namespace, self.warnings)
        ruling = self._policies.ruling(self._obj.key, section)
        if given.tls is not None:
            settings: BackendTls | None = tls(given.tls, self._store, self._obj.namespace, self.warnings)
        elif closed(ruling):
            return None
        else:
            settings = ruling.tls if ruling is not None else draft.tls
        if settings is None and port == HTTPS:
            self.warnings.append(f"{host} {_PLAINTEXT}")
        return msgspec.structs.replace(draft, tls=settings, auth=made)


def _provider_of(written: schema.LlmProvider) -> Provider:
    given = [name for name in _PROVIDERS if getattr(written, name) is not None]
    if len(given) != 1:
        raise Trouble(f"exactly one of {', '.join(_PROVIDERS)} must be set")
    if written.openai is not None:
        return Provider(ProviderKind.OPENAI, written.openai.model or None)
    if written.custom is not None and written.custom.backend_ref is None:
        return Provider(ProviderKind.CUSTOM, written.custom.model or None)
    name = "custom.backendRef" if written.custom is not None else given[0]
    raise Trouble(f"provider {name} is not supported yet")


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
    return schema.Policies(auth=inner.auth or outer.auth, tls=inner.tls or outer.tls)


def _sound(provider: Provider | None, address: str) -> str:
    fault = address_fault(provider, address)
    if fault is not None:
        raise Trouble(fault)
    return address
