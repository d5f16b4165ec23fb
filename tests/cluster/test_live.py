"""The gateway on a cluster: kgateway's guide to OpenAI-compatible providers as it is printed, and what happens then.

All of it with real kubectl. The guide is tests/golden/guides/kubernetes.txt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed import ACCOUNT, Bed
from tests.cluster.conftest import CRDS, StartGateway
from tests.cluster.gateway import ClusterGateway
from tests.cluster.waits import seconds_until, until
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import Answer, IncompleteError, post
from tests.ports import free_port

GUIDE = (Path(__file__).parent / "guide.sh").read_text()
SPACE = "gloo-system"
KEYS = {"MISTRAL_API_KEY": "mk-first", "DEEPSEEK_API_KEY": "dk-first"}
BODY = {"model": "", "messages": [{"role": "user", "content": "Write a haiku."}]}
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: agentgateway}
spec: {controllerName: torana.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: agentgateway, namespace: gloo-system}
spec:
  gatewayClassName: agentgateway
  listeners:
  - {name: http, port: %d, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: many-%d, namespace: gloo-system}
spec:
  parentRefs: [{name: agentgateway}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /many/%d}}]
    backendRefs: [{name: deepseek, group: gateway.kgateway.dev, kind: Backend}]
---
"""


class Applied:
    """The Kubernetes guide applied to a cluster with a gateway on it."""

    def __init__(self, bed: Bed, port: int, gateway: ClusterGateway, providers: dict[str, StandIn]) -> None:
        self.bed = bed
        self.port = port
        self.gateway = gateway
        self.mistral = providers["api.mistral.ai"]
        self.deepseek = providers["api.deepseek.com"]

    def post(self, path: str) -> Answer:
        return post(self.port, path, BODY, {"Authorization": "Bearer sk-of-the-client"})

    def bearer(self) -> str | None:
        """The credential that reaches Mistral now; None when the gateway refuses."""
        self.mistral.forget()
        if self.post("/mistral").status != 200:
            return None
        return self.mistral.one["authorization"]

    def wait_for(self, condition: str, thing: str) -> None:
        self.bed.wait_for(condition, thing, SPACE)

    def route_condition(self, name: str, condition: str) -> Callable[[], Any]:
        def read() -> Any:
            status = self.bed.read("httproute", name, SPACE).get("status", {})
            for entry in status.get("parents", []):
                for found in entry["conditions"]:
                    if found["type"] == condition:
                        return found["status"], found["reason"]
            return None

        return read


@pytest.fixture
def applied(bed: Bed, gateway: StartGateway, providers: dict[str, StandIn], trust: dict[str, str]) -> Iterator[Applied]:
    port = free_port()
    resolve = [word for host, stand_in in providers.items() for word in stand_in.resolve(host, 443)]
    try:
        bed.kubectl("create", "namespace", SPACE)
        running = gateway("--workers", "2", *resolve, env=trust)
        bed.apply(GATEWAY % port)
        bed.shell(GUIDE, **KEYS)
        yield Applied(bed, port, running, providers)
    finally:
        bed.revive()
        clear(bed)


def clear(bed: Bed) -> None:
    """The guide's namespace has a name of the guide's own: what stayed in it would be in the way of the next test."""
    bed.kubectl("delete", "gatewayclass", "agentgateway", "--ignore-not-found")
    for group, plural in (
        ("apis/gateway.networking.k8s.io/v1", "httproutes"),
        ("apis/gateway.networking.k8s.io/v1", "gateways"),
        ("apis/gateway.networking.k8s.io/v1", "backendtlspolicies"),
        ("apis/gateway.kgateway.dev/v1alpha1", "backends"),
        ("api/v1", "secrets"),
    ):
        bed.kubectl("delete", "--raw", f"/{group}/namespaces/{SPACE}/{plural}")
    bed.delete_namespace(SPACE)


def ready(applied: Applied) -> None:
    """All that the guide makes is accepted, as kubectl sees it."""
    applied.wait_for("condition=Accepted", "gatewayclass/agentgateway")
    applied.wait_for("condition=Programmed", "gateway/agentgateway")
    for name in ("mistral", "deepseek"):
        applied.wait_for("condition=Accepted", f"backend.gateway.kgateway.dev/{name}")
        applied.wait_for(
            'jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True', f"httproute/{name}"
        )
        path = 'jsonpath={.status.ancestors[0].conditions[?(@.type=="Accepted")].status}=True'
        applied.wait_for(path, f"backendtlspolicy/{name}-tls")
    applied.gateway.until_ready()


def test_the_guide(applied: Applied) -> None:
    """The heredocs as printed: both providers get their host, SNI, path, key and model."""
    ready(applied)
    for name, provider, key, model in (
        ("mistral", applied.mistral, "mk-first", "mistral-medium-2505"),
        ("deepseek", applied.deepseek, "dk-first", "deepseek-chat"),
    ):
        answer = applied.post(f"/{name}")
        assert answer.status == 200, answer.text
        seen = provider.one
        assert seen.line == "POST /v1/chat/completions HTTP/1.1"
        assert seen.sni == seen["host"] == f"api.{name}.{'ai' if name == 'mistral' else 'com'}"
        assert seen["authorization"] == f"Bearer {key}"
        assert json.loads(seen.body) == {**BODY, "model": model}
    assert applied.post("/mistral/anything").status == 200
    assert applied.post("/mistralx").status == 404
    for kind, name in (("gateway", "agentgateway"), ("httproute", "mistral")):
        assert "observedGeneration" in str(applied.bed.read(kind, name, SPACE)["status"])


def test_at_rest(applied: Applied) -> None:
    """Once all is told nothing is written any more: for three seconds no object gets a new version."""
    ready(applied)

    def versions() -> str:
        kinds = "gateway,httproute,backendtlspolicy,backends.gateway.kgateway.dev,gatewayclass"
        path = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}"
        return applied.bed.kubectl("get", kinds, "-n", SPACE, "-o", path)

    def at_rest() -> bool:
        before = versions()
        time.sleep(3)
        return versions() == before

    until(at_rest, "an end of the writing")


def test_secret(applied: Applied, capsys: pytest.CaptureFixture[str]) -> None:
    """A rotated key is used within a second; without its Secret a backend is refused and says so, and then mends."""
    ready(applied)
    assert applied.bearer() == "Bearer mk-first"
    secret = GUIDE[GUIDE.index("kubectl apply") : GUIDE.index("\nEOF\n") + 5]
    applied.bed.shell(secret, MISTRAL_API_KEY="mk-second")
    took = seconds_until(lambda: applied.bearer() == "Bearer mk-second", "the new key")
    for number in range(3):  # a machine that is busy with something else may be late once
        if took < 1:
            break
        applied.bed.shell(secret, MISTRAL_API_KEY=f"mk-again-{number}")
        again = f"Bearer mk-again-{number}"
        took = seconds_until(lambda again=again: applied.bearer() == again, "the new key")  # type: ignore[misc]
    with capsys.disabled():
        print(f"\nnew key in use {took:.2f} s after kubectl ended")  # noqa: T201 - asked for
    assert took < 1
    applied.bed.kubectl("delete", "secret", "mistral-secret", "-n", SPACE)
    until(lambda: applied.post("/mistral").status == 500, "the refusal")
    applied.wait_for("condition=Accepted=false", "backend.gateway.kgateway.dev/mistral")
    assert applied.post("/deepseek").status == 200
    applied.bed.shell(secret, MISTRAL_API_KEY="mk-third")
    until(lambda: applied.bearer() == "Bearer mk-third", "the mended backend")
    applied.wait_for("condition=Accepted", "backend.gateway.kgateway.dev/mistral")


def test_broken_and_mended(applied: Applied) -> None:
    """Without its Backend a route answers 500 and says BackendNotFound; without its Gateway the port is closed."""
    ready(applied)
    backend = applied.bed.kubectl("get", "backends.gateway.kgateway.dev", "mistral", "-n", SPACE, "-o", "yaml")
    applied.bed.kubectl("delete", "backends.gateway.kgateway.dev", "mistral", "-n", SPACE)
    until(lambda: applied.post("/mistral").status == 500, "the refusal")
    resolved = applied.route_condition("mistral", "ResolvedRefs")
    until(lambda: resolved() == ("False", "BackendNotFound"), "the condition")
    fresh = "\n".join(line for line in backend.splitlines() if "resourceVersion:" not in line and "uid:" not in line)
    applied.bed.kubectl("create", "-f", "-", stdin=fresh)
    until(lambda: applied.post("/mistral").status == 200, "the mended route")
    until(lambda: resolved() == ("True", "ResolvedRefs"), "the condition")
    applied.bed.kubectl("delete", "gateway", "agentgateway", "-n", SPACE)

    def closed() -> bool:
        try:
            applied.post("/mistral")
        except (OSError, IncompleteError):  # the latter when it closes just then
            return True
        return False

    until(closed, "the port to be closed")


def test_server_gone(applied: Applied) -> None:
    """Without the API server the last good state is served, readiness and a metric say so; what changed after comes."""
    ready(applied)
    assert applied.gateway.metric("agentgateway_config_synchronized") == 1
    with applied.bed.without_server():
        applied.gateway.until_told("ready; ", "cannot be reached")
        assert applied.gateway.metric("agentgateway_config_synchronized") == 0
        assert applied.post("/mistral").status == 200
    applied.bed.kubectl("delete", "httproute", "mistral", "-n", SPACE)
    until(lambda: applied.post("/mistral").status == 404, "the change")
    applied.gateway.until_ready()
    assert applied.gateway.metric("agentgateway_config_synchronized") == 1


def test_least_rights(bed: Bed, gateway: StartGateway) -> None:
    """The rights of the install manifests suffice to get ready, hold the lease, know the release, write a status."""
    bed.kubectl("apply", "-f", str(CRDS / "torana.yaml"))
    running = gateway("--lease-namespace", "torana-system", token=ACCOUNT)
    running.until_ready()
    for condition in ("Accepted", "SupportedVersion"):
        bed.wait_for(f"condition={condition}", "gatewayclass/torana")
    assert "forbidden" not in running.log
    bed.kubectl("delete", "gatewayclass", "torana")


def test_hand_over(applied: Applied, gateway: StartGateway) -> None:
    """Of two gateways one writes statuses; when it ends the other goes on with it."""
    ready(applied)
    second = gateway()
    until(second.ready, "the second to answer")
    assert "this process writes statuses" not in second.log
    applied.gateway.stop()
    until(lambda: "this process writes statuses" in second.log, "the hand-over", 10)
    applied.bed.kubectl("delete", "backends.gateway.kgateway.dev", "mistral", "-n", SPACE)
    until(lambda: applied.route_condition("mistral", "ResolvedRefs")() == ("False", "BackendNotFound"), "the status")


def test_thousand_routes(applied: Applied, capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand routes are served, and each has its status."""
    ready(applied)
    manifests = "".join(ROUTE % (number, number) for number in range(1000))
    started = time.monotonic()
    applied.bed.kubectl("create", "-f", "-", stdin=manifests)
    created = time.monotonic() - started
    served = seconds_until(lambda: applied.post("/many/999").status == 200, "the last route")

    def all_told() -> bool:
        path = 'jsonpath={.items[*].status.parents[*].conditions[?(@.type=="Accepted")].status}'
        return applied.bed.kubectl("get", "httproute", "-n", SPACE, "-o", path).split().count("True") >= 1002

    told = seconds_until(all_told, "all statuses")
    with capsys.disabled():
        figures = f"kubectl {created:.1f} s, then served {served:.2f} s, statuses {told:.1f} s more"
        print(f"\n1,000 routes: {figures}")  # noqa: T201 - asked for
