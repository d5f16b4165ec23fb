"""Services of manifests: nobody but the user knows where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from torana.config.kubernetes.manifests import Manifests, Reading
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.resolved import Endpoint, ServicePort
from torana.config.problem import ConfigError

ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat}
spec:
  parentRefs: [{name: gateway}]
  rules: [{backendRefs: [{name: chat, port: 80}]}]
"""
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {ports: [{name: web, port: 80}, {name: more, port: 81}]}
"""
SLICE = """---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: chat-1, labels: {kubernetes.io/service-name: chat}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]
ports: [{name: web, port: 8080}, {name: more, port: 8081}]
"""
EXTERNAL = """---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {type: ExternalName, externalName: api.example.com, ports: [{port: 80}]}
"""
HERE = {ServicePort("default", "chat", 80): Endpoint("127.0.0.1", 9000)}


def reading(text: str, services: dict[ServicePort, Endpoint]) -> Manifests:
    how = Options(class_names=(), implicit_gateway=8080)
    return Manifests(Reading(paths=("-",), stdin=text, services=services, options=how))


def targets(text: str, services: dict[ServicePort, Endpoint]) -> list[str]:
    config = reading(text, services).load().config
    refs = [ref for bind in config.binds for each in bind.listeners for route in each.routes for ref in route.backends]
    return [str(backend.target) for ref in refs for backend in ref.backends]


def conditions(text: str) -> Iterator[dict[str, Any]]:
    for status in reading(text, {}).examine().translation.statuses:
        for parent in status.status["parents"]:
            yield from parent["conditions"]


@pytest.mark.parametrize(
    ("text", "services", "expected"),
    [
        (ROUTE + SERVICE, HERE, ["127.0.0.1:9000"]),
        (ROUTE, HERE, ["127.0.0.1:9000"]),
        (ROUTE + SERVICE + SLICE, HERE, ["127.0.0.1:9000"]),
        (ROUTE + SERVICE + SLICE, {}, ["10.0.0.1:8080", "10.0.0.2:8080"]),
        (ROUTE + SERVICE + SLICE, {ServicePort("default", "chat", 81): Endpoint("::1", 1)},
         ["10.0.0.1:8080", "10.0.0.2:8080"]),
        (ROUTE + EXTERNAL, {}, ["api.example.com:80"]),
        (ROUTE + EXTERNAL, HERE, ["127.0.0.1:9000"]),
    ],
    ids=["resolved", "no Service", "slices too", "slices", "another port", "ExternalName", "ExternalName resolved"],
)  # fmt: skip
def test_where_a_service_is(text: str, services: dict[ServicePort, Endpoint], expected: list[str]) -> None:
    """A Service's port is where --resolve says, else where its EndpointSlices or its externalName say."""
    assert targets(text, services) == expected


@pytest.mark.parametrize("text", [ROUTE, ROUTE + SERVICE], ids=["no Service", "no endpoints"])
def test_unknown_endpoints_are_told(text: str) -> None:
    """A Service of which nobody says where it is leaves the reference unresolved, and the flag that helps is named."""
    (resolved,) = [each for each in conditions(text) if each["type"] == "ResolvedRefs"]
    assert (resolved["status"], resolved["reason"]) == ("False", "BackendNotFound")
    assert "give --resolve chat.default:80=HOST:PORT" in resolved["message"]
    assert targets(text, {}) == []


def test_an_external_name_without_ports() -> None:
    """An ExternalName Service that lists no port cannot be reached, and what is missing is told."""
    text = ROUTE + EXTERNAL.replace(", ports: [{port: 80}]", "")
    (resolved,) = [each for each in conditions(text) if each["type"] == "ResolvedRefs"]
    assert "or write its ports" in resolved["message"]


def test_a_port_the_service_has_not() -> None:
    """--resolve for a port that the Service does not have is an error that lists those it has."""
    with pytest.raises(ConfigError, match=r"chat\.default:82: Service default/chat has no port 82; its ports: 80, 81"):
        reading(ROUTE + SERVICE, {ServicePort("default", "chat", 82): Endpoint("127.0.0.1", 9000)}).examine()
