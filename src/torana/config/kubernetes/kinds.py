"""The kinds that cluster mode watches: those that `translate` reads, and the names they have in URLs."""

from __future__ import annotations

from typing import NamedTuple

from torana.config.kubernetes.api import Resource
from torana.config.kubernetes.contents import AUTHORITIES_KEY

_GATEWAY_API = "gateway.networking.k8s.io"
_LARGE_ONES = 100  # objects a page, of kinds whose objects may have a mebibyte each
_NOT_OURS = ",".join(
    f"type!={name}"
    for name in (
        "bootstrap.kubernetes.io/token",
        "helm.sh/release.v1",
        "kubernetes.io/dockercfg",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/service-account-token",
    )
)
"""Of no use to a gateway, and often the most and the largest Secrets of a cluster: they never come into its memory."""


class Watched(NamedTuple):
    """A kind as the resource of each version that is read, the preferred one first; the first served one is used.

    `needed`: without it there is nothing to serve, so that a gateway that may not read it must not call itself ready.
    `told`: statuses of ours are written, for which an object that others write too is read anew.
    `keys`: those of `data` that are read; None is all, of which those that can be no token are let go.
    """

    versions: tuple[Resource, ...]
    needed: bool = False
    told: bool = False
    keys: frozenset[str] | None = None

    @property
    def verbs(self) -> tuple[str, ...]:
        """What has to be granted to read it."""
        return ("get", "list", "watch") if self.told else ("list", "watch")

    @property
    def kind(self) -> str:
        return self.versions[0].kind

    @property
    def group(self) -> str:
        return self.versions[0].group


def _watched(
    group: str, versions: tuple[str, ...], kind: str, plural: str, *, needed: bool = False, told: bool = False
) -> Watched:
    return Watched(tuple(Resource(group, version, kind, plural) for version in versions), needed, told)


WATCHED: tuple[Watched, ...] = (
    Watched((Resource("", "v1", "Secret", "secrets", fields=_NOT_OURS, page=_LARGE_ONES),)),
    # A cluster has many, large ones and some that change every two seconds, and hardly any with a CA certificate.
    Watched((Resource("", "v1", "ConfigMap", "configmaps", page=_LARGE_ONES),), keys=frozenset({AUTHORITIES_KEY})),
    Watched((Resource("", "v1", "Namespace", "namespaces", namespaced=False),)),
    _watched("", ("v1",), "Service", "services"),
    _watched("discovery.k8s.io", ("v1",), "EndpointSlice", "endpointslices"),
    Watched(
        (Resource(_GATEWAY_API, "v1", "GatewayClass", "gatewayclasses", namespaced=False),), needed=True, told=True
    ),
    _watched(_GATEWAY_API, ("v1",), "Gateway", "gateways", needed=True, told=True),
    _watched(_GATEWAY_API, ("v1",), "HTTPRoute", "httproutes", needed=True, told=True),
    _watched(_GATEWAY_API, ("v1", "v1beta1"), "ReferenceGrant", "referencegrants"),
    _watched(_GATEWAY_API, ("v1", "v1alpha3"), "BackendTLSPolicy", "backendtlspolicies", told=True),
    _watched("gateway.kgateway.dev", ("v1alpha1",), "Backend", "backends", told=True),
    _watched("agentgateway.dev", ("v1alpha1",), "AgentgatewayBackend", "agentgatewaybackends", told=True),
)

LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases")
