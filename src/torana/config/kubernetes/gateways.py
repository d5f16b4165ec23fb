"""GatewayClasses and Gateways that are ours, with their listeners, and the Gateways that are supplied."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from torana.config.kubernetes import conditions
from torana.config.kubernetes.conditions import UNSUPPORTED, Fault, judged, status_of
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.grants import Grants
from torana.config.kubernetes.listeners import ListenerState, find_conflicts
from torana.config.kubernetes.objects import Key, Object, Options, Status
from torana.config.kubernetes.releases import release_fault, release_words
from torana.config.kubernetes.resources import gateway as schema
from torana.config.kubernetes.resources.record import NOT_YET
from torana.config.kubernetes.store import GATEWAY_API, Store
from torana.model.config import Protocol

SUPPORTED_FEATURES: Final = (
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetry",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
)
"""What the conformance suite may test; by name, in order (Gateway API, pkg/features)."""


class GatewayState:
    """One Gateway while it is judged. `supplied`: there is no such object, and any section and port of it will do.

    `fault`: it is not accepted. `unusable`: it serves, but not as its `spec.addresses` have it.
    """

    def __init__(self, key: Key, obj: Object | None, listeners: list[ListenerState], fault: Fault | None) -> None:
        self.key = key
        self.obj = obj
        self.listeners = listeners
        self.fault = fault
        self.unusable: Fault | None = None
        for listener in listeners:
            listener.halted = fault

    @property
    def supplied(self) -> bool:
        return self.obj is None


class Gateways:
    """`ours` has the oldest first; what comes first wins a port. Supplied ones come last, by name."""

    def __init__(self, store: Store, grants: Grants, options: Options, findings: Findings) -> None:
        self._store = store
        self._options = options
        self._findings = findings
        self.ours: dict[Key, GatewayState] = {}
        for obj in store.all(GATEWAY_API, "Gateway"):
            if self._is_ours(obj.spec.get("gatewayClassName")):
                self.ours[obj.key] = self._judge(obj, grants)
        self._share_ports()

    def supply(self, missing: set[Key]) -> None:
        """Gateways for parents that are absent, with one HTTP listener that takes routes of all namespaces."""
        port = self._options.implicit_gateway
        if port is None:
            return
        everyone = schema.AllowedRoutes(namespaces=schema.RouteNamespaces(from_="All"))
        spec = schema.Listener(name="http", port=port, protocol="HTTP", allowed_routes=everyone)
        for key in sorted(missing):
            listener = ListenerState(key, spec)
            listener.kinds = (schema.RouteKind(kind="HTTPRoute"),)
            self.ours[key] = GatewayState(key, None, [listener], None)
        self._share_ports()

    def _is_ours(self, name: Any) -> bool:
        """A class that exists says itself whose it is; one that is only named goes by its name."""
        if not isinstance(name, str):
            return False
        obj = self._store.get(Key(GATEWAY_API, "GatewayClass", "", name))
        if obj is not None:
            return obj.spec.get("controllerName") in self._options.controller_names
        return name in self._options.class_names

    def _judge(self, obj: Object, grants: Grants) -> GatewayState:
        written = self._store.read(schema.Gateway, obj)
        if written is None:
            return GatewayState(obj.key, obj, [], Fault("Invalid", self._store.why(obj)))
        listeners = [ListenerState(obj.key, spec) for spec in written.listeners]
        for listener in listeners:
            listener.examine(self._store, grants)
        if written.tls is not None:
            self._decline_tls(obj, listeners)
        find_conflicts(listeners)
        state = GatewayState(obj.key, obj, listeners, _fault(written))
        served = self._options.addresses or ()
        wanted = [each.value for each in written.addresses if each.value and each.value not in served]
        if wanted:
            what = f"spec.addresses: {wanted[0]} is not an address of this gateway, which serves on its own"
            state.unusable = Fault("AddressNotUsable", what)
            self._findings.warning(obj, what)
        return state

    def _decline_tls(self, obj: Object, listeners: list[ListenerState]) -> None:
        """It may ask for client certificates: without that everybody would be let in."""
        concerned = [listener for listener in listeners if listener.protocol is Protocol.HTTPS]
        for listener in concerned:
            listener.accepted = Fault(UNSUPPORTED, "the Gateway's spec.tls is not supported yet")
        if not concerned:
            self._findings.warning(obj, f"spec.tls: {NOT_YET}, and has no effect")

    def _share_ports(self) -> None:
        """Gateways share the machine's ports: a port has one protocol, and a hostname of it one Gateway.

        Else the routes of one would be served by another, which other people may own. Those that are supplied have no
        owners: they share a port among themselves.
        """
        first: dict[int, ListenerState] = {}
        hostnames: dict[tuple[int, str | None], ListenerState] = {}
        for listener in self.listeners():
            if not listener.claims:
                continue
            port = listener.spec.port
            holder = first.setdefault(port, listener)
            if holder.protocol is not listener.protocol:
                what = f"port {port} has another protocol at listener {holder.name}"
                listener.conflict = Fault("ProtocolConflict", what)
                continue
            holder = hostnames.setdefault((port, listener.hostname), listener)
            supplied = self.ours[holder.gateway].supplied and self.ours[listener.gateway].supplied
            if holder is not listener and not supplied:
                taken = f"hostname {listener.hostname}" if listener.hostname else "every other hostname"
                what = f"port {port} has {taken} at listener {holder.name}, whose Gateway comes first"
                listener.conflict = Fault("HostnameConflict", what)

    def listeners(self) -> Iterator[ListenerState]:
        for gateway in self.ours.values():
            yield from gateway.listeners

    # Status

    def statuses(self) -> Iterator[Status]:
        for obj in self._store.all(GATEWAY_API, "GatewayClass"):
            if obj.spec.get("controllerName") in self._options.controller_names:
                yield status_of(obj, self._class_status(obj))
        for state in self.ours.values():
            if state.obj is not None:
                yield status_of(state.obj, self._status(state, state.obj))

    def _class_status(self, obj: Object) -> dict[str, Any]:
        written = self._store.read(schema.GatewayClass, obj)
        fault = None
        if written is None:
            fault = Fault("Invalid", self._store.why(obj))
        elif written.parameters_ref is not None:
            fault = Fault("InvalidParameters", "spec.parametersRef: this controller has no parameters")
            self._findings.error(obj, fault.message)
        told = [judged(conditions.ACCEPTED, fault, "GatewayClass accepted by Torana", obj.generation)]
        if releases := self._options.releases:
            fault, words = release_fault(releases), release_words(releases)
            told.append(judged(conditions.SUPPORTED_VERSION, fault, words, obj.generation))
        return {"conditions": told, "supportedFeatures": [{"name": name} for name in SUPPORTED_FEATURES]}

    def _status(self, state: GatewayState, obj: Object) -> dict[str, Any]:
        accepted = state.fault
        if accepted is not None:
            self._findings.error(obj, accepted.message)
        bad = [(listener.spec.name, listener.fault) for listener in state.listeners if listener.fault is not None]
        for name, fault in bad:
            self._findings.error(obj, f"listener {name}: {fault.message}")
        told = "; ".join(f"{name}: {fault.message}" for name, fault in bad)
        words, reason = "No errors found", conditions.ACCEPTED
        if bad:
            words, reason = conditions.SOME_LISTENERS + told, "ListenersNotValid"
            if all(listener.conflict or listener.accepted for listener in state.listeners):
                accepted = accepted or Fault("ListenersNotValid", f"No listener is accepted: {told}")
        programmed = state.unusable
        if not any(listener.serves for listener in state.listeners):
            programmed = Fault("Invalid", state.fault.message if state.fault else told or "No listener")
        status: dict[str, Any] = {
            "conditions": [
                judged(conditions.ACCEPTED, accepted, words, obj.generation, reason),
                judged(conditions.PROGRAMMED, programmed, "Successfully programmed Gateway", obj.generation),
            ],
            "listeners": [listener.status(obj.generation) for listener in state.listeners],
        }
        if self._options.addresses is not None:
            status["addresses"] = [{"type": _type(text), "value": text} for text in self._options.addresses]
        return status


def _fault(gateway: schema.Gateway) -> Fault | None:
    """What is wrong with a Gateway as a whole (Gateway API, GatewayConditionAccepted)."""
    if gateway.infrastructure.parameters_ref is not None:
        return Fault("InvalidParameters", "spec.infrastructure.parametersRef: this controller has no parameters")
    names = [listener.name for listener in gateway.listeners]
    return Fault("Invalid", "two listeners have one name") if len(set(names)) < len(names) else None


def _type(address: str) -> str:
    try:
        ip_address(address)
    except ValueError:
        return "Hostname"
    return "IPAddress"
