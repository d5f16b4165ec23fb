"""What manifests say of failures: groups of providers, the endpoints of a Service, retries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import StartStandIn
from tests.e2e.manifests import TORANA, ManifestGateway
from tests.e2e.stand_in import Script, Visit, chat
from tests.e2e.test_kubernetes_files import served
from tests.e2e.wire import post

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
GROUPS = """
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: models}}
spec:
  type: AI
  ai:
    priorityGroups:
    - providers: [{{name: first, openai: {{authToken: {{kind: Passthrough}}}}, host: 127.0.0.1, port: {first}}}]
    - providers: [{{name: second, openai: {{authToken: {{kind: Passthrough}}}}, host: 127.0.0.1, port: {second}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{{name: gateway}}]
  rules: [{{backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: models}}]}}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: chat}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: chat-1, labels: {{kubernetes.io/service-name: chat}}}}
addressType: IPv4
ports: [{{port: {port}, protocol: TCP}}]
endpoints: [{endpoints}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{{name: gateway}}]
  rules: [{{{more}backendRefs: [{{name: chat, port: 80}}]}}]
"""


def _gateway(manifests: str, folder: Path) -> ManifestGateway:
    file = folder / "manifests.yaml"
    file.write_text(manifests)
    return ManifestGateway(f"{TORANA} kubernetes {file} --implicit-gateway $GATEWAY_PORT", folder)


def test_priority_groups(stand_in: StartStandIn, tmp_path: Path) -> None:
    """What the first provider does not answer well the second one does, in the same request."""
    first, second = stand_in(), stand_in()
    first.script = lambda visit: visit.document(503, {"error": {"message": "busy"}})
    with served(_gateway(GROUPS.format(first=first.port, second=second.port), tmp_path)) as gateway:
        assert post(gateway.port, "/chat", BODY).status == 200
        assert (len(first.seen), len(second.seen)) == (1, 1)
        metrics = gateway.metrics()
        assert 'agentgateway_upstream_attempt_failures_total{backend="default/models/first"' in metrics


def test_an_endpoint_that_is_gone(stand_in: StartStandIn, tmp_path: Path) -> None:
    """An endpoint of a Service that cannot be connected to is passed over, and no request fails for it."""
    service = stand_in()
    gone = "127.0.0.2"  # nobody listens there
    manifests = SERVICE.format(port=service.port, endpoints=f"{{addresses: [127.0.0.1, {gone}]}}", more="")
    with served(_gateway(manifests, tmp_path)) as gateway:
        assert {post(gateway.port, "/x", BODY).status for _ in range(12)} == {200}
        assert len(service.seen) == 12


def _busy(visit: Visit) -> None:
    visit.reply(503)


@pytest.mark.parametrize("failure", [_busy, Visit.stall, Visit.reset], ids=["code", "backend timeout", "connection"])
def test_retry(failure: Script, stand_in: StartStandIn, tmp_path: Path) -> None:
    """An answer with one of the codes, none in time, and a broken connection are tried again, as often as is said."""
    service = stand_in()

    def fails_twice(visit: Visit) -> None:
        script = failure if len(service.seen) <= 2 else chat
        script(visit)

    service.script = fails_twice
    more = "retry: {attempts: 2, codes: [503], backoff: 10ms}, timeouts: {backendRequest: 1500ms}, "
    manifests = SERVICE.format(port=service.port, endpoints="{addresses: [127.0.0.1]}", more=more)
    with served(_gateway(manifests, tmp_path)) as gateway:
        assert post(gateway.port, "/x", BODY).status == 200
        assert [seen["x-retry-attempt"] for seen in service.seen] == [None, "1", "2"]
