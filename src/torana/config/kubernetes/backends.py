"""Backends: what a backendRef leads to, in any of the kinds that a reference may have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from torana.config.kubernetes import agentgateway, kgateway
from torana.config.kubernetes.conditions import Fault, status_of
from torana.config.kubernetes.drafts import Groups, Outcome
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.grants import Grants
from torana.config.kubernetes.objects import Key, Object, Status
from torana.config.kubernetes.resources.record import Reference
from torana.config.kubernetes.services import NOT_FOUND, Services
from torana.config.kubernetes.store import AGENTGATEWAY, GATEWAY_API, KGATEWAY, Store
from torana.config.kubernetes.tls_policies import KIND, TlsPolicies

_SERVICE: Final = ("", "Service")


class _Kind(msgspec.Struct, frozen=True):
    read: Callable[[Object], Outcome]
    status: Callable[[Object, Outcome], dict[str, Any]]


class Backends:
    def __init__(self, store: Store, policies: TlsPolicies, grants: Grants, findings: Findings) -> None:
        self._store = store
        self._grants = grants
        self._services = Services(store, policies)
        self._outcomes: dict[Key, Outcome] = {}
        self.statuses: list[Status] = []
        around = agentgateway.Around(store, policies, self._services)
        self._kinds: Final[dict[tuple[str, str], _Kind]] = {
            (KGATEWAY, "Backend"): _Kind(partial(kgateway.read, store=store, policies=policies), kgateway.status),
            (AGENTGATEWAY, agentgateway.KIND): _Kind(partial(agentgateway.read, around=around), agentgateway.status),
        }
        for (group, name), kind in self._kinds.items():
            for obj in store.all(group, name):
                outcome = self._outcomes[obj.key] = _told(kind.read(obj), store)
                self.statuses.append(status_of(obj, kind.status(obj, outcome)))
                for fault in outcome.faults:
                    findings.error(obj, fault)
                for warning in outcome.warnings:
                    findings.warning(obj, warning)

    def find(self, ref: Reference, namespace: str, port: int | None) -> Groups | Fault:
        """What a reference of an HTTPRoute in `namespace` leads to.

        A Backend that exists and cannot be used is no fault of the reference: it leads to no group, which is 500.
        """
        key = target_of(ref, namespace)
        kind = (key.group, key.kind)
        if kind != _SERVICE and kind not in self._kinds:
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
        return outcome.groups


def _told(outcome: Outcome, store: Store) -> Outcome:
    """A policy tells itself why it closes a backend, but not those that may not be read."""
    if outcome.groups or outcome.faults or not store.is_unread(GATEWAY_API, KIND):
        return outcome
    what = f"the API server does not let Torana list kind {KIND}, so that it is not known whether this needs TLS"
    return msgspec.structs.replace(outcome, faults=(what,))


def target_of(ref: Reference, namespace: str) -> Key:
    return Key(ref.group, ref.kind, ref.namespace or namespace, ref.name)
