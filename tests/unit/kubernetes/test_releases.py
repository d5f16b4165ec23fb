"""The release of the Gateway API that a cluster has, as GatewayClasses tell it."""

from __future__ import annotations

import json

import pytest

from tests.unit.kubernetes.families import conditions, status, told
from tests.unit.kubernetes.manifests import objects
from torana.config.kubernetes.installed import CRDS
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.releases import NEWEST
from torana.config.kubernetes.schemas import crd_text
from torana.config.kubernetes.translate import translate

_CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: torana}
spec: {controllerName: torana.dev/gateway-controller}
"""


@pytest.mark.parametrize("release", ["v1.3.0", "v1.4.1", "v1.6.1", "v1.6.0-rc.1"])
def test_known(release: str) -> None:
    """A release that is known is told as supported."""
    made = translate(objects(_CLASS), Options(releases=dict.fromkeys(CRDS, release)))
    found = told(made, "GatewayClass", "torana")
    assert found == {"Accepted": ("True", "Accepted"), "SupportedVersion": ("True", "SupportedVersion")}


@pytest.mark.parametrize("release", ["v1.2.1", "v1.7.0", "v2.6.0", "v1.16.0", "v1.6", "1.6.0", "v1.6.0\n", "main", ""])
def test_not_known(release: str) -> None:
    """One CRD of another release, or of none, is told with its name and with what is known; the class is accepted."""
    releases = dict.fromkeys(CRDS, "v1.6.1") | {"gateways.gateway.networking.k8s.io": release}
    made = translate(objects(_CLASS), Options(releases=releases))
    accepted, supported = conditions(status(made, "GatewayClass", "torana"))
    assert (accepted["type"], accepted["status"]) == ("Accepted", "True")
    assert (supported["status"], supported["reason"]) == ("False", "UnsupportedVersion")
    assert supported["message"].count("gateway.networking.k8s.io") == 1
    assert f"gateways.gateway.networking.k8s.io ({release or 'without a release'})" in supported["message"]
    assert "from v1.3 to v1.6" in supported["message"]


@pytest.mark.parametrize("releases", [None, {}])
def test_nothing_is_known(releases: dict[str, str] | None) -> None:
    """Where CRDs may not be read, or are files, nothing is told of their release."""
    made = translate(objects(_CLASS), Options(releases=releases))
    assert told(made, "GatewayClass", "torana").keys() == {"Accepted"}


def test_the_newest() -> None:
    """The newest release that is known is the one whose schemas file mode checks by."""
    assert json.loads(crd_text("gateway-api.json"))["release"].startswith(f"v1.{NEWEST}.")
