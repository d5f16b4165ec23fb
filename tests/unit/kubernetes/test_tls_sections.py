"""BackendTLSPolicies for a part of their target, by sectionName."""

from __future__ import annotations

import pytest

from tests.unit.kubernetes.families import status
from tests.unit.kubernetes.manifests import objects
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.translate import translate

_KGATEWAY = "{group: gateway.kgateway.dev, kind: Backend, name: target%s}"
_AGENTGATEWAY = "{group: agentgateway.dev, kind: AgentgatewayBackend, name: target%s}"
_OPENAI = "openai: {authToken: {kind: Passthrough}}, host: a.example, port: 8443"
_BACKEND = """
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {name: target}
spec: {%s}
"""
_AGENTGATEWAY_BACKEND = """
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {name: target}
spec: {%s}
"""
_LLM = _BACKEND % f"type: AI, ai: {{llm: {{{_OPENAI}}}}}"
_GROUPS = _BACKEND % f"type: AI, ai: {{priorityGroups: [{{providers: [{{name: one, {_OPENAI}}}]}}]}}"
_STATIC = _BACKEND % "type: Static, static: {hosts: [{host: a.example, port: 8443}]}"
_LONE = _AGENTGATEWAY_BACKEND % "ai: {provider: {openai: {}, host: a.example, port: 8443}}"
_OTHER_GROUPS = (
    _AGENTGATEWAY_BACKEND % "ai: {groups: [{providers: [{name: one, openai: {}, host: a.example, port: 8443}]}]}"
)
_AROUND = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route}
spec: {parentRefs: [{name: main}], rules: [{backendRefs: [%s]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls}
spec: {targetRefs: [%s], validation: {hostname: a.example, wellKnownCACertificates: System}}
"""


@pytest.mark.parametrize(
    ("backend", "ref", "section", "is_there"),
    [
        (_LLM, _KGATEWAY, "backend", True),
        (_LLM, _KGATEWAY, "openai", False),
        (_GROUPS, _KGATEWAY, "one", True),
        (_GROUPS, _KGATEWAY, "onne", False),
        (_STATIC, _KGATEWAY, "backend", False),
        (_OTHER_GROUPS, _AGENTGATEWAY, "one", True),
        (_OTHER_GROUPS, _AGENTGATEWAY, "two", False),
        (_LONE, _AGENTGATEWAY, "openai", False),
    ],
)
def test_a_section_that_nothing_has(backend: str, ref: str, section: str, is_there: bool) -> None:
    """A policy for a provider that its target has not is TargetNotFound: the target is not secured by it."""
    policy_ref = ref % f", sectionName: {section}"
    made = translate(objects(backend + _AROUND % (ref % "", policy_ref)), Options(implicit_gateway=8080))
    (entry,) = status(made, "BackendTLSPolicy", "tls")["ancestors"]
    accepted = entry["conditions"][0]
    (secured,) = made.config.binds[0].listeners[0].routes[0].backends[0].backends
    assert (secured.tls is not None) == is_there
    if is_there:
        assert accepted["status"] == "True"
    else:
        assert (accepted["status"], accepted["reason"]) == ("False", "TargetNotFound")
        assert accepted["message"].endswith(f'has no provider named "{section}"')
        assert any(accepted["message"] in problem.what for problem in made.problems)
