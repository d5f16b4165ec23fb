"""Gateways, routes and grants of a running gateway that come, change and go, one after the other, with real kubectl."""

from __future__ import annotations

from typing import Any

from tests.cluster.bed import Bed
from tests.cluster.space import GATEWAY, POLICY, SECURE, SECURE_REF, SERVICE, SLICE, Space, endpoint
from tests.cluster.waits import until
from tests.ports import free_port


def test_grant(space: Space, bed: Bed) -> None:
    """Without its ReferenceGrant the share of a reference is 500 and the status says so; given back, it is served."""
    other = f"{space.name}-other"
    bed.kubectl("create", "namespace", other)
    grant = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: grant, namespace: {other}}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {space.name}}}]
  to: [{{group: "", kind: Service}}]
"""
    bed.apply(SERVICE % ("near", space.name, "") + "---" + SLICE % ("near", space.name, "near", endpoint(1)))
    bed.apply(SERVICE % ("far", other, "") + "---" + SLICE % ("far", other, "far", endpoint(2)))
    bed.apply(grant)
    space.route(f"{{name: near, port: 80}}, {{name: far, namespace: {other}, port: 80}}")
    space.until_served_by(1, 2)
    bed.kubectl("delete", "referencegrant", "grant", "-n", other)
    told = space.until_condition("httproute", "route", "parents", "ResolvedRefs", "RefNotPermitted")
    assert "ReferenceGrant" in told["message"]
    statuses = [answer.status for _ in range(40) if (answer := space.post()) is not None]
    assert set(statuses) == {200, 500}
    bed.apply(grant)
    space.until_condition("httproute", "route", "parents", "ResolvedRefs", "ResolvedRefs")
    space.until_served_by(1, 2)


def test_modified_listeners(space: Space) -> None:
    """A listener that is added to a Gateway serves, and one that is taken away closes its port; the other goes on."""
    space.bed.apply(SERVICE % ("svc", space.name, "") + "---" + SLICE % ("one", space.name, "svc", endpoint(1)))
    space.route("{name: svc, port: 80}")
    space.until_status(200)
    first = {"name": "http", "port": space.port, "protocol": "HTTP"}
    port = free_port()
    second = {"name": "second", "port": port, "protocol": "HTTP"}

    def told() -> list[tuple[str, int]]:
        listeners = space.bed.read("gateway", "main", space.name)["status"]["listeners"]
        return [(each["name"], each["attachedRoutes"]) for each in listeners]

    space.patch("gateway", "main", {"spec": {"listeners": [first, second]}})
    space.until_status(200, port)
    until(lambda: told() == [("http", 1), ("second", 1)], "both listeners to be told")
    space.patch("gateway", "main", {"spec": {"listeners": [second]}})
    space.until_status(None)
    space.until_status(200, port)
    until(lambda: told() == [("second", 1)], "one listener to be told")


def test_two_gateways(space: Space) -> None:
    """One route is served by each Gateway it names, with a status for each; then by the one it still names."""
    port = free_port()
    space.bed.apply(GATEWAY % ("twin", space.name, port))
    space.bed.apply(SERVICE % ("svc", space.name, "") + "---" + SLICE % ("one", space.name, "svc", endpoint(1)))
    space.route("{name: svc, port: 80}", parents="{name: main}, {name: twin}")
    space.until_status(200)
    space.until_status(200, port)

    def parents() -> list[str]:
        status = space.bed.read("httproute", "route", space.name).get("status", {})
        return [entry["parentRef"]["name"] for entry in status.get("parents", [])]

    until(lambda: parents() == ["main", "twin"], "an entry for each Gateway")
    space.route("{name: svc, port: 80}", parents="{name: twin}")
    space.until_status(404)
    space.until_status(200, port)
    until(lambda: parents() == ["twin"], "the entry of the former Gateway to go")


def test_deleted(space: Space) -> None:
    """A deleted route is 404; the port of a deleted Gateway is closed."""
    space.bed.apply(SERVICE % ("svc", space.name, "") + "---" + SLICE % ("one", space.name, "svc", endpoint(1)))
    space.route("{name: svc, port: 80}")
    space.until_status(200)
    space.delete("httproute", "route")
    space.until_status(404)
    space.delete("gateway", "main")
    space.until_status(None)


def test_observed_generation(space: Space) -> None:
    """After a change of its spec every condition of an object is of the new generation."""
    space.config_map(space.cast.authority)
    space.bed.apply(SECURE % space.name + "---" + POLICY % ("v1", space.name))
    space.route(SECURE_REF)
    space.until_status(200)
    changes: dict[tuple[str, str], Any] = {
        ("gatewayclass", "shared"): {"description": f"of {space.name}"},
        ("gateway", "main"): {"listeners": [{"name": "renamed", "port": space.port, "protocol": "HTTP"}]},
        ("httproute", "route"): {"hostnames": ["localhost", "127.0.0.1.example"]},
        ("backendtlspolicy", "tls"): {"options": {"example.com/key": "value"}},
    }
    for (kind, name), spec in changes.items():
        before = space.bed.read(kind, name, space.name)["metadata"]["generation"]
        space.patch(kind, name, {"spec": spec})

        def is_observed(kind: str = kind, name: str = name, before: int = before) -> bool:
            found = space.bed.read(kind, name, space.name)
            told = _generations(found.get("status", {}))
            assert found["metadata"]["generation"] == before + 1
            return bool(told) and told == {before + 1}

        until(is_observed, f"the new generation of {kind} to be observed")


def _generations(status: Any) -> set[int]:
    match status:
        case dict():
            own = {status["observedGeneration"]} if "observedGeneration" in status else set()
            return own.union(*map(_generations, status.values()))
        case list():
            return set().union(*map(_generations, status))
        case _:
            return set()
