"""Store: all objects by key, the oldest first, read into records at the first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from torana.config.kubernetes.decode import decode
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.objects import Key, Object
from torana.config.kubernetes.resources.record import Record

GATEWAY_API: Final = "gateway.networking.k8s.io"
KGATEWAY: Final = "gateway.kgateway.dev"
AGENTGATEWAY: Final = "agentgateway.dev"
DISCOVERY: Final = "discovery.k8s.io"

VERSIONS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "Secret"): ("v1",),
    ("", "ConfigMap"): ("v1",),
    ("", "Namespace"): ("v1",),
    ("", "Service"): ("v1",),
    (DISCOVERY, "EndpointSlice"): ("v1",),
    (GATEWAY_API, "GatewayClass"): ("v1", "v1beta1"),
    (GATEWAY_API, "Gateway"): ("v1", "v1beta1"),
    (GATEWAY_API, "HTTPRoute"): ("v1", "v1beta1"),
    (GATEWAY_API, "ReferenceGrant"): ("v1", "v1beta1"),
    (GATEWAY_API, "BackendTLSPolicy"): ("v1", "v1alpha3"),
    (KGATEWAY, "Backend"): ("v1alpha1",),
    (AGENTGATEWAY, "AgentgatewayBackend"): ("v1alpha1",),
}
"""Every kind that is read, by group and kind, with its versions; the preferred one first."""

R = TypeVar("R", bound=Record)


class Store:
    """Of objects with one key the one of the preferred version counts, then the oldest.

    `unread` has the group and kind of those that may exist, for all that is known.
    """

    def __init__(
        self, objects: Iterable[Object], findings: Findings, unread: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self._findings = findings
        self._unread = unread
        self._by_key: dict[Key, Object] = {}
        self._by_kind: dict[tuple[str, str], list[Object]] = {}
        self._read: dict[Key, Record | str] = {}
        for obj in sorted(objects, key=_age):
            self._add(obj)

    def _add(self, obj: Object) -> None:
        kind = (obj.group, obj.kind)
        versions = VERSIONS.get(kind)
        if versions is None:
            return
        if obj.version not in versions:
            hint = f"use {obj.group}/{versions[0]}" if obj.group else f"use {versions[0]}"
            self._findings.error(obj, f'version "{obj.version}" is not known', hint)
            return
        if obj.key in self._by_key:
            self._findings.error(obj, "is given twice; the oldest counts", "remove one of the two")
            return
        self._by_key[obj.key] = obj
        self._by_kind.setdefault(kind, []).append(obj)

    def get(self, key: Key) -> Object | None:
        return self._by_key.get(key)

    def is_unread(self, group: str, kind: str) -> bool:
        return (group, kind) in self._unread

    def absence(self, key: Key) -> str:
        """Why `get` has none of this key, as the end of a sentence."""
        if self.is_unread(key.group, key.kind):
            return f"cannot be read: the API server does not let Torana list kind {key.kind}"
        return "not found"

    def all(self, group: str, kind: str) -> list[Object]:
        """The oldest first (Gateway API: the older object wins, then `namespace/name`)."""
        return self._by_kind.get((group, kind), [])

    def read(self, kind: type[R], obj: Object) -> R | None:
        """The object's `spec` as a record; None when it is none, which is reported once."""
        if obj.key not in self._read:
            self._read[obj.key] = decode(kind, obj, self._findings)
        record = self._read[obj.key]
        return record if isinstance(record, kind) else None

    def why(self, obj: Object) -> str:
        """What is wrong with an object that could not be read."""
        words = self._read.get(obj.key)
        return words if isinstance(words, str) else "the resource cannot be read"


def _age(obj: Object) -> tuple[object, ...]:
    """An object from a file has no age: what comes first in the file counts as older (where, line, column).

    The last members only make the order total, so that it never depends on the order in which objects came.
    """
    place = (obj.place.where, obj.place.line, obj.place.column) if obj.place and not obj.created else ("", 0, 0)
    versions = VERSIONS.get((obj.group, obj.kind), ())
    rank = versions.index(obj.version) if obj.version in versions else len(versions)
    name = f"{obj.namespace}/{obj.name}"
    return (obj.created, *place, name, obj.group, obj.kind, rank, obj.api_version, _text(obj))


def _text(obj: Object) -> bytes:
    try:
        return msgspec.json.encode(obj.body, order="deterministic")
    except (TypeError, ValueError, RecursionError):
        return repr(sorted(map(str, obj.body))).encode()
