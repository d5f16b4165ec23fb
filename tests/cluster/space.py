"""What the tests of resources on a running gateway share: their documents, the upstreams, and a namespace for each.

Kubernetes takes no loopback address for an endpoint, so the gateway is told where the addresses 10.9.0.x and the host
`secure.example` lead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import trustme

from tests.cluster.bed import Bed
from tests.cluster.gateway import ClusterGateway
from tests.cluster.waits import until
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import Answer, IncompleteError, post
from tests.ports import free_port

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
HOST = "secure.example"
CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: shared}
spec: {controllerName: torana.dev/gateway-controller}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s, namespace: %s}
spec:
  gatewayClassName: shared
  listeners:
  - {name: http, port: %d, protocol: HTTP}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: %s}
spec:
  parentRefs: [%s]
  rules:
  - backendRefs: [%s]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {%s ports: [{name: http, port: 80}]}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s, namespace: %s, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [%s]
"""
POLICY = """
apiVersion: gateway.networking.k8s.io/%s
kind: BackendTLSPolicy
metadata: {name: tls, namespace: %s}
spec:
  targetRefs: [{group: agentgateway.dev, kind: AgentgatewayBackend, name: secure}]
  validation: {hostname: secure.example, caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}
"""
SECURE = """
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {name: secure, namespace: %s}
spec: {static: {host: secure.example, port: 443}}
"""
SECURE_REF = "{group: agentgateway.dev, kind: AgentgatewayBackend, name: secure}"


def endpoint(number: int, *, ready: bool = True) -> str:
    return f"{{addresses: [10.9.0.{number}], conditions: {{ready: {json.dumps(ready)}}}}}"


class Cast:
    """What all tests share: the gateway, three plain stand-ins at 10.9.0.1 to .3, and one with TLS."""

    def __init__(
        self, start: Callable[[], ClusterGateway], plain: list[StandIn], secure: StandIn, ca: trustme.CA
    ) -> None:
        self._start = start
        self.gateway = start()
        self.plain = plain
        self.secure = secure
        self.authority = ca.cert_pem.bytes().decode()

    def revive(self) -> None:
        """A gateway that has ended fails the test that ended it, and no other."""
        if not self.gateway.runs:
            self.gateway = self._start()


class Space:
    """A namespace with a Gateway `main` on `port`."""

    def __init__(self, bed: Bed, cast: Cast, name: str) -> None:
        self.bed = bed
        self.cast = cast
        self.name = name
        self.port = free_port()
        bed.apply(GATEWAY % ("main", name, self.port))

    def post(self, path: str = "/v1/chat/completions", port: int | None = None) -> Answer | None:
        """None while nobody listens."""
        try:
            return post(port or self.port, path, BODY)
        except (OSError, IncompleteError):  # the latter when it closes just then
            self.cast.gateway.check()
            return None

    def until_status(self, status: int | None, port: int | None = None) -> None:
        """Wait for that answer; None is a closed port."""

        def is_so() -> bool:
            answer = self.post(port=port)
            return (answer.status if answer is not None else None) == status

        until(is_so, f"a request to be answered with {status}")

    def until_served_by(self, *numbers: int) -> None:
        """Wait until the plain stand-ins of these numbers get requests, and then no other does."""

        def reached() -> set[int]:
            for stand_in in self.cast.plain:
                stand_in.forget()
            for _ in range(12):
                answer = self.post()
                if answer is None or answer.status != 200:
                    return set()
            return {number for number, stand_in in enumerate(self.cast.plain, 1) if stand_in.seen}

        until(lambda: reached() == set(numbers), f"requests to reach {numbers} alone")

    def route(self, refs: str, name: str = "route", parents: str = "{name: main}") -> None:
        self.bed.apply(ROUTE % (name, self.name, parents, refs))

    def config_map(self, authority: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": self.name}}
        self.bed.apply(json.dumps(body | {"data": {"ca.crt": authority}}))

    def patch(self, kind: str, name: str, body: object) -> None:
        self.bed.kubectl("patch", kind, name, "-n", self.name, "--type=merge", "-p", json.dumps(body))

    def delete(self, kind: str, name: str) -> None:
        self.bed.kubectl("delete", kind, name, "-n", self.name)

    def entries(self, kind: str, name: str, member: str) -> dict[str, dict[str, Any]]:
        """The conditions of the only entry of `parents` or `ancestors`, by type."""
        entries = self.bed.read(kind, name, self.name).get("status", {}).get(member) or [{}]
        return {each["type"]: each for each in entries[0].get("conditions", [])}

    def until_condition(self, kind: str, name: str, member: str, condition: str, reason: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            each = self.entries(kind, name, member).get(condition, {})
            return each if each.get("reason") == reason else None

        return until(found, f"{condition} of {kind} {name} to be {reason}") or {}
