"""A Gateway whose port is taken by another process, next to one that is well."""

from __future__ import annotations

import socket

import pytest

from tests.cluster.bed import Bed
from tests.cluster.conftest import StartGateway
from tests.cluster.waits import until
from tests.e2e.wire import ask
from tests.ports import free_port

CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ports}
spec: {controllerName: torana.dev/gateway-controller}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s, namespace: %s}
spec:
  gatewayClassName: ports
  listeners: [{name: http, port: %d, protocol: HTTP}]
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_taken_port(bed: Bed, namespace: str, gateway: StartGateway, workers: int) -> None:
    """It says PortUnavailable, Gateways made later are served, and it is programmed when the port is free again."""
    try:
        port, other = free_port(), free_port()
        with socket.create_server(("", port)):
            bed.apply(CLASS + "---" + GATEWAY % ("taken", namespace, port))
            running = gateway("--workers", str(workers))
            until(lambda: programmed(bed, "taken", namespace) == "PortUnavailable", "the taken port to be told")
            bed.apply(GATEWAY % ("well", namespace, other))
            until(lambda: programmed(bed, "well", namespace) == "Programmed", "the other Gateway to be told")
            assert ask(other, "GET", "/").status == 404
            answer = running.ready()
            assert answer is not None
            assert (answer.status, f"cannot listen on port {port}" in answer.text) == (200, True)
            assert running.log.count(f"cannot listen on port {port}") == 1
        until(lambda: programmed(bed, "taken", namespace) == "Programmed", "the port to be open")
        assert ask(port, "GET", "/").status == 404
    finally:
        bed.kubectl("delete", "gatewayclass", "ports", "--ignore-not-found")
        bed.kubectl("delete", "gateways", "--all", "-n", namespace)


def programmed(bed: Bed, name: str, namespace: str) -> str | None:
    """The reason of its listener's condition Programmed."""
    for listener in bed.read("gateway", name, namespace).get("status", {}).get("listeners", []):
        for condition in listener["conditions"]:
            if condition["type"] == "Programmed":
                return str(condition["reason"])
    return None
