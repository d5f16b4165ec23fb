"""What installs Torana in a cluster: one source in the package, copies under deploy/, and a chart that agrees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from torana.config.kubernetes.kinds import LEASE, WATCHED
from torana.config.kubernetes.objects import CONTROLLER_NAME
from torana.config.kubernetes.schemas import CRDS, crd_text, install_text

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "torana"
STATUS_KINDS = ("gatewayclasses", "gateways", "httproutes", "backendtlspolicies", "backends", "agentgatewaybackends")


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


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
        "Service",
        "GatewayClass",
    ]
    assert of_kind("GatewayClass")["spec"]["controllerName"] == CONTROLLER_NAME


def test_rights_are_those_that_are_used() -> None:
    """Every kind that is watched may be read, statuses of ours may be patched, and nothing more is granted."""
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in of_kind("ClusterRole")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    read = {(watched.group, watched.versions[0].plural) for watched in WATCHED}
    written = {(group, f"{plural}/status") for group, plural in read if plural in STATUS_KINDS}
    assert set(rights) == read | written
    assert all(rights[each] == {"get", "list", "watch"} for each in read)
    assert all(rights[each] == {"patch", "update"} for each in written)
    (lease,) = of_kind("Role")["rules"]
    assert (lease["apiGroups"], lease["resources"]) == ([LEASE.group], [LEASE.plural])


def test_chart_has_the_same_rights() -> None:
    """The chart's templates, with names put in, grant what the plain YAML grants, to whom it grants it."""
    text = (CHART / "templates" / "rbac.yaml").read_text()
    text = text.replace("{{ .Release.Name }}", "torana").replace("{{ .Release.Namespace }}", "torana-system")
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    assert documents(text) == [of_kind(kind) for kind in kinds]


def test_chart_values_are_used_and_known() -> None:
    """Every value of the chart is used by a template, and no template uses one that values.yaml does not have."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([A-Za-z]+)", text))
    assert used == set(values)
    assert values["controllerName"] == CONTROLLER_NAME


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
