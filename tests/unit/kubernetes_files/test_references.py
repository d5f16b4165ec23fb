"""References between manifests are held to the rules of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from torana.config.kubernetes.manifests import Manifests, Reading

GATEWAY = """apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway, namespace: infra}
spec:
  gatewayClassName: any
  listeners:
  - name: http
    port: 8080
    protocol: HTTP
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: chat}}}}
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {name: mistral, namespace: models}
spec:
  type: AI
  ai: {llm: {openai: {authToken: {kind: SecretRef, secretRef: {name: key}}}, host: api.mistral.ai, port: 8443}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat, namespace: apps}
spec:
  parentRefs: [{name: gateway, namespace: infra}]
  rules: [{backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: mistral, namespace: models}]}]
"""
NAMESPACE = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: apps, labels: {team: chat}}\n"
GRANT = """---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: grant, namespace: models}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: apps}]
  to: [{group: gateway.kgateway.dev, kind: Backend}]
"""


def secret(namespace: str) -> str:
    metadata = f"metadata: {{name: key, namespace: {namespace}}}"
    return f"---\napiVersion: v1\nkind: Secret\n{metadata}\nstringData: {{Authorization: sk-a}}\n"


def verdicts(text: str) -> dict[str, str]:
    """The reason of each condition, by kind and type."""
    found: dict[str, str] = {}
    for status in Manifests(Reading(paths=("-",), stdin=text)).examine().translation.statuses:
        parts: list[dict[str, Any]] = [status.status, *status.status.get("parents", ())]
        for part in parts:
            found |= {f"{status.kind} {each['type']}": each["reason"] for each in part.get("conditions", ())}
    return found


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (NAMESPACE + GRANT + secret("models"), "HTTPRoute Accepted", "Accepted"),
        (NAMESPACE + GRANT + secret("models"), "HTTPRoute ResolvedRefs", "ResolvedRefs"),
        (NAMESPACE + GRANT + secret("models"), "Backend Accepted", "Accepted"),
        (GRANT + secret("models"), "HTTPRoute Accepted", "NotAllowedByListeners"),
        (NAMESPACE + secret("models"), "HTTPRoute ResolvedRefs", "RefNotPermitted"),
        (NAMESPACE + GRANT + secret("apps"), "Backend Accepted", "Invalid"),
    ],
)
def test_references(text: str, kind: str, reason: str) -> None:
    """A Namespace's labels decide for allowedRoutes, a ReferenceGrant for what lies elsewhere, and Secrets are near."""
    assert verdicts(GATEWAY + text)[kind] == reason
