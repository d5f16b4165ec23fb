"""The kinds that cluster mode watches: those that `translate` reads, and the names they have in URLs."""

from __future__ import annotations

from typing import NamedTuple

from torana.config.kubernetes.api import Resource
from torana.config.kubernetes.contents import AUTHORITIES_KEY

_GATEWAY_API = "gateway.networking.k8s.io"
# Of no use to a gateway, and often the most and the largest Secrets of a cluster.
_NOT_OURS = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"


class Watched(NamedTuple):
    """A kind as the resource of each version that is read, the preferred one first; the first served one is used.

    `needed`: without it there is nothing to serve, so that a gateway that may not read it must not call itself ready.
    `keys`: those of `data` that are read; None is all.
    """

    versions: tuple[Resource, ...]
    needed: bool = False
    keys: frozenset[str] | None = None

    @property
    def kind(self) -> str:
        return self.versions[0].kind

    @property
    def group(self) -> str:
        return self.versions[0].group


def _watched(group: str, versions: tuple[str, ...], kind: str, plural: str, *, needed: bool = False) -> Watched:
    return Watched(tuple(Resource(group, version, kind, plural) for version in versions), needed)


WATCHED: tuple[Watched, ...] = (
    Watched((Resource("", "v1", "Secret", "secrets", fields=_NOT_OURS),)),
    # A cluster has many, large ones and some that change every two seconds, and hardly any with a CA certificate.
    Watched((Resource("", "v1", "ConfigMap", "configmaps"),), keys=frozenset({AUTHORITIES_KEY})),
    Watched((Resource("", "v1", "Namespace", "namespaces", namespaced=False),)),
    _watched("", ("v1",), "Service", "services"),
    _watched("discovery.k8s.io", ("v1",), "EndpointSlice", "endpointslices"),
    Watched((Resource(_GATEWAY_API, "v1", "GatewayClass", "gatewayclasses", namespaced=False),), needed=True),
    _watched(_GATEWAY_API, ("v1",), "Gateway", "gateways", needed=True),
    _watched(_GATEWAY_API, ("v1",), "HTTPRoute", "httproutes", needed=True),
    _watched(_GATEWAY_API, ("v1", "v1beta1"), "ReferenceGrant", "referencegrants"),
    _watched(_GATEWAY_API, ("v1", "v1alpha3"), "BackendTLSPolicy", "backendtlspolicies"),
    _watched("gateway.kgateway.dev", ("v1alpha1",), "Backend", "backends"),
    _watched("agentgateway.dev", ("v1alpha1",), "AgentgatewayBackend", "agentgatewaybackends"),
)

LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases")
