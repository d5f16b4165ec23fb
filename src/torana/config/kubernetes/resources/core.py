"""Kubernetes' own resources, in the fields that are used here. They are not read strictly: others wrote the rest."""

from __future__ import annotations

from torana.config.kubernetes.resources.record import Port, Record


class ServicePort(Record, frozen=True, kw_only=True):
    port: Port
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None


class Service(Record, frozen=True, kw_only=True):
    ports: tuple[ServicePort, ...] = ()
    type: str = "ClusterIP"
    external_name: str | None = None


class EndpointConditions(Record, frozen=True, kw_only=True):
    """discovery.k8s.io/v1: an unknown readiness counts as ready."""

    ready: bool = True


class Endpoint(Record, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()


class EndpointPort(Record, frozen=True, kw_only=True):
    port: int | None = None
    name: str = ""
    protocol: str = "TCP"


class EndpointSlice(Record, frozen=True, kw_only=True):
    """The whole object: an EndpointSlice has no `spec`."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
