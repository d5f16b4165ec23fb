"""Which addresses of a Service are published."""

from __future__ import annotations

from typing import Any

import pytest

from torana.config.kubernetes.published import addresses_of

_INNER = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}


@pytest.mark.parametrize(
    ("spec", "ingress", "expected"),
    [
        (
            _INNER,
            [{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "lb.example.com"}],
            ("192.0.2.1", "lb.example.com"),
        ),
        ({**_INNER, "externalIPs": ["192.0.2.2"]}, [{"ip": "192.0.2.1"}], ("192.0.2.1",)),
        ({**_INNER, "externalIPs": ["192.0.2.2", "192.0.2.2"]}, [], ("192.0.2.2",)),
        (_INNER, None, ("10.0.0.1", "fd00::1")),
        ({"clusterIP": "10.0.0.1"}, [{}], ("10.0.0.1",)),
        ({"clusterIP": "None"}, None, ()),
        ({"type": "ExternalName", "externalName": "a.example.com"}, None, ()),
        ({}, [{"ip": f"192.0.2.{number}"} for number in range(20)], tuple(f"192.0.2.{number}" for number in range(16))),
    ],
)
def test_addresses_of(spec: dict[str, Any], ingress: list[dict[str, str]] | None, expected: tuple[str, ...]) -> None:
    """Those of the load balancer, else external ones, else the cluster's own; a status has room for sixteen."""
    status = {"loadBalancer": {"ingress": ingress}} if ingress is not None else {}
    assert addresses_of(spec, status) == expected
