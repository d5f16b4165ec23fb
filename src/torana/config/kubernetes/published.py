"""Published: the Service by which a gateway is reached, whose addresses are those of its Gateways."""

from __future__ import annotations

from typing import Any

_MOST = 16  # Gateway API, GatewayStatus.addresses


def addresses_of(spec: dict[str, Any], status: dict[str, Any]) -> tuple[str, ...]:
    """IP addresses and host names: those of its load balancer, else its external ones, else the cluster's own."""
    balancer = status.get("loadBalancer") or {}
    ingress = [each.get("ip") or each.get("hostname") for each in balancer.get("ingress") or ()]
    inner = spec.get("clusterIPs") or [spec.get("clusterIP")]
    for candidates in (ingress, spec.get("externalIPs") or (), inner):
        found = tuple(dict.fromkeys(each for each in candidates if each and each != "None"))  # None: a headless one
        if found:
            return found[:_MOST]
    return ()
