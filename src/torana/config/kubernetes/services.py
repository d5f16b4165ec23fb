"""Services: the ready endpoints behind one, from its EndpointSlices.

Each endpoint is a backend of its own, with the Service's name: until endpoints are balanced by their state, the share
of the Service is divided evenly among them.
"""

from __future__ import annotations

from typing import Final

from torana.config.kubernetes.conditions import Fault
from torana.config.kubernetes.decode import decode_body
from torana.config.kubernetes.drafts import Draft, address_fault, address_of, closed, secured
from torana.config.kubernetes.objects import Key, Object
from torana.config.kubernetes.resources import core as schema
from torana.config.kubernetes.resources.record import Record
from torana.config.kubernetes.store import DISCOVERY, Store
from torana.config.kubernetes.tls_policies import TlsPolicies

NOT_FOUND: Final = "BackendNotFound"
_OWNER = "kubernetes.io/service-name"
_PLAIN_PROTOCOLS = (None, "", "http", "https", "HTTP", "HTTPS")


class _Body(Record, frozen=True, kw_only=True):
    spec: schema.Service = schema.Service()


class Services:
    def __init__(self, store: Store, policies: TlsPolicies) -> None:
        self._store = store
        self._policies = policies
        self._slices: dict[tuple[str, str], list[schema.EndpointSlice]] = {}
        for obj in store.all(DISCOVERY, "EndpointSlice"):
            read = decode_body(schema.EndpointSlice, obj)
            owner = obj.labels.get(_OWNER)
            if read is not None and owner is not None:
                self._slices.setdefault((obj.namespace, owner), []).append(read)

    def find(self, key: Key, number: int | None) -> tuple[Draft | None, ...] | Fault:
        """The ready endpoints of a Service's port; none is no fault. A None answers 500: a policy fails closed."""
        where = f"Service {key.namespace}/{key.name}"
        obj = self._store.get(key)
        if obj is None:
            name = f"backend({key.name}.{key.namespace}.svc.cluster.local)"
            return Fault(NOT_FOUND, f"{name} {self._store.absence(key)}")
        body = decode_body(_Body, obj)
        if body is None or body.spec.type == "ExternalName":
            # Gateway API, BackendRef: a name outside the cluster would pass every ReferenceGrant by.
            what = "cannot be read" if body is None else "is of type ExternalName; use a Backend of type Static"
            return Fault(NOT_FOUND, f"{where} {what}")
        port = next((port for port in body.spec.ports if port.port == number), None)
        if port is None:
            what = "needs a port in its reference" if number is None else f"has no port {number}"
            return Fault(NOT_FOUND, f"{where} {what}")
        if port.protocol != "TCP" or port.app_protocol not in _PLAIN_PROTOCOLS:
            spoken = port.app_protocol or port.protocol
            return Fault("UnsupportedProtocol", f"{where} speaks {spoken} on port {number}, which is not supported")
        return self._drafts(obj, port)

    def _drafts(self, service: Object, port: schema.ServicePort) -> tuple[Draft | None, ...]:
        ruling = self._policies.ruling(service.key, port.name)
        if closed(ruling):
            return (None,)
        name = f"{service.namespace}/{service.name}:{port.port}"
        tls = secured(ruling, None)
        addresses = self._addresses(service, port)
        return tuple(Draft(name, address, tls=tls, keeps_host=True) for address in addresses)

    def _addresses(self, service: Object, port: schema.ServicePort) -> list[str]:
        """Each once: an endpoint that moves between slices may stand in two for a while (EndpointSlice docs)."""
        found = {
            address_of(address, offered.port)
            for piece in self._slices.get((service.namespace, service.name), [])
            for offered in piece.ports
            if offered.name == port.name and offered.protocol == "TCP" and offered.port is not None
            for endpoint in piece.endpoints
            if endpoint.conditions.ready
            for address in endpoint.addresses
        }
        return sorted(address for address in found if address_fault(None, address) is None)
