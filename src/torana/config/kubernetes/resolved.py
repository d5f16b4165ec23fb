"""The endpoints of Services where there is no cluster to know them: from `--resolve`, or a Service's own externalName.

Each becomes an EndpointSlice, as a cluster's controller would have written one; what was written for the same port is
left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from torana.config.kubernetes.objects import Key, Object
from torana.config.kubernetes.services import OWNER
from torana.config.kubernetes.store import DISCOVERY
from torana.config.problem import Problem


class ServicePort(msgspec.Struct, frozen=True, order=True):
    namespace: str
    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}:{self.port}"


class Endpoint(msgspec.Struct, frozen=True):
    host: str
    port: int


Resolved = Mapping[ServicePort, Endpoint]


def with_endpoints(objects: Iterable[Object], resolved: Resolved) -> tuple[tuple[Object, ...], list[Problem]]:
    """The objects and slices for them; Services that only `resolved` knows are made. Problems: ports no Service has."""
    kept = {found.key: found for found in objects}
    problems: list[Problem] = []
    for found in tuple(kept.values()):
        kept |= {each.key: each for each in _external(found)}
    for service, endpoint in sorted(resolved.items()):
        key = Key("", "Service", service.namespace, service.name)
        found = kept.setdefault(key, _service(service))
        names = [port.get("name") or "" for port in _ports(found) if port["port"] == service.port]
        if names:
            kept = {each.key: _without(each, service, names[0]) for each in kept.values()}
            piece = _slice(service, names[0], endpoint)
            kept[piece.key] = piece
        else:
            has = ", ".join(str(port["port"]) for port in _ports(found)) or "none"
            what = f"{key} has no port {service.port}; its ports: {has}"
            problems.append(Problem("--resolve", 0, 0, str(service), what))
    return tuple(kept.values()), problems


def _external(found: Object) -> Iterator[Object]:
    """A Service whose place is outside, as one with endpoints: its externalName at each of its ports.

    Gateway API refuses them, since such a name gets past ReferenceGrants. Files are written by whoever runs them.
    """
    host, ports = found.spec.get("externalName"), _ports(found)
    if (found.group, found.kind, found.spec.get("type")) == ("", "Service", "ExternalName") and host and ports:
        spec = {**found.spec, "type": "ClusterIP"}
        yield msgspec.structs.replace(found, body={**found.body, "spec": spec})
        for port in ports:
            service = ServicePort(found.namespace, found.name, port["port"])
            yield _slice(service, port.get("name") or "", Endpoint(host, service.port))


def _ports(service: Object) -> list[dict[str, Any]]:
    ports = service.spec.get("ports")
    return ports if isinstance(ports, list) else []


def _without(found: Object, service: ServicePort, name: str) -> Object:
    """A slice of this Service without the port of this name; anything else as it is."""
    if (found.group, found.kind, found.namespace) != (DISCOVERY, "EndpointSlice", service.namespace):
        return found
    if found.labels.get(OWNER) != service.name:
        return found
    ports = [port for port in found.body.get("ports") or () if (port.get("name") or "") != name]
    return msgspec.structs.replace(found, body={**found.body, "ports": ports})


def _service(service: ServicePort) -> Object:
    metadata = {"name": service.name, "namespace": service.namespace}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": service.port}]}}
    return Object("v1", "Service", service.namespace, service.name, body)


def _slice(service: ServicePort, name: str, endpoint: Endpoint) -> Object:
    """Its own name has a space in it, which no written one has."""
    own = f"{service.name} {service.port}"
    body = {
        "metadata": {"name": own, "namespace": service.namespace, "labels": {OWNER: service.name}},
        "addressType": "FQDN",
        "endpoints": [{"addresses": [endpoint.host]}],
        "ports": [{"name": name, "port": endpoint.port}],
    }
    return Object(f"{DISCOVERY}/v1", "EndpointSlice", service.namespace, own, body)
