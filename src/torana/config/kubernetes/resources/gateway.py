"""Gateway API: GatewayClass, Gateway, ReferenceGrant (apis/v1/gateway_types.go and its neighbours)."""

from __future__ import annotations

from typing import Literal

import msgspec

from torana.config.kubernetes.resources.record import Declined, NotYet, Port, Record, Reference, Text


class GatewayClass(Record, frozen=True, kw_only=True):
    controller_name: Text
    description: str = ""
    parameters_ref: Declined = None


class SelectorRequirement(Record, frozen=True, kw_only=True):
    key: Text
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Record, frozen=True, kw_only=True):
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[SelectorRequirement, ...] = ()


class RouteNamespaces(Record, frozen=True, kw_only=True):
    from_: Literal["All", "Same", "Selector", "None"] = msgspec.field(default="Same", name="from")
    selector: LabelSelector | None = None


class RouteKind(Record, frozen=True, kw_only=True):
    kind: Text
    group: str = "gateway.networking.k8s.io"


class AllowedRoutes(Record, frozen=True, kw_only=True):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteKind, ...] = ()


class ListenerTls(Record, frozen=True, kw_only=True):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: tuple[Reference, ...] = ()
    frontend_validation: Declined = None
    options: NotYet = None


class Listener(Record, frozen=True, kw_only=True):
    name: Text
    port: Port
    protocol: Text
    hostname: str | None = None
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class Infrastructure(Record, frozen=True, kw_only=True):
    parameters_ref: Declined = None
    labels: NotYet = None
    annotations: NotYet = None


class Address(Record, frozen=True, kw_only=True):
    """Without a value any address will do."""

    type: str = "IPAddress"
    value: str | None = None


class Gateway(Record, frozen=True, kw_only=True):
    """`tls` is declined where a listener has TLS; without one it has no effect."""

    gateway_class_name: Text
    listeners: tuple[Listener, ...]
    addresses: tuple[Address, ...] = ()
    infrastructure: Infrastructure = Infrastructure()
    allowed_listeners: NotYet = None
    backend_tls: NotYet = msgspec.field(default=None, name="backendTLS")
    default_scope: NotYet = None
    tls: Declined = None


class GrantFrom(Record, frozen=True, kw_only=True):
    group: str
    kind: Text
    namespace: Text


class GrantTo(Record, frozen=True, kw_only=True):
    group: str
    kind: Text
    name: str | None = None


class ReferenceGrant(Record, frozen=True, kw_only=True):
    from_: tuple[GrantFrom, ...] = msgspec.field(name="from")
    to: tuple[GrantTo, ...]
