"""Backends: what a backendRef leads to, in any of the kinds that a reference may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import lcm
from typing import Any, Final

import msgspec

from torana.config.kubernetes import agentgateway, kgateway
from torana.config.kubernetes.conditions import Fault, status_of
from torana.config.kubernetes.drafts import Draft, OfRoute, Outcome, finish
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.grants import Grants
from torana.config.kubernetes.objects import Key, Object, Status
from torana.config.kubernetes.resources.record import Reference
from torana.config.kubernetes.services import NOT_FOUND, Services
from torana.config.kubernetes.store import AGENTGATEWAY, GATEWAY_API, KGATEWAY, Store
from torana.config.kubernetes.tls_policies import KIND, TlsPolicies
from torana.model.backend import BackendRef, Group

_SERVICE: Final = ("", "Service")
_FINEST: Final = 1_000_000  # parts that a weight is divided into where the exact number would grow without end


class _Kind(msgspec.Struct, frozen=True):
    read: Callable[[Object, Store, TlsPolicies], Outcome]
    status: Callable[[Object, Outcome], dict[str, Any]]


_KINDS: Final[dict[tuple[str, str], _Kind]] = {
    (KGATEWAY, "Backend"): _Kind(kgateway.read, kgateway.status),
    (AGENTGATEWAY, "AgentgatewayBackend"): _Kind(agentgateway.read, agentgateway.status),
}


class Share(msgspec.Struct, frozen=True):
    """A backendRef's part of a rule: its drafts take even parts of `weight`; a None among them answers 500."""

    weight: int
    drafts: tuple[Draft | None, ...]
    route: OfRoute


class Backends:
    def __init__(self, store: Store, policies: TlsPolicies, grants: Grants, findings: Findings) -> None:
        self._store = store
        self._grants = grants
        self._services = Services(store, policies)
        self._outcomes: dict[Key, Outcome] = {}
        self.statuses: list[Status] = []
        for (group, name), kind in _KINDS.items():
            for obj in store.all(group, name):
                outcome = self._outcomes[obj.key] = _told(kind.read(obj, store, policies), store)
                self.statuses.append(status_of(obj, kind.status(obj, outcome)))
                for fault in outcome.faults:
                    findings.error(obj, fault)
                for warning in outcome.warnings:
                    findings.warning(obj, warning)

    def find(self, ref: Reference, namespace: str, port: int | None) -> tuple[Draft | None, ...] | Fault:
        """What a reference of an HTTPRoute in `namespace` leads to; a Service without endpoints to nothing at all.

        A Backend that exists and cannot be used is no fault of the reference: its share answers 500.
        """
        key = target_of(ref, namespace)
        kind = (key.group, key.kind)
        if kind != _SERVICE and kind not in _KINDS:
            return Fault("InvalidKind", f'referencing unsupported backendRef: group "{key.group}" kind "{key.kind}"')
        if not self._grants.permits("HTTPRoute", namespace, key):
            what = f"backendRef {key.namespace}/{key.name} not accessible to a HTTPRoute in namespace"
            return Fault("RefNotPermitted", f'{what} "{namespace}" (missing a ReferenceGrant?)')
        if kind == _SERVICE:
            return self._services.find(key, port)
        outcome = self._outcomes.get(key)
        if outcome is None:
            if self._store.is_unread(*kind):
                return Fault(NOT_FOUND, f"{key} {self._store.absence(key)}")
            return Fault(NOT_FOUND, f"Backend not found: {key.namespace}/{key.name}")
        return (outcome.draft,)


def _told(outcome: Outcome, store: Store) -> Outcome:
    """A policy tells itself why it closes a backend, but not those that may not be read."""
    if outcome.draft is not None or outcome.faults or not store.is_unread(GATEWAY_API, KIND):
        return outcome
    what = f"the API server does not let Torana list kind {KIND}, so that it is not known whether this needs TLS"
    return msgspec.structs.replace(outcome, faults=(what,))


def target_of(ref: Reference, namespace: str) -> Key:
    return Key(ref.group, ref.kind, ref.namespace or namespace, ref.name)


def shared(shares: Iterable[Share]) -> tuple[BackendRef, ...]:
    """The model's references. Weights are whole numbers: they grow until each share divides evenly by its drafts."""
    shares = tuple(shares)
    parts = lcm(*(len(share.drafts) or 1 for share in shares))
    parts = min(parts, _FINEST)
    return tuple(
        BackendRef(_groups(draft, share.route), weight)
        for share in shares
        for drafts in (share.drafts or (None,),)
        for weight in (_part(share.weight, parts, len(drafts)),)
        for draft in drafts
    )


def _groups(draft: Draft | None, route: OfRoute) -> tuple[Group, ...]:
    backend = finish(draft, route) if draft is not None else None
    return ((backend,),) if backend is not None else ()


def _part(weight: int, parts: int, count: int) -> int:
    return max(1, weight * parts // count) if weight else 0
