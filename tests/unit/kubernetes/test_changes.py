"""What a change of the objects changes: each test translates before and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.kubernetes.manifests import from_body, objects
from torana.config.kubernetes.objects import Object, Options, Translation
from torana.config.kubernetes.translate import translate
from torana.model.backend import BackendRef

_GOLDEN = Path(__file__).parents[2] / "golden" / "kubernetes"


def _family(name: str) -> list[Object]:
    return objects((_GOLDEN / name / "full.yaml").read_text())


def _changed(
    objs: list[Object], kind: str, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Translation:
    (one,) = (each for each in objs if (each.kind, each.name) == (kind, name))
    changed = msgspec.structs.replace(one, body=change(one.body))
    return translate([changed if each is one else each for each in objs], Options())


def _status(made: Translation, kind: str, name: str) -> dict[str, Any]:
    (status,) = (each.status for each in made.statuses if (each.kind, each.name) == (kind, name))
    return status


def _conditions(value: Any) -> Iterator[dict[str, Any]]:
    """All conditions of a status: its own, and those of its listeners, parents or ancestors."""
    if isinstance(value, dict):
        yield from value.get("conditions", ())
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, dict | list):
            yield from _conditions(inner)


def _told(made: Translation, kind: str, name: str) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {each["type"]: (each["status"], each["reason"]) for each in _conditions(_status(made, kind, name))}


def _backends(made: Translation, route: str) -> tuple[BackendRef, ...]:
    (found,) = (
        each
        for bind in made.config.binds
        for listener in bind.listeners
        for each in listener.routes
        if each.name == route
    )
    return found.backends


@pytest.mark.parametrize(
    ("family", "kind", "name"),
    [
        ("gateways", "GatewayClass", "torana"),
        ("gateways", "Gateway", "main"),
        ("gateways", "HTTPRoute", "older"),
        ("tls-policies", "BackendTLSPolicy", "half"),
        ("backends", "Backend", "default"),
        ("agentgateway", "AgentgatewayBackend", "page"),
    ],
)
def test_generation_is_observed(family: str, kind: str, name: str) -> None:
    """When an object changes, each of its conditions has the new generation, and nothing else differs."""

    def bumped(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "metadata": {**body["metadata"], "generation": 42}}

    objs = _family(family)
    before, after = translate(objs, Options()), _changed(objs, kind, name, bumped)
    assert {each["observedGeneration"] for each in _conditions(_status(after, kind, name))} == {42}
    assert [each for each in before.statuses if (each.kind, each.name) != (kind, name)] == [
        each for each in after.statuses if (each.kind, each.name) != (kind, name)
    ]
    assert after.config == before.config


def test_a_grant_is_taken_away() -> None:
    """A reference into another namespace leads there while there is a ReferenceGrant, and answers 500 without it."""
    objs = _family("references")
    granted = translate(objs, Options())
    assert _told(granted, "HTTPRoute", "granted")["ResolvedRefs"] == ("True", "ResolvedRefs")
    assert _backends(granted, "apps/granted/0")[0].backend is not None
    revoked = translate([each for each in objs if (each.kind, each.name) != ("ReferenceGrant", "allow")], Options())
    assert _told(revoked, "HTTPRoute", "granted")["ResolvedRefs"] == ("False", "RefNotPermitted")
    assert _told(revoked, "HTTPRoute", "granted")["Accepted"] == ("True", "Accepted")
    assert _backends(revoked, "apps/granted/0")[0].backend is None


@pytest.mark.parametrize("data", [None, {}, {"ca.crt": ""}], ids=["no-configmap", "no-key", "empty"])
def test_a_ca_goes(data: dict[str, str] | None) -> None:
    """A policy whose only ConfigMap loses its certificate is not accepted, and its backend is not reached at all."""
    objs = _family("tls-policies")
    before = translate(objs, Options())
    assert _told(before, "BackendTLSPolicy", "uri") == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
    }
    assert _backends(before, "apps/sections/8")[0].backend is not None
    others = [each for each in objs if (each.kind, each.name) != ("ConfigMap", "ca")]
    metadata = {"name": "ca", "namespace": "apps"}
    emptied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    after = translate([*others, from_body(emptied)] if data is not None else others, Options())
    assert _told(after, "BackendTLSPolicy", "uri") == {
        "Accepted": ("False", "NoValidCACertificate"),
        "ResolvedRefs": ("False", "InvalidCACertificateRef"),
    }
    assert _backends(after, "apps/sections/8")[0].backend is None


# --- Policies of an AgentgatewayBackend that are not supported yet ---------------------------------------------------


def _with_policies(policies: dict[str, Any]) -> Translation:
    def changed(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "spec": {**body["spec"], "policies": policies}}

    return _changed(_family("agentgateway"), "AgentgatewayBackend", "default", changed)


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        ({"ai": {"promptGuard": {"request": []}}}, "ai.promptGuard"),
        ({"ai": {"prompt": {"prepend": []}}}, "ai.prompt"),
        ({"ai": {"overrides": []}}, "ai.overrides"),
        ({"ai": {"guardrails": {}}}, "ai.guardrails"),
        ({"auth": {"gcp": {}}}, "auth.gcp"),
        ({"auth": {"jwtSign": {}}}, "auth.jwtSign"),
        ({"auth": {"kerberos": {}}}, "auth.kerberos"),
        ({"authorization": {}}, "authorization"),
        ({"extAuth": {}}, "extAuth"),
        ({"mcp": {"authorization": {}}}, "mcp"),
        ({"transformation": {}}, "transformation"),
        ({"tunnel": {}}, "tunnel"),
        ({"tls": {"certificateSource": "Spiffe"}}, "tls.certificateSource"),
    ],
)
def test_what_protects_fails_closed(policies: dict[str, Any], field: str) -> None:
    """A policy that guards, or that nobody here knows, is not passed over: the backend answers 500 and names it."""
    made = _with_policies(policies)
    (accepted,) = _conditions(_status(made, "AgentgatewayBackend", "default"))
    assert (accepted["type"], accepted["status"]) == ("Accepted", "False")
    assert f"spec.policies.{field}" in accepted["message"]
    assert _backends(made, "apps/all/1")[0].backend is None


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        ({"http": {"requestTimeout": "3s"}}, "http"),
        ({"tcp": {}}, "tcp"),
        ({"health": {}}, "health"),
        ({"ai": {"promptCaching": {}}}, "ai.promptCaching"),
        ({"ai": {"modelAliases": {}}}, "ai.modelAliases"),
    ],
)
def test_what_tunes_is_told(policies: dict[str, Any], field: str) -> None:
    """A policy that only tunes is told as having no effect, and the backend serves."""
    made = _with_policies(policies)
    assert _told(made, "AgentgatewayBackend", "default")["Accepted"] == ("True", "Accepted")
    assert _backends(made, "apps/all/1")[0].backend is not None
    assert [each.what for each in made.problems if field in each.what] == [
        f"spec.policies.{field}: not supported yet, and has no effect"
    ]
