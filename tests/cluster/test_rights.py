"""Who Torana is to the API server, and what it does with fewer rights than it needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.bed import LESSER, LESSER_USER, Bed
from tests.cluster.conftest import CRDS, StartGateway
from tests.cluster.gateway import ClusterGateway
from tests.cluster.waits import PATIENCE, until
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import post
from tests.ports import free_port

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
RESOURCES = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: lesser}
spec: {controllerName: torana.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: main, namespace: %(namespace)s}
spec:
  gatewayClassName: lesser
  listeners: [{name: http, port: %(port)d, protocol: HTTP}]
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: %(namespace)s}
stringData: {Authorization: sk-of-the-secret}
---
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {name: keyed, namespace: %(namespace)s}
spec:
  static: {host: 127.0.0.1, port: %(provider)d}
  policies: {auth: {secretRef: {name: key}}}
---
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {name: open, namespace: %(namespace)s}
spec: {static: {host: 127.0.0.1, port: %(provider)d}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route, namespace: %(namespace)s}
spec:
  parentRefs: [{name: main}]
  rules:
  - matches: [{path: {value: /keyed}}]
    backendRefs: [{group: agentgateway.dev, kind: AgentgatewayBackend, name: keyed}]
  - matches: [{path: {value: /open}}]
    backendRefs: [{group: agentgateway.dev, kind: AgentgatewayBackend, name: open}]
"""


@pytest.fixture
def provider() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def _role_without(resource: str) -> str:
    """The ClusterRole of the install manifests, without one resource."""
    documents = yaml.safe_load_all((CRDS / "torana.yaml").read_text())
    role = next(each for each in documents if each["kind"] == "ClusterRole")
    for rule in role["rules"]:
        rule["resources"] = [name for name in rule["resources"] if name != resource]
    role["rules"] = [rule for rule in role["rules"] if rule["resources"]]
    return yaml.safe_dump(role | {"metadata": {"name": "lesser"}})


@pytest.fixture
def no_more_rights(bed: Bed) -> Iterator[None]:
    """The lesser user has none after the test, whatever became of it."""
    yield
    bed.kubectl("delete", "clusterrolebinding", "lesser", "lesser-2", "--ignore-not-found")
    bed.kubectl("delete", "clusterrole", "lesser", "lesser-secrets", "--ignore-not-found")
    bed.kubectl("delete", "gatewayclass", "lesser", "--ignore-not-found")


@pytest.mark.usefixtures("no_more_rights")
def test_rights_one_by_one(bed: Bed, namespace: str, gateway: StartGateway, provider: StandIn) -> None:
    """Each right that lacks is told with the rule that grants it, and is enough once it is there.

    Without Gateways nothing is served. Without Secrets all is served but what needs one. Without the lease all is
    served, and statuses are not written.
    """
    port = free_port()
    bed.apply(RESOURCES % {"namespace": namespace, "port": port, "provider": provider.port})
    running = gateway(token=LESSER)
    running.until_told("Gateway: may not be read", "resources: [gateways], verbs: [get, list, watch]", status=500)

    bed.apply(_role_without("secrets"))
    bed.kubectl("create", "clusterrolebinding", "lesser", "--clusterrole=lesser", f"--user={LESSER_USER}")
    running.until_told("ready; ", "Secret: may not be read", 'apiGroups: [""], resources: [secrets]')
    running.until_told("Lease: statuses are not written", "resources: [leases], verbs: [get, create, update]")
    assert running.metric('agentgateway_config_troubles{kind="Secret",reason="forbidden"}') == 1
    assert running.metric('agentgateway_config_troubles{kind="Lease",reason="forbidden"}') == 1
    assert running.metric("agentgateway_config_synchronized") == 0
    assert post(port, "/open", BODY).status == 200
    assert post(port, "/keyed", BODY).status == 500

    at_home = ("-n", running.leases)
    bed.kubectl("create", "role", "lesser", "--verb=get,create,update", "--resource=leases", *at_home)
    bed.kubectl("create", "rolebinding", "lesser", "--role=lesser", f"--user={LESSER_USER}", *at_home)
    bed.wait_for("condition=Accepted=false", "agentgatewaybackend/keyed", namespace)
    (condition,) = bed.read("agentgatewaybackend", "keyed", namespace)["status"]["conditions"]
    assert f"secret {namespace}/key cannot be read: the API server does not let" in condition["message"]
    assert "Lease" not in running.said

    bed.kubectl("create", "clusterrole", "lesser-secrets", "--verb=list,watch", "--resource=secrets")
    bed.kubectl("create", "clusterrolebinding", "lesser-2", "--clusterrole=lesser-secrets", f"--user={LESSER_USER}")
    running.until_ready()
    until(lambda: post(port, "/keyed", BODY).status == 200, "the key to be used")
    assert running.metric("agentgateway_config_synchronized") == 1
    assert running.log.count("Secret: may not be read") == 1


def test_in_a_pod(bed: Bed, gateway: StartGateway, tmp_path: Path) -> None:
    """With a service account's folder it finds its own way in, and a new token in it is used when the old one ends."""
    bed.kubectl("apply", "-f", str(CRDS / "torana.yaml"))
    account = tmp_path / "account"
    account.mkdir()
    (account / "namespace").write_text("torana-system")
    shutil.copyfile(bed.folder / "ca.pem", account / "ca.crt")

    def write_token() -> None:
        (account / "token.new").write_text(bed.kubectl("create", "token", "torana", "-n", "torana-system"))
        (account / "token.new").rename(account / "token")

    write_token()
    env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(bed.port)}
    running = gateway(account=account, env=env)
    running.until_ready()
    bed.wait_for("condition=Accepted", "gatewayclass/torana")

    bed.kubectl("delete", "serviceaccount", "torana", "-n", "torana-system")  # its tokens end with it
    bed.kubectl("create", "serviceaccount", "torana", "-n", "torana-system")
    with bed.without_server():
        pass  # the one that comes does not remember whom it let in
    running.until_told("Unauthorized")
    write_token()
    running.until_ready()
    bed.kubectl("patch", "gatewayclass", "torana", "--type=merge", "-p", '{"spec": {"description": "changed"}}')
    until(lambda: _observed(bed) == bed.read("gatewayclass", "torana")["metadata"]["generation"], "the status")
    bed.kubectl("delete", "gatewayclass", "torana")


def _observed(bed: Bed) -> int:
    condition: dict[str, int] = bed.read("gatewayclass", "torana")["status"]["conditions"][0]
    return condition["observedGeneration"]


def test_no_cluster(gateway: StartGateway, tmp_path: Path) -> None:
    """Without a way into a cluster it ends at once and says where it looked."""
    running: ClusterGateway = gateway(account=tmp_path / "nothing")
    assert running.process.wait(PATIENCE) == 1
    assert "no way into a cluster" in running.log
