"""Gateways whose ports cannot be opened say so in their statuses."""

from __future__ import annotations

from typing import Any

from torana.config.kubernetes import ports
from torana.config.kubernetes.manifests import Examined, Manifests, Reading

GATEWAY = """apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  gatewayClassName: any
  listeners: [{name: a, port: 8080, protocol: HTTP}, {name: b, port: 8081, protocol: HTTP}]
"""


def examined(text: str = GATEWAY) -> Examined:
    return Manifests(Reading(paths=("-",), stdin=text)).examine()


def told(closed: dict[int, str]) -> dict[str, dict[str, tuple[str, str]]]:
    """Status and reason of each condition, of the Gateway (``) and of its listeners by name."""
    found = examined()
    (status,) = ports.told(found.translation.statuses, found.objects, closed)
    parts = {"": status.status, **{each["name"]: each for each in status.status["listeners"]}}
    return {name: _conditions(part) for name, part in parts.items()}


def _conditions(part: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in part["conditions"]}


def test_nothing_closed() -> None:
    """Without a closed port statuses are what they were."""
    found = examined()
    assert ports.told(found.translation.statuses, found.objects, {}) == found.translation.statuses
    assert ports.told(found.translation.statuses, found.objects, {9: "no"}) == found.translation.statuses


def test_one_listener_closed() -> None:
    """A listener whose port is taken is neither accepted nor programmed; its Gateway serves by the other."""
    found = told({8081: "taken"})
    assert found["b"]["Accepted"] == found["b"]["Programmed"] == ("False", "PortUnavailable")
    assert found["a"]["Programmed"][0] == "True"
    assert found[""]["Accepted"] == ("True", "ListenersNotValid")
    assert found[""]["Programmed"][0] == "True"


def test_all_listeners_closed() -> None:
    """A Gateway of which no port can be opened is not programmed."""
    found = told({8080: "taken", 8081: "taken"})
    assert found[""] == {"Accepted": ("False", "ListenersNotValid"), "Programmed": ("False", "Invalid")}


def test_other_faults_stay() -> None:
    """A closed port is told beside what else is wrong with the Gateway's listeners, not in its place."""
    wrong = "{name: c, port: 8082, protocol: HTTPS, tls: {certificateRefs: [{name: absent}]}}"
    found = examined(GATEWAY.replace("]", f", {wrong}]"))
    (status,) = ports.told(found.translation.statuses, found.objects, {8081: "taken"})
    accepted = next(each for each in status.status["conditions"] if each["type"] == "Accepted")
    assert accepted["status"] == "True"
    assert accepted["message"].startswith("Some listeners are not accepted: b: taken; c: ")
    assert "absent" in accepted["message"]


def test_a_gateway_that_is_refused() -> None:
    """A Gateway that is not accepted keeps its own reason when another's port of that number is closed."""
    refused = GATEWAY.replace("spec:", "spec:\n  infrastructure: {parametersRef: {group: a, kind: b, name: c}}")
    found = examined(refused)
    assert ports.told(found.translation.statuses, found.objects, {8080: "taken"}) == found.translation.statuses
    (status,) = found.translation.statuses
    assert _conditions(status.status)["Accepted"] == ("False", "InvalidParameters")
