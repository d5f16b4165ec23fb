"""What routes lead to, in a running gateway, one thing after the other, with real kubectl: Services and Backends."""

from __future__ import annotations

import json

import pytest
import trustme

from tests.cluster.bed import Bed
from tests.cluster.conftest import CRDS
from tests.cluster.space import BODY, HOST, POLICY, SECURE, SECURE_REF, SERVICE, SLICE, Space, endpoint
from tests.cluster.waits import until

# Services


@pytest.mark.parametrize("kind", ["", "clusterIP: None,"], ids=["cluster IP", "headless"])
def test_service(space: Space, kind: str) -> None:
    """Requests go to the ready endpoints of all slices of a Service, and follow them; without any it is 503."""
    space.bed.apply(SERVICE % ("svc", space.name, kind))
    space.route("{name: svc, port: 80}")
    space.until_status(503)
    space.bed.apply(SLICE % ("one", space.name, "svc", f"{endpoint(1)}, {endpoint(2, ready=False)}"))
    space.until_served_by(1)
    space.bed.apply(SLICE % ("two", space.name, "svc", endpoint(3)))
    space.until_served_by(1, 3)
    space.bed.apply(SLICE % ("one", space.name, "svc", endpoint(2)))
    space.until_served_by(2, 3)
    space.bed.apply(SLICE % ("foreign", space.name, "another", endpoint(1)))
    space.delete("endpointslice", "two")
    space.until_served_by(2)


# AgentgatewayBackends


def test_agentgateway_backend(space: Space) -> None:
    """An AI backend with a key of a Secret and TLS by its own policies is reached with key, SNI, path and model."""
    space.config_map(space.cast.authority)
    space.bed.apply(f"""
apiVersion: v1
kind: Secret
metadata: {{name: key, namespace: {space.name}}}
stringData: {{Authorization: sk-of-the-secret}}
---
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {{name: ai, namespace: {space.name}}}
spec:
  ai: {{provider: {{openai: {{model: m-of-the-backend}}, host: {HOST}, port: 443, path: /openai/v1/chat/completions}}}}
  policies:
    auth: {{secretRef: {{name: key}}}}
    tls: {{caCertificateRefs: [{{name: ca}}]}}
""")
    space.route("{group: agentgateway.dev, kind: AgentgatewayBackend, name: ai}")
    space.bed.wait_for("condition=Accepted", "agentgatewaybackend/ai", space.name)
    space.cast.secure.forget()
    space.until_status(200)
    seen = space.cast.secure.seen[-1]
    assert seen.line == "POST /openai/v1/chat/completions HTTP/1.1"
    assert seen.sni == seen["host"] == HOST
    assert seen["authorization"] == "Bearer sk-of-the-secret"
    assert seen.json()["model"] == "m-of-the-backend"


def test_static_backend(space: Space) -> None:
    """A static backend is a place alone: its body and path are the client's."""
    space.bed.apply(SECURE.replace(f"{HOST}, port: 443", "10.9.0.1, port: 8080") % space.name)
    space.route(SECURE_REF)
    space.cast.plain[0].forget()
    space.until_status(200)
    seen = space.cast.plain[0].seen[-1]
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen.json() == BODY


def test_unreadable(space: Space) -> None:
    """An object from before a rule of our CRD, which cannot be read, is not Accepted and says why."""
    crd = "backends.gateway.kgateway.dev"
    old = json.loads(space.bed.kubectl("get", "crd", crd, "-o", "json"))
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [version | {"schema": {"openAPIV3Schema": anything}} for version in old["spec"]["versions"]]
    space.bed.kubectl("patch", "crd", crd, "--type=merge", "-p", json.dumps({"spec": {"versions": versions}}))
    broken = f"""
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: old, namespace: {space.name}}}
spec: {{type: Static, static: {{hosts: [{{host: 10.9.0.1, port: many}}]}}}}
"""
    try:
        until(lambda: _applied(space.bed, broken), "the laxer CRD to be in effect")
    finally:
        space.bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(next(CRDS.glob(f"{crd}.yaml"))))
    space.route("{group: gateway.kgateway.dev, kind: Backend, name: old}")
    space.until_status(500)
    space.bed.wait_for("condition=Accepted=false", f"{crd}/old", space.name)
    (condition,) = space.bed.read(crd, "old", space.name)["status"]["conditions"]
    assert condition["reason"] == "Invalid"
    assert "port: expected int, got str" in condition["message"]


def _served(bed: Bed) -> bool:
    """Whether kubectl, which keeps for long what it finds out of kinds, takes v1 for that of BackendTLSPolicies."""
    lines = bed.kubectl("api-resources", "--api-group=gateway.networking.k8s.io", "--no-headers").splitlines()
    return any(line.startswith("backendtlspolicies") and "gateway.networking.k8s.io/v1 " in line for line in lines)


def _applied(bed: Bed, manifest: str) -> bool:
    try:
        bed.apply(manifest)
    except AssertionError:
        return False
    return True


# TLS


def test_replaced_authority(space: Space) -> None:
    """The CA of a policy's ConfigMap counts as it is now: a wrong one ends the traffic, the right one begins it."""
    other = trustme.CA().cert_pem.bytes().decode()
    space.config_map(other)
    space.bed.apply(SECURE % space.name + "---" + POLICY % ("v1", space.name))
    space.route(SECURE_REF)
    space.until_condition("backendtlspolicy", "tls", "ancestors", "Accepted", "Accepted")
    space.until_status(503)
    space.config_map(space.cast.authority)
    space.until_status(200)
    space.config_map(other)
    space.until_status(503)
    space.config_map("no certificate")
    space.until_condition("backendtlspolicy", "tls", "ancestors", "ResolvedRefs", "InvalidCACertificateRef")
    space.until_status(500)


def test_older_policies(space: Space) -> None:
    """Where BackendTLSPolicy is served as v1alpha3 alone it works as v1 does, from one moment to the next and back."""
    crd = space.bed.tools.gateway_crds / "gateway.networking.k8s.io_backendtlspolicies.yaml"
    older = json.loads(space.bed.kubectl("get", "crd", "backendtlspolicies.gateway.networking.k8s.io", "-o", "json"))
    served = [{**version, "served": version["name"] == "v1alpha3"} for version in older["spec"]["versions"]]
    patch = json.dumps({"spec": {"versions": served}})
    name = "backendtlspolicies.v1alpha3.gateway.networking.k8s.io"
    space.config_map(space.cast.authority)
    space.bed.apply(SECURE % space.name)
    space.route(SECURE_REF)
    space.bed.kubectl("patch", "crd", older["metadata"]["name"], "--type=merge", "-p", patch)
    try:
        until(lambda: _applied(space.bed, POLICY % ("v1alpha3", space.name)), "v1alpha3 to be served")
        space.until_status(200)
        space.until_condition(name, "tls", "ancestors", "Accepted", "Accepted")
    finally:
        space.bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd))
        until(lambda: _served(space.bed), "v1 to be served")
    space.cast.secure.forget()
    space.until_status(200)
    assert space.cast.secure.seen[-1].tls
