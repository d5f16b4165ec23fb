"""Objects from YAML text, for tests: each with the place of its document."""

from __future__ import annotations

from typing import Any

import yaml

from torana.config.kubernetes.objects import Object, Place

_CLUSTER_SCOPED = frozenset(("GatewayClass", "Namespace"))


def objects(text: str, where: str = "test.yaml") -> list[Object]:
    made = []
    for node, body in zip(yaml.compose_all(text), yaml.safe_load_all(text), strict=True):
        if body is not None and node is not None:
            made.append(from_body(body, Place(where, node.start_mark.line + 1, node.start_mark.column + 1)))
    return made


def from_body(body: dict[str, Any], place: Place | None = None) -> Object:
    metadata = body["metadata"]
    namespace = "" if body["kind"] in _CLUSTER_SCOPED else metadata.get("namespace", "default")
    return Object(body["apiVersion"], body["kind"], namespace, metadata["name"], body, place)
