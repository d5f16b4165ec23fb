"""Who may refer to what in another namespace."""

from __future__ import annotations

import pytest

from tests.unit.kubernetes.manifests import objects
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.grants import Grants
from torana.config.kubernetes.objects import Key
from torana.config.kubernetes.store import Store

_GRANTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: one, namespace: shared}
spec:
  from:
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: apps}
  to:
  - {group: "", kind: Service}
  - {group: gateway.kgateway.dev, kind: Backend, name: open}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: two, namespace: shared}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}]
  to: [{group: "", kind: Secret}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: unreadable, namespace: shared}
spec: {from: everyone, to: [{group: "", kind: Secret}]}
"""


@pytest.mark.parametrize(
    ("kind", "namespace", "target", "permitted"),
    [
        ("HTTPRoute", "apps", Key("", "Service", "shared", "any"), True),
        ("HTTPRoute", "apps", Key("gateway.kgateway.dev", "Backend", "shared", "open"), True),
        ("HTTPRoute", "apps", Key("gateway.kgateway.dev", "Backend", "shared", "closed"), False),
        ("HTTPRoute", "other", Key("", "Service", "shared", "any"), False),
        ("HTTPRoute", "shared", Key("gateway.kgateway.dev", "Backend", "shared", "closed"), True),
        ("HTTPRoute", "apps", Key("", "Service", "elsewhere", "any"), False),
        ("HTTPRoute", "apps", Key("", "Secret", "shared", "any"), False),
        ("Gateway", "infra", Key("", "Secret", "shared", "any"), True),
        ("Gateway", "apps", Key("", "Service", "shared", "any"), False),
    ],
)
def test_permits(kind: str, namespace: str, target: Key, permitted: bool) -> None:
    """A grant stands in the target's namespace and names both sides; without a name it is for all of the kind."""
    grants = Grants(Store(objects(_GRANTS), Findings()))
    assert grants.permits(kind, namespace, target) is permitted
