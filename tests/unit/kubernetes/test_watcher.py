"""What is kept of objects that a cluster has for others, without a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from torana.config.kubernetes.api import Api, ApiError, Event, Page, Resource
from torana.config.kubernetes.kinds import WATCHED
from torana.config.kubernetes.watcher import Change, Name, Watcher


class _Cluster:
    """One ConfigMap, which was listed, and then changes; the watch ends with the test's own refusal."""

    def __init__(self, listed: dict[str, Any], *changed: dict[str, Any]) -> None:
        self._listed = listed
        self._changed = changed

    async def list(self, _: Resource) -> Page:
        return Page([self._listed], "1")

    @asynccontextmanager
    async def watch(self, _: Resource, __: str) -> AsyncIterator[AsyncIterator[Event]]:
        yield self._events()
        raise ApiError(0, "the end of the test")

    async def _events(self) -> AsyncIterator[Event]:
        for body in self._changed:
            yield Event("MODIFIED", body)


def _config_map(number: int, authority: str = "pem") -> dict[str, Any]:
    metadata = {
        "name": "one",
        "namespace": "a",
        "resourceVersion": str(number),
        "annotations": {"control-plane.alpha.kubernetes.io/leader": str(number)},
        "managedFields": [{"time": str(number)}],
    }
    data = {"ca.crt": authority, "large": "x" * number}
    return {"metadata": metadata, "data": data, "binaryData": {"b": "eA=="}}


async def _followed(*changed: dict[str, Any]) -> tuple[Watcher, list[Change]]:
    kind = next(watched for watched in WATCHED if watched.kind == "ConfigMap")
    changes: list[Change] = []
    watcher = Watcher(cast("Api", _Cluster(_config_map(1), *changed)), kind, changes.append)
    await watcher._list()
    changes.clear()
    watcher.listed = True
    with suppress(ApiError):
        await watcher._watch()
    return watcher, changes


async def test_what_nobody_reads_is_let_go() -> None:
    """Of a ConfigMap the CA certificates are kept, and a change of anything else is none."""
    watcher, changes = await _followed(_config_map(2), _config_map(3))
    assert changes == []
    kept = watcher.objects[Name("a", "one")]
    assert kept.version == "3"
    assert kept.object.body["data"] == {"ca.crt": "pem"}
    assert kept.object.body.keys() == {"apiVersion", "kind", "metadata", "data"}
    assert kept.object.metadata.keys() == {"name", "namespace"}


async def test_what_is_read_is_a_change() -> None:
    """Other CA certificates are a change."""
    _, changes = await _followed(_config_map(2, "other"))
    assert changes == [Change.SPEC]
