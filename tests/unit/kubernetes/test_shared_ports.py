"""Several Gateways on one machine: whose listener has a port and a hostname."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubernetes.families import status
from tests.unit.kubernetes.manifests import from_body
from torana.config.kubernetes.objects import CLASS_NAME, Object, Options, Translation
from torana.config.kubernetes.translate import translate

GATEWAY_API = "gateway.networking.k8s.io/v1"
OPTIONS = Options(class_names=(CLASS_NAME,), implicit_gateway=8080)


def gateway(
    name: str, created: str = "2026-01-01T00:00:00Z", port: int = 8080, namespace: str = "default", **listener: Any
) -> Object:
    spec = {
        "gatewayClassName": CLASS_NAME,
        "listeners": [{"name": "web", "port": port, "protocol": "HTTP", **listener}],
    }
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return from_body({"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": metadata, "spec": spec})


def route(parent: str) -> Object:
    body = {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": {"name": f"to-{parent}"}}
    return from_body({**body, "spec": {"parentRefs": [{"name": parent}]}})


def conflict(made: Translation, name: str) -> dict[str, Any]:
    (listener,) = status(made, "Gateway", name)["listeners"]
    found: dict[str, Any] = next(each for each in listener["conditions"] if each["type"] == "Conflicted")
    return found


def routes(made: Translation) -> list[str]:
    return [each.name for bind in made.config.binds for listener in bind.listeners for each in listener.routes]


@pytest.mark.parametrize("hostname", [{}, {"hostname": "a.example"}], ids=["every", "one"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (gateway, lambda **more: gateway("later", "2026-02-01T00:00:00Z", **more)),
        (gateway, lambda **more: gateway("older-by-name-only", **more)),
    ],
    ids=["age", "name"],
)
def test_one_hostname_of_two_gateways(first: Any, second: Any, hostname: dict[str, str]) -> None:
    """The oldest Gateway, then the first by name, keeps it; the other's listener names it, and serves no route."""
    mine, theirs = first("mine", **hostname), second(**hostname)
    made = translate([theirs, mine, route("mine"), route(theirs.name)], OPTIONS)
    assert conflict(made, "mine")["status"] == "False"
    told = conflict(made, theirs.name)
    assert (told["status"], told["reason"]) == ("True", "HostnameConflict")
    assert "at listener default/mine/web, whose Gateway comes first" in told["message"]
    (listener,) = status(made, "Gateway", theirs.name)["listeners"]
    assert next(each for each in listener["conditions"] if each["type"] == "Accepted")["status"] == "False"
    assert routes(made) == ["default/to-mine/0"]


def test_equally_old() -> None:
    """Of two that are equally old the first by NAMESPACE/NAME wins, whose slash counts: `a-b/x` is before `a/x`."""
    made = translate([gateway("x", namespace="a"), gateway("y", namespace="a-b")], OPTIONS)
    assert conflict(made, "y")["status"] == "False"
    assert "at listener a-b/y/web" in conflict(made, "x")["message"]


@pytest.mark.parametrize("other", [gateway("b", hostname="b.example"), gateway("b", port=8081)], ids=["host", "port"])
def test_gateways_apart(other: Object) -> None:
    """Gateways with other hostnames or ports stand side by side."""
    made = translate([gateway("a"), other, route("a"), route("b")], OPTIONS)
    assert conflict(made, "b")["status"] == "False"
    assert sorted(routes(made)) == ["default/to-a/0", "default/to-b/0"]


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"hostname": "a.example", "protocol": "HTTPS", "tls": {}}, "HostnameConflict"),
        ({"hostname": "a.example"}, "ProtocolConflict"),
    ],
    ids=["hostname", "port"],
)
def test_a_certificate_that_is_missing(later: dict[str, Any], reason: str) -> None:
    """A listener in want of its certificate keeps port and hostname: no other Gateway gets its requests meanwhile."""
    first = gateway("mine", hostname="a.example", protocol="HTTPS", tls={"certificateRefs": [{"name": "absent"}]})
    made = translate([first, gateway("later", "2026-02-01T00:00:00Z", **later)], OPTIONS)
    assert conflict(made, "mine")["status"] == "False"
    assert conflict(made, "later")["reason"] == reason


def test_supplied_gateways_share() -> None:
    """Gateways that were only named share the port they are supplied on, unless somebody wrote one there."""
    assert routes(translate([route("x"), route("y")], OPTIONS)) == ["default/to-x/0", "default/to-y/0"]
    made = translate([gateway("a"), route("a"), route("x")], OPTIONS)
    assert routes(made) == ["default/to-a/0"]
    (problem,) = (each for each in made.problems if "cannot be supplied" in each.what)
    assert "at listener default/a/web" in problem.what
