"""The named parts of a backend that a BackendTLSPolicy may mean: a Service's ports, and a Backend's providers."""

from __future__ import annotations

from torana.config.kubernetes.objects import Object
from torana.config.kubernetes.resources import agentgateway, backend
from torana.config.kubernetes.store import AGENTGATEWAY, KGATEWAY, Store


def section_names(obj: Object, store: Store) -> frozenset[str] | None:
    """None where it is not known which parts the object has."""
    match obj.group, obj.kind:
        case "", "Service":
            ports = obj.spec.get("ports")
            names = [port.get("name") for port in ports if isinstance(port, dict)] if isinstance(ports, list) else []
            return frozenset(name for name in names if isinstance(name, str))
        case group, "Backend" if group == KGATEWAY:
            return _of_kgateway(store.read(backend.Backend, obj))
        case group, "AgentgatewayBackend" if group == AGENTGATEWAY:
            return _of_agentgateway(store.read(agentgateway.AgentgatewayBackend, obj))
        case _:
            return None


def _of_kgateway(written: backend.Backend | None) -> frozenset[str] | None:
    if written is None:
        return None
    ai = written.ai or backend.Ai()
    lone = {backend.LONE_PROVIDER} if ai.llm is not None else set()
    return frozenset(lone | {each.name for group in ai.priority_groups for each in group.providers if each.name})


def _of_agentgateway(written: agentgateway.AgentgatewayBackend | None) -> frozenset[str] | None:
    if written is None:
        return None
    ai = written.ai or agentgateway.Ai()
    lone = [ai.provider] if ai.provider is not None else []
    providers = [*lone, *(each for group in ai.groups for each in group.providers)]
    return frozenset(each.name for each in providers if each.name)
