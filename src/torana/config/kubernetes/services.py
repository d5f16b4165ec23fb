"""Services: the ready endpoints behind one, from its EndpointSlices.

Each endpoint is a backend of its own, with the Service's name, and together they are one group: requests are balanced
among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from torana.config.kubernetes.conditions import Fault
from torana.config.kubernetes.decode import decode_body
from torana.config.kubernetes.drafts import Draft, Groups, address_fault, address_of, closed, secured
from torana.config.kubernetes.objects import Key, Object
from torana.config.kubernetes.resources import core as schema
from torana.config.kubernetes.resources.record import Record
from torana.config.kubernetes.store import DISCOVERY, GATEWAY_API, Store
from torana.config.kubernetes.tls_policies import TlsPolicies

NOT_FOUND: Final = "BackendNotFound"
OWNER: Final = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service."""
_PLAIN_PROTOCOLS = (None, "", "http", "https", "HTTP", "HTTPS")


class _Body(Record, frozen=True, kw_only=True):
    spec: schema.Service = schema.Service()


class Services:
    def __init__(self, store: Store, policies: TlsPolicies) -> None:
        self._store = store
        self._policies = policies
        self._unread = store.is_unread(DISCOVERY, "EndpointSlice")
        # What was read from files has a place, what comes from a cluster has none.
        self._of_files = self._unread and any(obj.place for obj in store.all(GATEWAY_API, "HTTPRoute"))
        self._slices: dict[tuple[str, str], list[schema.EndpointSlice]] = {}
        for obj in store.all(DISCOVERY, "EndpointSlice"):
            read = decode_body(schema.EndpointSlice, obj)
            owner = obj.labels.get(OWNER)
            if read is not None and owner is not None:
                self._slices.setdefault((obj.namespace, owner), []).append(read)

    def find(self, key: Key, number: int | None) -> Groups | Fault:
        """The ready endpoints of a Service's port, one group; none in it is no fault. No group: a policy closes it."""
        where = f"Service {key.namespace}/{key.name}"
        obj = self._store.get(key)
        if obj is None:
            name = f"backend({key.name}.{key.namespace}.svc.cluster.local)"
            return Fault(NOT_FOUND, f"{name} {self._store.absence(key)}{self._hint(key, number)}")
        body = decode_body(_Body, obj)
        if body is None or body.spec.type == "ExternalName":
            # Gateway API, BackendRef: a name outside the cluster would pass every ReferenceGrant by.
            what = "cannot be read" if body is None else "is of type ExternalName; use a Backend of type Static"
            more = ", or write its ports" if body is not None and self._of_files else ""
            return Fault(NOT_FOUND, f"{where} {what}{more}")
        port = next((port for port in body.spec.ports if port.port == number), None)
        if port is None:
            what = "needs a port in its reference" if number is None else f"has no port {number}"
            return Fault(NOT_FOUND, f"{where} {what}")
        if port.protocol != "TCP" or port.app_protocol not in _PLAIN_PROTOCOLS:
            spoken = port.app_protocol or port.protocol
            return Fault("UnsupportedProtocol", f"{where} speaks {spoken} on port {number}, which is not supported")
        if self._unread and not any(offered.name == port.name for offered in self._offered(obj)):
            unread = self._store.absence(Key(DISCOVERY, "EndpointSlice", "", ""))
            what = f"are not known{self._hint(key, number)}" if self._of_files else unread
            return Fault(NOT_FOUND, f"the endpoints of {where} {what}")
        return self._drafts(obj, port)

    def _offered(self, service: Object) -> Iterator[schema.EndpointPort]:
        for piece in self._slices.get((service.namespace, service.name), []):
            yield from piece.ports

    def _hint(self, key: Key, number: int | None) -> str:
        if not self._of_files:
            return ""
        return f"; give --resolve {key.name}.{key.namespace}:{number or 'PORT'}=HOST:PORT, or write its EndpointSlice"

    def _drafts(self, service: Object, port: schema.ServicePort) -> Groups:
        ruling = self._policies.ruling(service.key, port.name)
        if closed(ruling):
            return ()
        name = f"{service.namespace}/{service.name}:{port.port}"
        tls = secured(ruling, None)
        addresses = self._addresses(service, port)
        return (tuple(Draft(name, address, tls=tls, keeps_host=True) for address in addresses),)

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
