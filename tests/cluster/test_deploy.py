"""What a platform engineer installs, as helm renders it and as a real API server takes it, from nothing each time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.cluster.bed import ACCOUNT, Bed
from tests.cluster.build import GATEWAY_API, MissingError, Tools, helm, tools
from tests.cluster.conftest import StartGateway
from tests.cluster.gateway import ClusterGateway
from tests.cluster.gateway_api import cut
from tests.cluster.waits import until
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import ask, post
from tests.ports import free_port
from torana import __version__
from torana.config.kubernetes.schemas import crd_text, install_text

ROOT = Path(__file__).parents[2]
CHART = str(ROOT / "deploy" / "helm" / "torana")
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
SPACE = "torana-system"
BODY = {"model": "", "messages": [{"role": "user", "content": "Hello"}]}
# Every value as nobody has it by default.
CHANGED = """
image: {repository: registry.example.com/torana, tag: 9.9.9, pullPolicy: Always}
imagePullSecrets: [{name: registry}]
replicas: 3
workers: 4
controllerName: example.com/torana
gatewayClasses: [one, agentgateway]
service:
  type: ClusterIP
  annotations: {example.com/scheme: internal}
  ports: [{name: http-alt, port: 8080}]
drainSeconds: 100
adminAddress: localhost:15000
resources: {requests: {cpu: 2}}
podDisruptionBudget: {enabled: true, maxUnavailable: 50%}
env: [{name: SSL_CERT_FILE, value: /etc/ca/ca.pem}]
podAnnotations: {prometheus.io/port: "15020"}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {podAntiAffinity: {}}
"""

Object: TypeAlias = dict[str, Any]
Helm: TypeAlias = Callable[..., str]
Right: TypeAlias = tuple[str, str, str, str]
"""API group, resource, the name that it is restricted to or nothing, verb."""


@pytest.fixture(scope="module")
def built() -> Tools:
    try:
        return tools()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def helm_binary() -> Path:
    try:
        return helm()
    except MissingError as error:
        pytest.skip(f"helm could not be built: {error}")


@pytest.fixture
def run_helm(helm_binary: Path, tmp_path: Path) -> Helm:
    """Runs helm without a cluster; what it printed. Raises AssertionError with its complaint."""

    def run(*words: str, values: str = "") -> str:
        done = subprocess.run(
            [str(helm_binary), *words, "--values", "-"],
            input=values,
            env={"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"helm {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def bed(built: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A cluster API of the test's own, with nothing but the Gateway API's CRDs."""
    running = Bed(built, tmp_path_factory.mktemp("bed"))
    try:
        running.install(built.gateway_crds)
        yield running
    finally:
        running.stop()


def by_name(text: str) -> dict[tuple[str, str], Object]:
    """The objects of `text` by kind and name."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(found) == len(documents)
    return found


def container(deployment: Object) -> Object:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


# the chart, without a cluster


@pytest.mark.parametrize("values", ["", CHANGED], ids=["default", "changed"])
def test_chart_has_no_faults(run_helm: Helm, values: str) -> None:
    """`helm lint --strict` finds neither an error nor a warning."""
    run_helm("lint", "--strict", CHART, values=values)


def test_chart_is_the_plain_yaml(run_helm: Helm) -> None:
    """By default the chart makes what `torana kubernetes --print-manifests` prints, but for the namespace."""
    rendered = by_name(run_helm("template", "torana", CHART, "--namespace", SPACE, "--include-crds"))
    plain = by_name(install_text())
    del plain["Namespace", SPACE]
    assert rendered.keys() == plain.keys()
    for key, expected in plain.items():
        assert rendered[key] == expected, key


def test_values_change_the_chart(run_helm: Helm) -> None:
    """Each value ends up where Kubernetes reads it."""
    found = by_name(run_helm("template", "torana", CHART, "--namespace", SPACE, values=CHANGED))
    deployment, service = found["Deployment", "torana"], found["Service", "torana"]
    template, gateway = deployment["spec"]["template"], container(deployment)
    pod = template["spec"]
    assert deployment["spec"]["replicas"] == 3
    assert template["metadata"]["annotations"] == {"prometheus.io/port": "15020"}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert pod["affinity"] == {"podAntiAffinity": {}}
    assert pod["terminationGracePeriodSeconds"] == 115
    assert (gateway["image"], gateway["imagePullPolicy"]) == ("registry.example.com/torana:9.9.9", "Always")
    assert gateway["args"] == [
        "kubernetes",
        "--controller-name=example.com/torana",
        f"--publish-service={SPACE}/torana",
        "--workers=4",
    ]
    assert {"name": "CONNECTION_TERMINATION_DEADLINE", "value": "100s"} in gateway["env"]
    assert {"name": "ADMIN_ADDR", "value": "localhost:15000"} in gateway["env"]
    assert {"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.pem"} in gateway["env"]
    assert gateway["ports"][0] == {"name": "http-alt", "containerPort": 8080}
    assert gateway["resources"]["requests"]["cpu"] == 2
    assert service["metadata"]["annotations"] == {"example.com/scheme": "internal"}
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["ports"] == [{"name": "http-alt", "port": 8080, "targetPort": 8080}]
    assert found["PodDisruptionBudget", "torana"]["spec"]["maxUnavailable"] == "50%"
    classes = {name: each["spec"]["controllerName"] for (kind, name), each in found.items() if kind == "GatewayClass"}
    assert classes == {"one": "example.com/torana", "agentgateway": "example.com/torana"}


def test_parts_can_be_left_out(run_helm: Helm) -> None:
    """Neither a disruption budget nor a class is made by who wants none."""
    values = "{podDisruptionBudget: {enabled: false}, gatewayClasses: []}"
    found = by_name(run_helm("template", "torana", CHART, values=values))
    assert not {"PodDisruptionBudget", "GatewayClass"} & {kind for kind, _ in found}


def test_release_of_another_name(run_helm: Helm) -> None:
    """The objects of a release are about each other, whatever its name and namespace: rights, account, selectors."""
    found = by_name(run_helm("template", "other", CHART, "--namespace", "elsewhere"))
    assert {name for kind, name in found if kind != "GatewayClass"} == {"other"}
    account = {"kind": "ServiceAccount", "name": "other", "namespace": "elsewhere"}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert found[kind, "other"]["subjects"] == [account]
        assert found[kind, "other"]["roleRef"]["name"] == "other"
    template = found["Deployment", "other"]["spec"]["template"]
    assert template["spec"]["serviceAccountName"] == "other"
    labels = template["metadata"]["labels"]
    assert found["Service", "other"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget", "other"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Deployment", "other"]["spec"]["selector"]["matchLabels"] == labels


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("replica=3", "replica"),
        ("drainSeconds=45s", "drainSeconds"),
        ("workers=0", "workers"),
        ("controllerName=torana", "controllerName"),
        ("service.type=Loadbalancer", "type"),
        ("service.ports[0].port=15021,service.ports[0].name=http", "port"),
        ("service.ports[0].port=80,service.ports[0].name=metrics", "name"),
        ("image=torana:latest", "image"),
    ],
)
def test_wrong_values_are_refused(run_helm: Helm, wrong: str, named: str) -> None:
    """A value that is unknown or of no use is named, and nothing is rendered."""
    with pytest.raises(AssertionError, match=rf"values don't meet the specifications[\s\S]*{named}"):
        run_helm("template", "torana", CHART, "--set", wrong)


def test_schemas_are_of_the_release(built: Tools) -> None:
    """File mode checks by the release of the Gateway API that is installed: `python -m tests.cluster.gateway_api`."""
    assert cut(built.gateway_crds) == crd_text("gateway-api.json")


# on a cluster


def test_server_takes_all_values(bed: Bed, run_helm: Helm) -> None:
    """The API server knows every field that the chart can make, and finds each of the right type."""
    rendered = run_helm("template", "torana", CHART, "--namespace", "default", values=CHANGED)
    told = bed.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered)
    assert told.count("created (server dry run)") == len(by_name(rendered))


def test_pods_are_restricted(bed: Bed) -> None:
    """A namespace that enforces the Pod Security Standard `restricted` takes a pod of the Deployment."""
    bed.kubectl("create", "namespace", SPACE)
    bed.kubectl("label", "namespace", SPACE, "pod-security.kubernetes.io/enforce=restricted")
    deployment = by_name(install_text())["Deployment", "torana"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "torana", "namespace": SPACE},
        "spec": deployment["spec"]["template"]["spec"],
    }
    bed.kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(pod))
    del pod["spec"]["securityContext"]
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        bed.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_account_may_do_no_more_than_the_list(bed: Bed) -> None:
    """More than every user, the account may read and patch the kinds of its ClusterRole, and use a Lease at home."""
    bed.apply(install_text())
    plain = by_name(install_text())
    everywhere, at_home = (granted(plain[kind, "torana"]["rules"]) for kind in ("ClusterRole", "Role"))
    assert {verb for *_, verb in everywhere} == {"get", "list", "watch", "patch"}
    assert all(resource.endswith("/status") for _, resource, _, verb in everywhere if verb == "patch")
    assert all(name for _, resource, name, _ in everywhere if resource == "customresourcedefinitions")
    assert rights(bed, "default") == everywhere
    assert rights(bed, SPACE) == everywhere | at_home


def rights(bed: Bed, namespace: str) -> set[Right]:
    """What `kubectl auth can-i --list` says of the account, less what it says of somebody without rights."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    found = []
    for token in (ACCOUNT, "torana-token"):
        config = str(bed.kubeconfig_for(f"asks-{token}", token))
        told = bed.kubectl(
            "--kubeconfig", config, "create", "--validate=false", "-o", "json", "-f", "-", stdin=json.dumps(review)
        )
        found.append(granted(json.loads(told)["status"]["resourceRules"]))
    return found[0] - found[1]


def granted(rules: list[Object]) -> set[Right]:
    return {
        (group, resource, name, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
    }


def test_alive_but_not_ready(gateway: StartGateway) -> None:
    """A gateway that may not read the cluster is not ready, and the cluster does not end it for that."""
    running = gateway(token="torana-token")
    until(lambda: (answer := running.ready()) is not None and answer.status == 500, "the readiness endpoint")
    readiness, liveness = probes(container(by_name(install_text())["Deployment", "torana"]), running)
    assert (readiness(), liveness()) == (500, 200)


def probes(deployed: Object, running: ClusterGateway) -> tuple[Callable[[], int], Callable[[], int]]:
    """What a kubelet would be answered by readiness and liveness, the ports being those of this machine."""
    ports = {"ready": running.readiness, "metrics": running.stats}

    def probe(kind: str) -> Callable[[], int]:
        get = deployed[kind]["httpGet"]
        return lambda: ask(ports[get["port"]], "GET", get["path"]).status

    return probe("readinessProbe"), probe("livenessProbe")


# the commands of docs/kubernetes.md

NOT_RUN = ("make image", "https://github.com/", "port-forward", "curl localhost")
"""What needs a container engine, the network, or nodes. The page says so."""


def commands(heading: str) -> list[str]:
    """The blocks of shell below a heading, up to the next."""
    section = PAGE.split(f"\n{heading}\n")[1].split("\n#")[0]
    return re.findall(r"```bash\n(.*?)```", section, re.DOTALL)


def type_in(bed: Bed, script: str, *folders: Path) -> str:
    """As a user in a checkout of the repository, with an installed Torana and what is in `folders`."""
    path = ":".join([*map(str, folders), str(Path(sys.executable).parent), bed.environment["PATH"]])
    return bed.shell(f"cd {ROOT}\n{script}", PATH=path)


def as_deployed(bed: Bed, gateway: StartGateway, *arguments: str, env: dict[str, str] | None = None) -> ClusterGateway:
    """In place of a pod: with the arguments, variables and rights that the Deployment gives."""
    deployed = container(bed.read("deployment", "torana", SPACE))
    assert deployed["image"] == f"registry.example.com/torana:{__version__}"
    (command, *given) = deployed["args"]
    assert command == "kubernetes"
    variables = {entry["name"]: entry["value"] for entry in deployed["env"]}
    where = ("--lease-namespace", SPACE)  # in a pod it is known
    running = gateway(*given, *where, *arguments, env=variables | (env or {}), token=ACCOUNT)
    bed.wait_for("condition=Accepted", "gatewayclass/torana")
    return running


def test_page_leads_to_a_request_served(
    bed: Bed, gateway: StartGateway, providers: dict[str, StandIn], trust: dict[str, str]
) -> None:
    """The commands of the page, one after another, end with an answer of the provider."""
    blocks = commands("## In a cluster")
    run = [block for block in blocks if not any(words in block for words in NOT_RUN)]
    assert len(run) == len(blocks) - len(NOT_RUN) == 2
    assert f"/releases/download/{GATEWAY_API}/" in PAGE
    port = free_port()
    for block in run:
        type_in(bed, block.replace("port: 80\n", f"port: {port}\n"))
        bed.until_discovered()
    (documents,) = (block for block in commands("## On a laptop, without a cluster") if "--manifests -" in block)
    type_in(bed, documents.replace("torana kubernetes --manifests - --implicit-gateway 8080", "kubectl apply -f -"))

    running = as_deployed(bed, gateway, *providers["api.mistral.ai"].resolve("api.mistral.ai", 443), env=trust)
    bed.wait_for("condition=Programmed", "gateway/agentgateway", "gloo-system")
    until(lambda: post(port, "/mistral", BODY).status == 200, "the route")
    running.until_ready()
    readiness, liveness = probes(container(bed.read("deployment", "torana", SPACE)), running)
    assert (readiness(), liveness()) == (200, 200)
    assert "forbidden" not in running.log


def test_page_leads_to_a_release(bed: Bed, gateway: StartGateway, helm_binary: Path) -> None:
    """The chart is installed and upgraded on an empty cluster, says what is next, and its account has all it needs."""
    install, upgrade = commands("### With Helm")
    told = type_in(bed, install, helm_binary.parent)
    assert "kubectl get gatewayclass torana" in told
    assert "on port 80, 443; a listener" in told
    bed.until_discovered()
    type_in(bed, upgrade, helm_binary.parent)
    running = as_deployed(bed, gateway)
    running.until_ready()
    assert "forbidden" not in running.log
