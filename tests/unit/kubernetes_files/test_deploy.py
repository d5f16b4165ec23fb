"""What installs Torana in a cluster: one source in the package, copies under deploy/, and a chart that agrees."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from torana import __version__
from torana.cli.main import app
from torana.config.kubernetes import installed
from torana.config.kubernetes.installed import CRD
from torana.config.kubernetes.kinds import LEASE, WATCHED
from torana.config.kubernetes.leader import NO_NAME, lease_name
from torana.config.kubernetes.objects import CONTROLLER_NAME
from torana.config.kubernetes.process import process_settings
from torana.config.kubernetes.schemas import CRDS, crd_text, install_text

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "torana"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
STATUS_KINDS = ("gatewayclasses", "gateways", "httproutes", "backendtlspolicies", "backends", "agentgatewaybackends")


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def container() -> Any:
    (found,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents(install_text()) if document["kind"] == kind]
    return found


@pytest.mark.parametrize(
    ("copy", "name"),
    [
        *((DEPLOY / "kubernetes" / name, name) for name in (*CRDS, "torana.yaml")),
        *((CHART / "crds" / name, name) for name in CRDS),
    ],
    ids=lambda value: str(value.relative_to(DEPLOY)) if isinstance(value, Path) else "",
)
def test_copies(copy: Path, name: str) -> None:
    """The files under deploy/ are byte for byte those of the package: `cp` them from config/kubernetes/crds."""
    assert copy.read_text() == crd_text(name)


def test_everything_is_there() -> None:
    """The install YAML is the CRDs, an account with its rights, the gateway, and a class with our controller's name."""
    kinds = [document["kind"] for document in documents(install_text())]
    assert kinds == [
        "CustomResourceDefinition",
        "CustomResourceDefinition",
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Deployment",
        "PodDisruptionBudget",
        "Service",
        "GatewayClass",
    ]
    assert of_kind("GatewayClass")["spec"]["controllerName"] == CONTROLLER_NAME


def test_rights_are_those_that_are_used() -> None:
    """Every kind that is watched may be read, statuses of ours may be patched, and a few CRDs got; nothing more."""
    *rules, of_releases = of_kind("ClusterRole")["rules"]
    named = {"apiGroups": [CRD.group], "resources": [CRD.plural], "resourceNames": [*installed.CRDS], "verbs": ["get"]}
    assert of_releases == named
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    read = {(watched.group, watched.versions[0].plural): set(watched.verbs) for watched in WATCHED}
    written = {(group, f"{plural}/status") for group, plural in read if plural in STATUS_KINDS}
    assert set(rights) == set(read) | written
    assert {each: rights[each] for each in read} == read
    assert {plural for (_, plural), verbs in read.items() if "get" in verbs} == set(STATUS_KINDS)
    assert all(rights[each] == {"patch"} for each in written)
    held, made = of_kind("Role")["rules"]
    assert all((rule["apiGroups"], rule["resources"]) == ([LEASE.group], [LEASE.plural]) for rule in (held, made))
    assert (held["resourceNames"], held["verbs"]) == ([lease_name(CONTROLLER_NAME)], ["get", "update"])
    assert made["verbs"] == ["create"]


@pytest.mark.parametrize(
    ("controller", "name"),
    [
        (CONTROLLER_NAME, "torana.dev-gateway-controller"),
        ("example.com/v1.5/Chat_Gateway", "example.com-v1.5-chat-gateway"),
        ("example.com/.well--known~", "example.com-well-known"),
        ("example.com/a..b", "example.com-a-b"),
    ],
)
def test_lease_of_a_controller(controller: str, name: str) -> None:
    """Whatever the Gateway API takes for a controllerName has a Lease with a name that Kubernetes takes."""
    assert lease_name(controller) == name
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name)


def test_chart_has_the_same_rights() -> None:
    """The chart's templates, with names put in, grant what the plain YAML grants, to whom it grants it."""
    text = (CHART / "templates" / "rbac.yaml").read_text()
    lease = f'regexReplaceAll "{NO_NAME}" (lower .Values.controllerName) "-" | trimAll "-."'
    text = text.replace(f"{{{{ {lease} }}}}", lease_name(CONTROLLER_NAME))
    text = text.replace("{{ .Release.Name }}", "torana").replace("{{ .Release.Namespace }}", "torana-system")
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    assert documents(text) == [of_kind(kind) for kind in kinds]


def test_chart_values_are_used_and_known() -> None:
    """Every value of the chart is used by a template, and no template uses one that values.yaml does not have."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([A-Za-z]+)", text))
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert used == set(values) == set(schema["properties"]) - {"global"}
    assert values["controllerName"] == CONTROLLER_NAME


def test_one_version() -> None:
    """The chart and the plain YAML start the image of this very version, under the tag that `make image` gives it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert container()["image"] == f"torana:{__version__}"
    assert f"-t torana:{__version__} dist" in DOCKERFILE
    assert "torana --version" in (DEPLOY.parent / "Makefile").read_text()
    told = CliRunner().invoke(app, ["--version"])
    assert told.stdout.split()[-1] == __version__


def test_image_copies_what_the_build_makes() -> None:
    """All that the Dockerfile copies from outside is the sources, under the name that `make build` gives them."""
    copied = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY torana")]
    others = [
        line for line in DOCKERFILE.splitlines() if line.startswith(("COPY", "ADD")) and "--from=build" not in line
    ]
    assert len(copied) == len(others) == 1
    # Source distribution format, "Source distribution file name".
    assert copied[0].replace("${VERSION}", __version__) == f"torana-{__version__}.tar.gz"


def test_image_runs_what_the_manifests_ask_for() -> None:
    """The entry point is the command that the wheel installs, and it knows every argument the Deployment gives it."""
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    (command,) = json.loads(entry)
    assert PurePath(command).name in project["scripts"]
    shown = CliRunner().invoke(app, [*container()["args"], "--print-manifests"])
    assert (shown.exit_code, shown.stdout) == (0, install_text())


def test_pod_can_run_restricted() -> None:
    """The user is the image's and not root; what has to be written, keys for OpenSSL, has a place in memory."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in DOCKERFILE
    assert container()["securityContext"]["readOnlyRootFilesystem"]
    (mount,) = container()["volumeMounts"]
    (volume,) = pod["volumes"]
    assert (mount["mountPath"], mount["name"], volume["emptyDir"]["medium"]) == ("/tmp", volume["name"], "Memory")


def test_no_admin_within_reach_of_a_backend() -> None:
    """Nothing in a pod listens on localhost alone: a Backend of any user of the cluster may lead there."""
    settings = process_settings({entry["name"]: entry["value"] for entry in container()["env"]})
    assert settings.admin_address is None


def test_pod_has_time_to_drain() -> None:
    """A pod is killed only after the pause before its end, the time requests have, and some more."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    settings = process_settings({entry["name"]: entry["value"] for entry in container()["env"]})
    assert settings.drain_timeout > 5
    assert pod["terminationGracePeriodSeconds"] >= pause + settings.drain_timeout + 5


@pytest.mark.parametrize("name", CRDS)
def test_crds_are_structural(name: str) -> None:
    """Each part of a CRD's schema has a type, and its status is a subresource, as an API server demands."""
    (crd,) = documents(crd_text(name))
    (version,) = crd["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    check_types(version["schema"]["openAPIV3Schema"])


def check_types(schema: dict[str, Any]) -> None:
    assert "type" in schema, schema
    for part in schema.get("properties", {}).values():
        check_types(part)
    if isinstance(schema.get("items"), dict):
        check_types(schema["items"])
