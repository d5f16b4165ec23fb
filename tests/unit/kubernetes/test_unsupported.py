"""What is not supported yet: refused where passing it over would let more through, else told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.kubernetes.families import backends, changed, conditions, family, status, told
from tests.unit.kubernetes.manifests import from_body
from torana.config.kubernetes.objects import Options, Translation
from torana.config.kubernetes.translate import translate
from torana.config.problem import Severity


def _with_policies(policies: dict[str, Any]) -> Translation:
    def secured(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "spec": {**body["spec"], "policies": policies}}

    return changed(family("agentgateway"), "AgentgatewayBackend", "default", secured)


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
        ({"tls": {"certificateSource": "Spiffe"}}, "tls.certificateSource"),
    ],
)
def test_what_protects_fails_closed(policies: dict[str, Any], field: str) -> None:
    """A policy that guards, or that nobody here knows, is not passed over: the backend answers 500 and names it."""
    made = _with_policies(policies)
    (accepted,) = conditions(status(made, "AgentgatewayBackend", "default"))
    assert (accepted["type"], accepted["status"]) == ("Accepted", "False")
    assert f"spec.policies.{field}" in accepted["message"]
    assert not backends(made, "apps/all/1")[0].groups


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        ({"ai": {"promptCaching": {}}}, "ai.promptCaching"),
        ({"ai": {"modelAliases": {}}}, "ai.modelAliases"),
    ],
)
def test_what_tunes_is_told(policies: dict[str, Any], field: str) -> None:
    """A policy that only tunes is told as having no effect, and the backend serves."""
    made = _with_policies(policies)
    assert told(made, "AgentgatewayBackend", "default")["Accepted"] == ("True", "Accepted")
    assert backends(made, "apps/all/1")[0].groups
    assert [each.what for each in made.problems if field in each.what] == [
        f"spec.policies.{field}: not supported yet, and has no effect"
    ]


_PROVIDERS = {
    "gemini": {"authToken": {"kind": "Passthrough"}, "model": "m", "apiVersion": "v1beta"},
    "vertexai": {"authToken": {"kind": "Passthrough"}},
    "azureopenai": {"authToken": {"kind": "Passthrough"}, "endpoint": "e.example"},
    "bedrock": {},
}


@pytest.mark.parametrize("provider", _PROVIDERS)
def test_a_provider_that_is_not_spoken(provider: str) -> None:
    """A provider whose own API is not spoken is refused with a place where it offers OpenAI's, in both kinds."""

    def kgateway(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "spec": {"type": "AI", "ai": {"llm": {provider: _PROVIDERS[provider]}}}}

    def agentgateway(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "spec": {"ai": {"provider": {provider: {}}}}}

    for name, kind, change, field in (
        ("backends", "Backend", kgateway, "/chat/completions"),
        ("agentgateway", "AgentgatewayBackend", agentgateway, "pathPrefix /"),
    ):
        made = changed(family(name), kind, "default", change)
        (accepted,) = conditions(status(made, kind, "default"))
        assert accepted["status"] == "False"
        assert f"provider {provider} is not supported yet" in accepted["message"]
        assert "provider openai with host" in accepted["message"]
        assert field in accepted["message"]


_REFUSED: dict[str, list[dict[str, Any]]] = {
    "Backend": [
        {"type": "AI", "ai": {"llm": {"gemini": {"model": "m"}}}},
        {"type": "AWS", "aws": {"accountId": "1"}},
        {"type": "MCP", "mcp": {}},
    ],
    "AgentgatewayBackend": [
        {"ai": {"provider": {"bedrock": {}}}},
        {"ai": {"provider": {"custom": {"backendRef": {"name": "x"}}, "host": "a.example", "port": 80}}},
        {"a2a": {}},
    ],
}


@pytest.mark.parametrize(("kind", "spec"), [(kind, spec) for kind, specs in _REFUSED.items() for spec in specs])
def test_what_is_refused_is_told_once(kind: str, spec: dict[str, Any]) -> None:
    """Of what makes its object not accepted nothing says besides that it has no effect."""
    name = "backends" if kind == "Backend" else "agentgateway"
    made = changed(family(name), kind, "default", lambda body: {**body, "spec": spec})
    (problem,) = (each for each in made.problems if each.path == f"{kind} apps/default")
    assert problem.severity is Severity.ERROR
    assert told(made, kind, "default")["Accepted"][0] == "False"


@pytest.mark.parametrize(("protocol", "accepted"), [("HTTPS", "False"), ("HTTP", "True")])
def test_tls_of_a_gateway(protocol: str, accepted: str) -> None:
    """A Gateway's spec.tls stops its HTTPS listeners; where there are none it is told as having no effect."""
    listener = {"name": "a", "port": 443, "protocol": protocol}
    spec = {"gatewayClassName": "torana", "tls": {"frontend": {}}, "listeners": [listener]}
    body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g"}, "spec": spec}
    made = translate([from_body(body)], Options())
    assert told(made, "Gateway", "g")["Accepted"][0] == accepted
    (problem,) = made.problems
    assert ("has no effect" in problem.what) == (accepted == "True")


# --- Features --------------------------------------------------------------------------------------------------------


def test_features_are_in_order() -> None:
    """A GatewayClass's features are in alphabetical order, each once (Gateway API, GatewayClassStatus)."""
    features = status(translate(family("gateways"), Options()), "GatewayClass", "torana")["supportedFeatures"]
    names = [each["name"] for each in features]
    assert names == sorted(set(names))


# --- Filters of an HTTPRoute -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unsupported",
    [
        {"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Guard", "name": "x"}},
        {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP"}},
        {"type": "Guard", "guard": {}},
    ],
    ids=lambda each: each["type"],
)
@pytest.mark.parametrize("place", ["rule", "backendRef"])
def test_no_filter_is_passed_over(unsupported: dict[str, Any], place: str) -> None:
    """A rule with a filter that is not known answers 500, and the route's status names it; other rules serve."""

    def filtered(body: dict[str, Any]) -> dict[str, Any]:
        first, *others = body["spec"]["rules"]
        (ref,) = first["backendRefs"]
        if place == "rule":
            first = {**first, "filters": [unsupported]}
        else:
            first = {**first, "backendRefs": [{**ref, "filters": [unsupported]}]}
        return {**body, "spec": {**body["spec"], "rules": [first, *others]}}

    made = changed(family("agentgateway"), "HTTPRoute", "all", filtered)
    assert [ref.groups for ref in backends(made, "apps/all/0")] == [()]
    assert backends(made, "apps/all/1")[0].groups
    (partly,) = (each for each in conditions(status(made, "HTTPRoute", "all")) if each["type"] == "PartiallyInvalid")
    assert partly["status"] == "True"
    assert f"filter {unsupported['type']} is not supported yet" in partly["message"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ((), "cookies"),
        (("matches", 0), "cookies"),
        (("matches", 0, "path"), "caseSensitive"),
        (("matches", 0, "headers", 0), "invert"),
        (("filters", 0), "requestHeaderModifer"),
        (("filters", 0, "urlRewrite"), "query"),
        (("backendRefs", 0), "zone"),
    ],
    ids=str,
)
def test_unknown_fields_of_a_rule(path: tuple[str | int, ...], field: str) -> None:
    """A rule with a field that nobody here knows answers 500, and the route's status names it; other rules serve."""

    def strange(body: dict[str, Any]) -> dict[str, Any]:
        rules = json.loads(json.dumps(body["spec"]["rules"]))
        rules[0]["matches"] = [{"path": {"value": "/x"}, "headers": [{"name": "a", "value": "b"}]}]
        rules[0]["filters"] = [{"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}}]
        part = rules[0]
        for step in path:
            part = part[step]
        part[field] = []
        return {**body, "spec": {**body["spec"], "rules": rules}}

    made = changed(family("agentgateway"), "HTTPRoute", "all", strange)
    assert [ref.groups for ref in backends(made, "apps/all/0")] == [()]
    assert backends(made, "apps/all/1")[0].groups
    (partly,) = (each for each in conditions(status(made, "HTTPRoute", "all")) if each["type"] == "PartiallyInvalid")
    assert 'unknown field "spec.rules[0]' in partly["message"]
    assert f'.{field}"' in partly["message"]


@pytest.mark.parametrize("part", ["timeouts", "retry"])
def test_unknown_fields_that_tune(part: str) -> None:
    """Of what only tunes an unknown field is told, and the rule serves."""

    def tuned(body: dict[str, Any]) -> dict[str, Any]:
        first, *others = body["spec"]["rules"]
        return {**body, "spec": {**body["spec"], "rules": [{**first, part: {"idle": "1s"}}, *others]}}

    made = changed(family("agentgateway"), "HTTPRoute", "all", tuned)
    assert backends(made, "apps/all/0")[0].groups
    assert any(f"spec.rules[0].{part}" in each.what for each in made.problems)


def test_references_of_a_wrong_rule() -> None:
    """What is wrong with a rule's references is told even when its filters are wrong too."""

    def broken(body: dict[str, Any]) -> dict[str, Any]:
        (rule,) = body["spec"]["rules"]
        return {**body, "spec": {**body["spec"], "rules": [{**rule, "filters": [{"type": "Guard"}]}]}}

    made = changed(family("references"), "HTTPRoute", "no-service", broken)
    assert told(made, "HTTPRoute", "no-service") == {
        "Accepted": ("False", "UnsupportedValue"),
        "ResolvedRefs": ("False", "BackendNotFound"),
    }
