"""Gateways have the addresses of the Service that is given with --publish-service, and follow them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster.bed import Bed
from tests.cluster.conftest import StartGateway
from tests.cluster.waits import until
from tests.ports import free_port

CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: published}
spec: {controllerName: torana.dev/gateway-controller}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: main, namespace: %s}
spec:
  gatewayClassName: published
  addresses: [{type: Hostname, value: llm.example.com}]
  listeners: [{name: http, port: %d, protocol: HTTP}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: %s}
spec: {type: LoadBalancer, ports: [{name: http, port: 80}]}
"""


@pytest.fixture(autouse=True)
def gateway_class(bed: Bed) -> Iterator[None]:
    bed.apply(CLASS)
    yield
    bed.kubectl("delete", "gatewayclass", "published")


def test_published_service(bed: Bed, namespace: str, gateway: StartGateway) -> None:
    """A load balancer's addresses come first, then external ones, then the cluster's own; without a Service none."""
    bed.apply(GATEWAY % (namespace, free_port()))
    running = gateway("--publish-service", f"{namespace}/edge", "--workers", "1")
    running.until_told(f"Service {namespace}/edge is absent")

    def until_addresses(*expected: tuple[str, str]) -> None:
        def told() -> bool:
            addresses = bed.read("gateway", "main", namespace).get("status", {}).get("addresses") or []
            return [(each["type"], each["value"]) for each in addresses] == list(expected)

        until(told, f"the Gateway to have the addresses {expected}")

    def patch(body: object, *words: str) -> None:
        bed.kubectl("patch", "service", "edge", "-n", namespace, "--type=merge", "-p", json.dumps(body), *words)

    def programmed() -> str:
        conditions = bed.read("gateway", "main", namespace)["status"]["conditions"]
        return next(str(each["reason"]) for each in conditions if each["type"] == "Programmed")

    bed.apply(SERVICE % namespace)
    until_addresses(("IPAddress", bed.read("service", "edge", namespace)["spec"]["clusterIP"]))
    running.until_ready()
    assert programmed() == "AddressNotUsable"
    patch({"spec": {"externalIPs": ["192.0.2.7"]}})
    until_addresses(("IPAddress", "192.0.2.7"))
    ingress = [{"hostname": "llm.example.com"}, {"ip": "192.0.2.9"}]
    patch({"status": {"loadBalancer": {"ingress": ingress}}}, "--subresource=status")
    until_addresses(("Hostname", "llm.example.com"), ("IPAddress", "192.0.2.9"))
    assert programmed() == "Programmed"
    bed.kubectl("delete", "service", "edge", "-n", namespace)
    until_addresses()
