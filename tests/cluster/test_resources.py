"""What can be done with the resources of a running gateway, one thing after the other, with real kubectl.

All tests share one gateway; each has a namespace of its own with a Gateway `main`. Kubernetes takes no loopback address
for an endpoint, so the gateway is told where the addresses 10.9.0.x and the host `secure.example` lead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from tests.cluster.bed import Bed
from tests.cluster.conftest import CRDS, gateways
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


@pytest.fixture(scope="module")
def cast(bed: Bed, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    plain = [StandIn() for _ in range(3)]
    secure = StandIn(certificate=ca.issue_cert(HOST))
    words = [word for number, each in enumerate(plain, 1) for word in each.resolve(f"10.9.0.{number}", 8080)]
    bed.apply(CLASS)
    with gateways(bed, tmp_path_factory.mktemp("shared")) as start:
        yield Cast(lambda: start("--workers", "1", *words, *secure.resolve(HOST, 443)), plain, secure, ca)
    bed.kubectl("delete", "gatewayclass", "shared")
    for stand_in in (*plain, secure):
        stand_in.close()


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


@pytest.fixture
def space(bed: Bed, cast: Cast, namespace: str) -> Iterator[Space]:
    cast.revive()
    cast.gateway.until_ready()
    written = len(cast.gateway.log)
    yield Space(bed, cast, namespace)
    print(f"--- what the gateway wrote meanwhile:\n{cast.gateway.log[written:]}")  # noqa: T201 - shown on failure
    for resource in ("gateways", "httproutes"):
        bed.kubectl("delete", "--raw", f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/{resource}")


# Services


@pytest.mark.parametrize("kind", ["", "clusterIP: None,"], ids=["cluster IP", "headless"])
def test_service(space: Space, kind: str) -> None:
    """Requests go to the ready endpoints of all slices of a Service, and follow them; without any it is 503."""
    space.bed.apply(SERVICE % ("svc", space.name, kind))
    space.route("{name: svc, port: 80}")
    space.until_status(503)
    space.bed.apply(SLICE % ("one", space.name, "svc", f"{endpoint(1)}, {endpoint(2, ready=False)}"))
    space.until_served_by(1)
    space.bed.apply(SLICE % ("two", space.name, "svc", endpoint(3)))
    space.until_served_by(1, 3)
    space.bed.apply(SLICE % ("one", space.name, "svc", endpoint(2)))
    space.until_served_by(2, 3)
    space.bed.apply(SLICE % ("foreign", space.name, "another", endpoint(1)))
    space.delete("endpointslice", "two")
    space.until_served_by(2)


# AgentgatewayBackends


def test_agentgateway_backend(space: Space) -> None:
    """An AI backend with a key of a Secret and TLS by its own policies is reached with key, SNI, path and model."""
    space.config_map(space.cast.authority)
    space.bed.apply(f"""
apiVersion: v1
kind: Secret
metadata: {{name: key, namespace: {space.name}}}
stringData: {{Authorization: sk-of-the-secret}}
---
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {{name: ai, namespace: {space.name}}}
spec:
  ai: {{provider: {{openai: {{model: m-of-the-backend}}, host: {HOST}, port: 443, path: /openai/v1/chat/completions}}}}
  policies:
    auth: {{secretRef: {{name: key}}}}
    tls: {{caCertificateRefs: [{{name: ca}}]}}
""")
    space.route("{group: agentgateway.dev, kind: AgentgatewayBackend, name: ai}")
    space.bed.wait_for("condition=Accepted", "agentgatewaybackend/ai", space.name)
    space.cast.secure.forget()
    space.until_status(200)
    seen = space.cast.secure.seen[-1]
    assert seen.line == "POST /openai/v1/chat/completions HTTP/1.1"
    assert seen.sni == seen["host"] == HOST
    assert seen["authorization"] == "Bearer sk-of-the-secret"
    assert seen.json()["model"] == "m-of-the-backend"


def test_static_backend(space: Space) -> None:
    """A static backend is a place alone: its body and path are the client's."""
    space.bed.apply(SECURE.replace(f"{HOST}, port: 443", "10.9.0.1, port: 8080") % space.name)
    space.route(SECURE_REF)
    space.cast.plain[0].forget()
    space.until_status(200)
    seen = space.cast.plain[0].seen[-1]
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen.json() == BODY


def test_unreadable(space: Space) -> None:
    """An object from before a rule of our CRD, which cannot be read, is not Accepted and says why."""
    crd = "backends.gateway.kgateway.dev"
    old = json.loads(space.bed.kubectl("get", "crd", crd, "-o", "json"))
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [version | {"schema": {"openAPIV3Schema": anything}} for version in old["spec"]["versions"]]
    space.bed.kubectl("patch", "crd", crd, "--type=merge", "-p", json.dumps({"spec": {"versions": versions}}))
    broken = f"""
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: old, namespace: {space.name}}}
spec: {{type: Static, static: {{hosts: [{{host: 10.9.0.1, port: many}}]}}}}
"""
    try:
        until(lambda: _applied(space.bed, broken), "the laxer CRD to be in effect")
    finally:
        space.bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(next(CRDS.glob(f"{crd}.yaml"))))
    space.route("{group: gateway.kgateway.dev, kind: Backend, name: old}")
    space.until_status(500)
    space.bed.wait_for("condition=Accepted=false", f"{crd}/old", space.name)
    (condition,) = space.bed.read(crd, "old", space.name)["status"]["conditions"]
    assert condition["reason"] == "Invalid"
    assert "port: expected int, got str" in condition["message"]


def _served(bed: Bed) -> bool:
    """Whether kubectl, which keeps for long what it finds out of kinds, takes v1 for that of BackendTLSPolicies."""
    lines = bed.kubectl("api-resources", "--api-group=gateway.networking.k8s.io", "--no-headers").splitlines()
    return any(line.startswith("backendtlspolicies") and "gateway.networking.k8s.io/v1 " in line for line in lines)


def _applied(bed: Bed, manifest: str) -> bool:
    try:
        bed.apply(manifest)
    except AssertionError:
        return False
    return True


# TLS


def test_replaced_authority(space: Space) -> None:
    """The CA of a policy's ConfigMap counts as it is now: a wrong one ends the traffic, the right one begins it."""
    other = trustme.CA().cert_pem.bytes().decode()
    space.config_map(other)
    space.bed.apply(SECURE % space.name + "---" + POLICY % ("v1", space.name))
    space.route(SECURE_REF)
    space.until_condition("backendtlspolicy", "tls", "ancestors", "Accepted", "Accepted")
    space.until_status(503)
    space.config_map(space.cast.authority)
    space.until_status(200)
    space.config_map(other)
    space.until_status(503)
    space.config_map("no certificate")
    space.until_condition("backendtlspolicy", "tls", "ancestors", "ResolvedRefs", "InvalidCACertificateRef")
    space.until_status(500)


def test_older_policies(space: Space) -> None:
    """Where BackendTLSPolicy is served as v1alpha3 alone it works as v1 does, from one moment to the next and back."""
    crd = space.bed.tools.gateway_crds / "gateway.networking.k8s.io_backendtlspolicies.yaml"
    older = json.loads(space.bed.kubectl("get", "crd", "backendtlspolicies.gateway.networking.k8s.io", "-o", "json"))
    served = [{**version, "served": version["name"] == "v1alpha3"} for version in older["spec"]["versions"]]
    patch = json.dumps({"spec": {"versions": served}})
    name = "backendtlspolicies.v1alpha3.gateway.networking.k8s.io"
    space.config_map(space.cast.authority)
    space.bed.apply(SECURE % space.name)
    space.route(SECURE_REF)
    space.bed.kubectl("patch", "crd", older["metadata"]["name"], "--type=merge", "-p", patch)
    try:
        until(lambda: _applied(space.bed, POLICY % ("v1alpha3", space.name)), "v1alpha3 to be served")
        space.until_status(200)
        space.until_condition(name, "tls", "ancestors", "Accepted", "Accepted")
    finally:
        space.bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd))
        until(lambda: _served(space.bed), "v1 to be served")
    space.cast.secure.forget()
    space.until_status(200)
    assert space.cast.secure.seen[-1].tls


# References and parents


def test_grant(space: Space, bed: Bed) -> None:
    """Without its ReferenceGrant the share of a reference is 500 and the status says so; given back, it is served."""
    other = f"{space.name}-other"
    bed.kubectl("create", "namespace", other)
    grant = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: grant, namespace: {other}}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {space.name}}}]
  to: [{{group: "", kind: Service}}]
"""
    bed.apply(SERVICE % ("near", space.name, "") + "---" + SLICE % ("near", space.name, "near", endpoint(1)))
    bed.apply(SERVICE % ("far", other, "") + "---" + SLICE % ("far", other, "far", endpoint(2)))
    bed.apply(grant)
    space.route(f"{{name: near, port: 80}}, {{name: far, namespace: {other}, port: 80}}")
    space.until_served_by(1, 2)
    bed.kubectl("delete", "referencegrant", "grant", "-n", other)
    told = space.until_condition("httproute", "route", "parents", "ResolvedRefs", "RefNotPermitted")
    assert "ReferenceGrant" in told["message"]
    statuses = [answer.status for _ in range(40) if (answer := space.post()) is not None]
    assert set(statuses) == {200, 500}
    bed.apply(grant)
    space.until_condition("httproute", "route", "parents", "ResolvedRefs", "ResolvedRefs")
    space.until_served_by(1, 2)


def test_modified_listeners(space: Space) -> None:
    """A listener that is added to a Gateway serves, and one that is taken away closes its port; the other goes on."""
    space.bed.apply(SERVICE % ("svc", space.name, "") + "---" + SLICE % ("one", space.name, "svc", endpoint(1)))
    space.route("{name: svc, port: 80}")
    space.until_status(200)
    first = {"name": "http", "port": space.port, "protocol": "HTTP"}
    port = free_port()
    second = {"name": "second", "port": port, "protocol": "HTTP"}

    def told() -> list[tuple[str, int]]:
        listeners = space.bed.read("gateway", "main", space.name)["status"]["listeners"]
        return [(each["name"], each["attachedRoutes"]) for each in listeners]

    space.patch("gateway", "main", {"spec": {"listeners": [first, second]}})
    space.until_status(200, port)
    until(lambda: told() == [("http", 1), ("second", 1)], "both listeners to be told")
    space.patch("gateway", "main", {"spec": {"listeners": [second]}})
    space.until_status(None)
    space.until_status(200, port)
    until(lambda: told() == [("second", 1)], "one listener to be told")


def test_two_gateways(space: Space) -> None:
    """One route is served by each Gateway it names, with a status for each; then by the one it still names."""
    port = free_port()
    space.bed.apply(GATEWAY % ("twin", space.name, port))
    space.bed.apply(SERVICE % ("svc", space.name, "") + "---" + SLICE % ("one", space.name, "svc", endpoint(1)))
    space.route("{name: svc, port: 80}", parents="{name: main}, {name: twin}")
    space.until_status(200)
    space.until_status(200, port)

    def parents() -> list[str]:
        status = space.bed.read("httproute", "route", space.name).get("status", {})
        return [entry["parentRef"]["name"] for entry in status.get("parents", [])]

    until(lambda: parents() == ["main", "twin"], "an entry for each Gateway")
    space.route("{name: svc, port: 80}", parents="{name: twin}")
    space.until_status(404)
    space.until_status(200, port)
    until(lambda: parents() == ["twin"], "the entry of the former Gateway to go")


def test_deleted(space: Space) -> None:
    """A deleted route is 404; the port of a deleted Gateway is closed."""
    space.bed.apply(SERVICE % ("svc", space.name, "") + "---" + SLICE % ("one", space.name, "svc", endpoint(1)))
    space.route("{name: svc, port: 80}")
    space.until_status(200)
    space.delete("httproute", "route")
    space.until_status(404)
    space.delete("gateway", "main")
    space.until_status(None)


def test_observed_generation(space: Space) -> None:
    """After a change of its spec every condition of an object is of the new generation."""
    space.config_map(space.cast.authority)
    space.bed.apply(SECURE % space.name + "---" + POLICY % ("v1", space.name))
    space.route(SECURE_REF)
    space.until_status(200)
    changes: dict[tuple[str, str], Any] = {
        ("gatewayclass", "shared"): {"description": f"of {space.name}"},
        ("gateway", "main"): {"listeners": [{"name": "renamed", "port": space.port, "protocol": "HTTP"}]},
        ("httproute", "route"): {"hostnames": ["localhost", "127.0.0.1.example"]},
        ("backendtlspolicy", "tls"): {"options": {"example.com/key": "value"}},
    }
    for (kind, name), spec in changes.items():
        before = space.bed.read(kind, name, space.name)["metadata"]["generation"]
        space.patch(kind, name, {"spec": spec})

        def is_observed(kind: str = kind, name: str = name, before: int = before) -> bool:
            found = space.bed.read(kind, name, space.name)
            told = _generations(found.get("status", {}))
            assert found["metadata"]["generation"] == before + 1
            return bool(told) and told == {before + 1}

        until(is_observed, f"the new generation of {kind} to be observed")


def _generations(status: Any) -> set[int]:
    match status:
        case dict():
            own = {status["observedGeneration"]} if "observedGeneration" in status else set()
            return own.union(*map(_generations, status.values()))
        case list():
            return set().union(*map(_generations, status))
        case _:
            return set()
