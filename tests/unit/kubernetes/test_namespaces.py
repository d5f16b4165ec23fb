"""Of which namespaces a listener takes routes, when it selects them by their labels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubernetes.families import status
from tests.unit.kubernetes.manifests import from_body
from torana.config.kubernetes.objects import Object, Options
from torana.config.kubernetes.translate import translate

_NAME = "kubernetes.io/metadata.name"
_GATEWAY_API = "gateway.networking.k8s.io/v1"
_NAMESPACE = from_body({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps", "labels": {"team": "a"}}})
_ROUTE = from_body(
    {
        "apiVersion": _GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": "apps"},
        "spec": {"parentRefs": [{"name": "main", "namespace": "infra"}]},
    }
)


def _gateway(selector: dict[str, Any]) -> Object:
    allowed = {"namespaces": {"from": "Selector", "selector": selector}}
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": allowed}
    spec = {"gatewayClassName": "torana", "listeners": [listener]}
    metadata = {"name": "main", "namespace": "infra"}
    return from_body({"apiVersion": _GATEWAY_API, "kind": "Gateway", "metadata": metadata, "spec": spec})


def _reason(*objects: Object) -> str:
    """Of the route's Accepted."""
    (entry,) = status(translate(objects, Options()), "HTTPRoute", "route")["parents"]
    return str(entry["conditions"][0]["reason"])


def _asked(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": [*values]}]}


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ({}, True),
        ({"matchLabels": {"team": "a"}}, True),
        ({"matchLabels": {"team": "b"}}, False),
        ({"matchLabels": {"kubernetes.io/metadata.name": "apps"}}, True),
        ({"matchLabels": {"team": "a"}} | _asked("team", "NotIn", "a"), False),
        (_asked("team", "In", "b", "a"), True),
        (_asked("other", "In", "a"), False),
        (_asked("team", "NotIn", "a"), False),
        (_asked("other", "NotIn", "a"), True),
        (_asked("team", "Exists"), True),
        (_asked("other", "Exists"), False),
        (_asked("other", "DoesNotExist"), True),
        (_asked("team", "DoesNotExist"), False),
    ],
    ids=str,
)
def test_selectors(selector: dict[str, Any], taken: bool) -> None:
    """All parts of a selector must hold; NotIn and DoesNotExist hold for a label that a namespace lacks."""
    assert _reason(_NAMESPACE, _gateway(selector), _ROUTE) == ("Accepted" if taken else "NotAllowedByListeners")


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ({}, True),
        ({"matchLabels": {_NAME: "apps"}}, True),
        (_asked(_NAME, "NotIn", "infra"), True),
        ({"matchLabels": {_NAME: "infra"}}, False),
        ({"matchLabels": {"team": "a"}}, False),
        (_asked("restricted", "DoesNotExist"), False),
        (_asked("team", "NotIn", "b"), False),
    ],
    ids=str,
)
def test_labels_that_are_not_known(selector: dict[str, Any], taken: bool) -> None:
    """Of a namespace that is not there the name is known, and no label's absence: one to be kept out might get in."""
    assert _reason(_gateway(selector), _ROUTE) == ("Accepted" if taken else "NotAllowedByListeners")
