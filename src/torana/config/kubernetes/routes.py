"""HTTPRoutes at their parents: where each is attached, and what its status says about every parent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from torana.config.kubernetes import conditions
from torana.config.kubernetes.backends import Backends, target_of
from torana.config.kubernetes.conditions import UNSUPPORTED, Fault, condition, judged, status_of
from torana.config.kubernetes.decode import decode_some
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.gateways import Gateways, GatewayState
from torana.config.kubernetes.hostnames import intersection
from torana.config.kubernetes.listeners import ListenerState
from torana.config.kubernetes.objects import Key, Object, Options, Status
from torana.config.kubernetes.resources import route as schema
from torana.config.kubernetes.route_rules import Rule, read
from torana.config.kubernetes.store import GATEWAY_API, Store
from torana.config.syntax import hostname_fault

_GATEWAY = (GATEWAY_API, "Gateway")


class Attachment(msgspec.Struct, frozen=True):
    """A route at a listener that takes it; `hostnames` are those both have, empty for every one."""

    listener: ListenerState
    route: Key
    hostnames: tuple[str, ...]
    rules: tuple[Rule, ...]


class Routes:
    """All of them, the oldest first. `ancestors`: the Gateways that lead to a backend, by the backend."""

    def __init__(self, store: Store, options: Options, findings: Findings) -> None:
        self._store = store
        self._options = options
        self._findings = findings
        self._read: list[tuple[Object, schema.HTTPRoute]] = []
        self._unread: list[Object] = []
        for obj in store.all(GATEWAY_API, "HTTPRoute"):
            route = store.read(schema.HTTPRoute, obj)
            if route is not None:
                self._read.append((obj, route))
            else:
                self._unread.append(obj)
        self.attachments: list[Attachment] = []
        self.ancestors: dict[Key, set[Key]] = {}
        self.statuses: list[Status] = []

    def missing_parents(self) -> set[Key]:
        """The Gateways that routes name and nobody made; each route is told."""
        missing: set[Key] = set()
        for obj, route in self._read:
            for ref in route.parent_refs:
                key = _parent(ref, obj)
                if (key.group, key.kind) == _GATEWAY and self._store.get(key) is None:
                    missing.add(key)
                    self._tell_missing(obj, key)
        return missing

    def _tell_missing(self, obj: Object, key: Key) -> None:
        port = self._options.implicit_gateway
        if port is not None:
            what = f"{key} is absent; one is supplied on port {port}"
            self._findings.warning(obj, what, "make a Gateway to decide on ports, hosts and TLS")
        else:
            what = f"{key} is absent: the route is not served there"
            self._findings.warning(obj, what, "make the Gateway, or correct spec.parentRefs")

    def attach(self, gateways: Gateways, backends: Backends) -> None:
        for obj, route in self._read:
            parents = [(ref, gateways.ours.get(_parent(ref, obj))) for ref in route.parent_refs]
            ours = [(ref, state) for ref, state in parents if state is not None]
            # Without a parent of ours it still gets a status, of no entries: those we wrote before have to go.
            self._attach(obj, route, ours, tuple(read(obj, route, backends)) if ours else ())
        for obj in self._unread:
            self._refuse(obj, gateways)

    def _refuse(self, obj: Object, gateways: Gateways) -> None:
        """Of a route that cannot be read as a whole, the parents may be readable all the same: they say why."""
        fault = Fault(UNSUPPORTED, self._store.why(obj))
        content = [
            judged(conditions.ACCEPTED, fault, "", obj.generation),
            condition(conditions.RESOLVED, "Pending", "The references were not read", obj.generation, "Unknown"),
        ]
        parents = [
            (ref, gateways.ours.get(_parent(ref, obj))) for ref in decode_some(schema.ParentRef, obj, "parentRefs")
        ]
        entries = [self._entry(ref, state, content) for ref, state in parents if state is not None]
        self.statuses.append(status_of(obj, {"parents": entries}))

    def _attach(
        self,
        obj: Object,
        route: schema.HTTPRoute,
        parents: list[tuple[schema.ParentRef, GatewayState]],
        rules: tuple[Rule, ...],
    ) -> None:
        hostnames, refused = self._hostnames(obj, route)
        own = _Verdict(rules, refused)
        self._report(obj, own)
        entries = []
        taken: set[int] = set()
        for ref, state in parents:
            found = _find(ref, state, obj.namespace, hostnames, self._store)
            fault = found if isinstance(found, Fault) else refused
            if isinstance(found, Fault):
                self._findings.error(obj, found.message)
            elif fault is None:
                self._add(obj, route, state, rules, [pair for pair in found if id(pair[0]) not in taken])
                taken |= {id(listener) for listener, _ in found}
                if own.fault is None:
                    for listener, _ in found:
                        listener.attached.add(obj.key)
            entries.append(self._entry(ref, state, own.conditions(fault, obj.generation)))
        entries.sort(key=lambda entry: tuple(str(part) for part in entry["parentRef"].values()))
        self.statuses.append(status_of(obj, {"parents": entries}))

    def _add(
        self,
        obj: Object,
        route: schema.HTTPRoute,
        state: GatewayState,
        rules: tuple[Rule, ...],
        found: list[tuple[ListenerState, tuple[str, ...]]],
    ) -> None:
        self.attachments += [Attachment(listener, obj.key, names, rules) for listener, names in found]
        for rule in route.rules:
            mirrors = (each.mirror.backend_ref for each in rule.filters if each.mirror is not None)
            for ref in (*rule.backend_refs, *mirrors):
                self.ancestors.setdefault(target_of(ref, obj.namespace), set()).add(state.key)

    def _hostnames(self, obj: Object, route: schema.HTTPRoute) -> tuple[tuple[str, ...], Fault | None]:
        """Without those that are no names; when none is left, the route must not serve all names instead."""
        good = []
        fault = None
        for name in route.hostnames:
            why = hostname_fault(name)
            if why is None:
                good.append(name.lower())
            else:
                fault = Fault(UNSUPPORTED, f'hostname "{name}" {why}')
                self._findings.error(obj, fault.message)
        return tuple(good), fault if not good else None

    def _report(self, obj: Object, own: _Verdict) -> None:
        for fault in own.faults:
            self._findings.error(obj, fault.message)
        if own.reference is not None:
            self._findings.error(obj, own.reference.message)

    def _entry(self, ref: schema.ParentRef, state: GatewayState, content: list[dict[str, Any]]) -> dict[str, Any]:
        parent: dict[str, Any] = {
            "group": state.key.group,
            "kind": state.key.kind,
            "namespace": state.key.namespace,
            "name": state.key.name,
        }
        if ref.section_name is not None:
            parent["sectionName"] = ref.section_name
        if ref.port is not None:
            parent["port"] = ref.port
        return {"parentRef": parent, "controllerName": self._options.controller, "conditions": content}


class _Verdict:
    """What is wrong with a route by itself, whatever the parent: in its rules, and in its references."""

    def __init__(self, rules: tuple[Rule, ...], refused: Fault | None) -> None:
        self._bad = [rule for rule in rules if rule.fault is not None]
        self._all = bool(rules) and len(self._bad) == len(rules)
        self.faults = [rule.fault for rule in self._bad if rule.fault is not None]
        self.fault = refused or (self.faults[0] if self._all else None)
        broken = [fault for rule in rules for fault in rule.reference_faults]
        self._remarks = [f"{rule.name}: {remark}" for rule in rules for remark in rule.remarks]
        self.reference = broken[-1] if broken else None  # as in agentgateway, the last one is told

    def conditions(self, parent: Fault | None, generation: int) -> list[dict[str, Any]]:
        """Gateway API, RouteConditionPartiallyInvalid: only when it is true, and with these first words."""
        words = "; ".join(("Route is accepted", *self._remarks))
        made = [
            judged(conditions.ACCEPTED, parent or self.fault, words, generation),
            judged(conditions.RESOLVED, self.reference, "All references are resolved", generation),
        ]
        if self._bad and not self._all and parent is None and self.fault is None:
            told = "; ".join(f"{rule.name}: {rule.fault.message}" for rule in self._bad if rule.fault is not None)
            made.append(condition("PartiallyInvalid", UNSUPPORTED, f"Dropped Rule {told}", generation))
        return made


def _parent(ref: schema.ParentRef, obj: Object) -> Key:
    return Key(ref.group, ref.kind, ref.namespace or obj.namespace, ref.name)


def _find(
    ref: schema.ParentRef, state: GatewayState, namespace: str, hostnames: tuple[str, ...], store: Store
) -> list[tuple[ListenerState, tuple[str, ...]]] | Fault:
    """The listeners that take the route, with the hostnames both have (Gateway API, ParentReference)."""
    if state.supplied and (conflict := state.listeners[0].conflict) is not None:
        return Fault("NoMatchingParent", f"{state.key} is absent, and cannot be supplied: {conflict.message}")
    named = list(_named(ref, state))
    if not named:
        asked = {"sectionName": ref.section_name, "port": ref.port}
        wanted = " and ".join(f"{field} {value}" for field, value in asked.items() if value is not None)
        there = ", ".join(f"{each.spec.name} (port {each.spec.port})" for each in state.listeners) or "no listener"
        return Fault("NoMatchingParent", f"no listener of {state.key} has {wanted}; it has {there}")
    allowed = [listener for listener in named if listener.allows(namespace, store)]
    if not allowed:
        what = f'no listener of {state.key} allows HTTPRoutes of namespace "{namespace}"'
        return Fault("NotAllowedByListeners", what)
    common = [(listener, intersection(listener.hostname, hostnames)) for listener in allowed]
    found = [(listener, names) for listener, names in common if names is not None]
    if not found:
        return Fault("NoMatchingListenerHostname", f"no listener of {state.key} has a hostname of the route")
    return found


def _named(ref: schema.ParentRef, state: GatewayState) -> Iterator[ListenerState]:
    for listener in state.listeners:
        section = ref.section_name is None or ref.section_name == listener.spec.name
        port = ref.port is None or ref.port == listener.spec.port
        if state.supplied or (section and port):
            yield listener
