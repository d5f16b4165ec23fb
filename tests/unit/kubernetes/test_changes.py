"""What a change of the objects changes: each test translates before and after it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubernetes.families import backends, changed, conditions, family, status, told
from tests.unit.kubernetes.manifests import from_body
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.translate import translate


@pytest.mark.parametrize(
    ("objects_of", "kind", "name"),
    [
        ("gateways", "GatewayClass", "torana"),
        ("gateways", "Gateway", "main"),
        ("gateways", "HTTPRoute", "older"),
        ("tls-policies", "BackendTLSPolicy", "half"),
        ("backends", "Backend", "default"),
        ("agentgateway", "AgentgatewayBackend", "page"),
    ],
)
def test_generation_is_observed(objects_of: str, kind: str, name: str) -> None:
    """When an object changes, each of its conditions has the new generation, and nothing else differs."""

    def bumped(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "metadata": {**body["metadata"], "generation": 42}}

    objs = family(objects_of)
    before, after = translate(objs, Options()), changed(objs, kind, name, bumped)
    assert {each["observedGeneration"] for each in conditions(status(after, kind, name))} == {42}
    assert [each for each in before.statuses if (each.kind, each.name) != (kind, name)] == [
        each for each in after.statuses if (each.kind, each.name) != (kind, name)
    ]
    assert after.config == before.config


def test_a_grant_is_taken_away() -> None:
    """A reference into another namespace leads there while there is a ReferenceGrant, and answers 500 without it."""
    objs = family("references")
    granted = translate(objs, Options())
    assert told(granted, "HTTPRoute", "granted")["ResolvedRefs"] == ("True", "ResolvedRefs")
    assert backends(granted, "apps/granted/0")[0].groups
    revoked = translate([each for each in objs if (each.kind, each.name) != ("ReferenceGrant", "allow")], Options())
    assert told(revoked, "HTTPRoute", "granted")["ResolvedRefs"] == ("False", "RefNotPermitted")
    assert told(revoked, "HTTPRoute", "granted")["Accepted"] == ("True", "Accepted")
    assert not backends(revoked, "apps/granted/0")[0].groups


@pytest.mark.parametrize("data", [None, {}, {"ca.crt": ""}], ids=["no-configmap", "no-key", "empty"])
def test_a_ca_goes(data: dict[str, str] | None) -> None:
    """A policy whose only ConfigMap loses its certificate is not accepted, and its backend is not reached at all."""
    objs = family("tls-policies")
    before = translate(objs, Options())
    assert told(before, "BackendTLSPolicy", "uri") == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
    }
    assert backends(before, "apps/sections/8")[0].groups
    others = [each for each in objs if (each.kind, each.name) != ("ConfigMap", "ca")]
    metadata = {"name": "ca", "namespace": "apps"}
    emptied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    after = translate([*others, from_body(emptied)] if data is not None else others, Options())
    assert told(after, "BackendTLSPolicy", "uri") == {
        "Accepted": ("False", "NoValidCACertificate"),
        "ResolvedRefs": ("False", "InvalidCACertificateRef"),
    }
    assert not backends(after, "apps/sections/8")[0].groups
