"""Listeners: which of a Gateway's can serve, and which routes they take (Gateway API, Gateway.spec.listeners)."""

from __future__ import annotations

from typing import Any, Final

from torana.config.kubernetes import conditions
from torana.config.kubernetes.conditions import UNSUPPORTED, Fault, condition, judged
from torana.config.kubernetes.contents import INVALID_CERTIFICATE, certificate
from torana.config.kubernetes.grants import Grants
from torana.config.kubernetes.objects import Key
from torana.config.kubernetes.resources import gateway as schema
from torana.config.kubernetes.store import GATEWAY_API, Store
from torana.config.syntax import hostname_fault
from torana.model.config import Protocol, ServerTls

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""The label that the API server gives every Namespace."""

_NO_ERRORS = "No errors found"


class ListenerState:
    """One listener while its Gateway is judged.

    As written: `gateway`, `spec`, `hostname`, `protocol`. Found out: the faults, `tls`, `kinds`. Counted: `attached`.
    `halted` is the fault of a Gateway that is not accepted: none of its listeners serves.
    """

    def __init__(self, gateway: Key, spec: schema.Listener) -> None:
        self.gateway = gateway
        self.spec = spec
        self.hostname = spec.hostname.lower() if spec.hostname else None
        self.protocol = Protocol[spec.protocol] if spec.protocol in Protocol.__members__ else None
        self.accepted: Fault | None = None
        self.resolved: Fault | None = None
        self.conflict: Fault | None = None
        self.halted: Fault | None = None
        self.tls: ServerTls | None = None
        self.kinds: tuple[schema.RouteKind, ...] = ()
        self.attached: set[Key] = set()

    @property
    def name(self) -> str:
        return f"{self.gateway.namespace}/{self.gateway.name}/{self.spec.name}"

    @property
    def fault(self) -> Fault | None:
        """The first of its own faults; it may serve in spite of one in `resolved`."""
        return self.conflict or self.accepted or self.resolved

    @property
    def claims(self) -> bool:
        """Whether its port and hostname are its own: in want of its certificate they are nobody else's meanwhile."""
        return not (self.accepted or self.conflict or self.halted) and bool(self.kinds)

    @property
    def serves(self) -> bool:
        return self.claims and (self.tls is not None or self.protocol is Protocol.HTTP)

    def examine(self, store: Store, grants: Grants) -> None:
        """Find out what is wrong with the listener by itself."""
        if self.protocol is None:
            self.accepted = Fault("UnsupportedProtocol", f"protocol {self.spec.protocol} is not supported")
            return
        self.kinds, unknown = _kinds(self.spec.allowed_routes.kinds)
        if unknown:
            self.resolved = Fault("InvalidRouteKinds", f"kind {unknown[0]} cannot be attached here; use HTTPRoute")
        if self.hostname is not None and (fault := hostname_fault(self.hostname)) is not None:
            self.accepted = Fault(UNSUPPORTED, f'hostname "{self.hostname}" {fault}')
        elif self.protocol is Protocol.HTTPS:
            self._examine_tls(store, grants)
        elif self.spec.tls is not None:
            self.accepted = Fault(UNSUPPORTED, "protocol HTTP has no tls; use HTTPS")

    def _examine_tls(self, store: Store, grants: Grants) -> None:
        tls = self.spec.tls or schema.ListenerTls()
        if tls.mode != "Terminate":
            self.accepted = Fault(UNSUPPORTED, f"tls.mode {tls.mode} is not supported with HTTPS")
        elif tls.frontend_validation is not None:
            # Without it everybody would be let in.
            self.accepted = Fault(UNSUPPORTED, "tls.frontendValidation is not supported yet")
        elif not tls.certificate_refs:
            self.resolved = Fault(INVALID_CERTIFICATE, "tls.certificateRefs is missing")
        else:
            self._find_certificate(tls, store, grants)

    def _find_certificate(self, tls: schema.ListenerTls, store: Store, grants: Grants) -> None:
        """One certificate a listener, as in agentgateway; more are implementation-specific in the Gateway API."""
        ref = tls.certificate_refs[0]
        secret = Key("", "Secret", ref.namespace or self.gateway.namespace, ref.name)
        if len(tls.certificate_refs) > 1:
            self.accepted = Fault(UNSUPPORTED, "only one of tls.certificateRefs is supported; make a listener for each")
        elif ref.group or ref.kind not in {"", "Secret"}:
            self.resolved = Fault(
                INVALID_CERTIFICATE, f'a certificate of kind "{ref.group}/{ref.kind}" is not supported'
            )
        elif not grants.permits("Gateway", self.gateway.namespace, secret):
            what = f"certificateRef {secret.namespace}/{secret.name} not accessible to a Gateway in namespace"
            self.resolved = Fault("RefNotPermitted", f'{what} "{self.gateway.namespace}" (missing a ReferenceGrant?)')
        else:
            found = certificate(store, secret.namespace, secret.name)
            if isinstance(found, Fault):
                self.resolved = found
            else:
                self.tls = found.for_listener()

    def allows(self, namespace: str, store: Store) -> bool:
        """Whether HTTPRoutes of that namespace may attach."""
        allowed = self.spec.allowed_routes.namespaces
        if not self.kinds:
            return False
        match allowed.from_:
            case "All":
                return True
            case "Same":
                return namespace == self.gateway.namespace
            case "Selector":
                return allowed.selector is not None and _selects(allowed.selector, namespace, store)
            case _:
                return False

    def status(self, generation: int) -> dict[str, Any]:
        programmed: Fault | None = None
        if not self.serves:
            why = self.halted or self.fault
            programmed = Fault("Invalid", why.message if why is not None else "No route can attach")
        free = condition(conditions.CONFLICTED, "NoConflicts", _NO_ERRORS, generation, "False")
        if self.conflict is not None:
            free = condition(conditions.CONFLICTED, self.conflict.reason, self.conflict.message, generation)
        return {
            "name": self.spec.name,
            "supportedKinds": [{"group": kind.group, "kind": kind.kind} for kind in self.kinds],
            "attachedRoutes": len(self.attached),
            "conditions": [
                judged(conditions.ACCEPTED, self.accepted or self.conflict, _NO_ERRORS, generation),
                free,
                judged(conditions.PROGRAMMED, programmed, _NO_ERRORS, generation),
                judged(conditions.RESOLVED, self.resolved, _NO_ERRORS, generation),
            ],
        }


def find_conflicts(listeners: list[ListenerState]) -> None:
    """Within one Gateway: none of those in a conflict serves, so that it is not chance that decides."""
    for one in listeners:
        for other in listeners:
            if one is other or one.spec.port != other.spec.port or None in (one.protocol, other.protocol):
                continue
            if one.protocol is not other.protocol:
                what = f"port {one.spec.port} has another protocol at listener {other.spec.name}"
                one.conflict = Fault("ProtocolConflict", what)
            elif one.hostname == other.hostname and one.conflict is None:
                what = f"listener {other.spec.name} has the same port, protocol and hostname"
                one.conflict = Fault("HostnameConflict", what)


def _kinds(kinds: tuple[schema.RouteKind, ...]) -> tuple[tuple[schema.RouteKind, ...], list[str]]:
    """The kinds that can attach, and those that were asked for and cannot."""
    http = schema.RouteKind(kind="HTTPRoute", group=GATEWAY_API)
    if not kinds:
        return (http,), []
    unknown = [f"{kind.group}/{kind.kind}" for kind in kinds if kind != http]
    return ((http,) if http in kinds else ()), unknown


def _selects(selector: schema.LabelSelector, namespace: str, store: Store) -> bool:
    """Kubernetes, LabelSelector: all parts must hold; NotIn and DoesNotExist hold for a label that is absent.

    Of a namespace that cannot be read the name alone is known; a label that is to be absent might be there.
    """
    obj = store.get(Key("", "Namespace", "", namespace))
    labels = {**(obj.labels if obj is not None else {}), NAMESPACE_NAME: namespace}
    if any(labels.get(name) != value for name, value in selector.match_labels.items()):
        return False
    return all(
        _requires(each, labels) and (obj is not None or each.key in labels) for each in selector.match_expressions
    )


def _requires(each: schema.SelectorRequirement, labels: dict[str, str]) -> bool:
    match each.operator:
        case "In":
            return labels.get(each.key) in each.values
        case "NotIn":
            return labels.get(each.key) not in each.values
        case "Exists":
            return each.key in labels
        case "DoesNotExist":
            return each.key not in labels
