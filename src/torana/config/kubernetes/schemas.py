"""The kinds that are known, by group and kind, with the OpenAPI v3 schema of each: read from the files under `crds`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import msgspec
import yaml

Schema: TypeAlias = dict[str, Any]

GATEWAY_API = "gateway.networking.k8s.io"
CRDS = ("backends.gateway.kgateway.dev.yaml", "agentgatewaybackends.agentgateway.dev.yaml")
"""What a cluster has to be given besides the Gateway API; file names under `crds`."""

_CLUSTER_KINDS = frozenset({"Namespace"})
_CORE_GROUPS = {"EndpointSlice": "discovery.k8s.io"}


class KnownKind(msgspec.Struct, frozen=True):
    """`schema` is of the whole object, without `apiVersion`, `kind`, `metadata` and `status`."""

    group: str
    kind: str
    namespaced: bool
    versions: tuple[str, ...]
    schema: Schema


def known(group: str, kind: str) -> KnownKind | None:
    return _catalogue().get((group, kind))


def is_ours(group: str) -> bool:
    """Whether kinds of this group are read here, so that one that is not is worth a word of its own."""
    return bool(group) and any(group == known_group for known_group, _ in _catalogue())


def metadata_schema() -> Schema:
    return _core()["metadata"]  # type: ignore[no-any-return]


def crd_text(name: str) -> str:
    """One of CRDS, as it is applied to a cluster."""
    return (files(__package__) / "crds" / name).read_text(encoding="utf-8")


def install_text() -> str:
    """All that a cluster is given, the Gateway API aside: the CRDs, and the gateway itself."""
    return "---\n".join(crd_text(name) for name in (*CRDS, "torana.yaml"))


@cache
def _catalogue() -> dict[tuple[str, str], KnownKind]:
    return {(kind.group, kind.kind): kind for kinds in (_core_kinds(), _gateway_api(), _ours()) for kind in kinds}


@cache
def _core() -> Any:
    return yaml.safe_load(crd_text("core.yaml"))


def _core_kinds() -> Iterator[KnownKind]:
    for kind, schema in _core()["kinds"].items():
        yield KnownKind(_CORE_GROUPS.get(kind, ""), kind, kind not in _CLUSTER_KINDS, ("v1",), _own_part(schema))


def _gateway_api() -> Iterator[KnownKind]:
    for kind, entry in msgspec.json.decode(crd_text("gateway-api.json"))["kinds"].items():
        namespaced = entry["scope"] == "Namespaced"
        yield KnownKind(GATEWAY_API, kind, namespaced, tuple(entry["versions"]), _own_part(entry["schema"]))


def _ours() -> Iterator[KnownKind]:
    for name in CRDS:
        spec = yaml.safe_load(crd_text(name))["spec"]
        versions = tuple(version["name"] for version in spec["versions"])
        schema = _own_part(spec["versions"][0]["schema"]["openAPIV3Schema"])
        yield KnownKind(spec["group"], spec["names"]["kind"], spec["scope"] == "Namespaced", versions, schema)


def _own_part(schema: Schema) -> Schema:
    shared = ("apiVersion", "kind", "metadata", "status")
    properties = {name: part for name, part in schema.get("properties", {}).items() if name not in shared}
    required = [name for name in schema.get("required", ()) if name not in shared]
    return {**schema, "properties": properties, "required": required}
