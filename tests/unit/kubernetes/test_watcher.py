"""What is kept of objects that a cluster has for others, without a cluster."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from weakref import ref

import pytest

from torana.config.kubernetes.api import Api, ApiError, Event, Page, Resource
from torana.config.kubernetes.conditions import Fault
from torana.config.kubernetes.contents import token
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.kinds import WATCHED
from torana.config.kubernetes.store import Store
from torana.config.kubernetes.watcher import _FIRST_PAUSE, Change, Name, Watcher
from torana.model.secret import Secret


class _Cluster:
    """One ConfigMap, which was listed, and then changes; the watch ends with the test's own refusal."""

    def __init__(self, listed: dict[str, Any], *changed: dict[str, Any]) -> None:
        self._listed = listed
        self._changed = changed

    async def pages(self, _: Resource) -> AsyncIterator[Page]:
        yield Page([self._listed], "1")

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
    changes: list[Change] = []
    watcher = _watcher("ConfigMap", _Cluster(_config_map(1), *changed), changes)
    await watcher._list()
    changes.clear()
    watcher.listed = True
    with suppress(ApiError):
        await watcher._watch()
    return watcher, changes


def _watcher(kind: str, cluster: _Cluster, changes: list[Change]) -> Watcher:
    return Watcher(cast("Api", cluster), next(each for each in WATCHED if each.kind == kind), changes.append)


async def test_what_nobody_reads_is_let_go() -> None:
    """Of a ConfigMap the CA certificates are kept, and a change of anything else is none."""
    watcher, changes = await _followed(_config_map(2), _config_map(3))
    assert changes == []
    kept = watcher.objects[Name("a", "one")]
    assert kept.version == "3"
    assert kept.object.body["data"] == {"ca.crt": "pem"}
    assert kept.object.body.keys() == {"apiVersion", "kind", "metadata", "data"}
    assert kept.object.metadata.keys() == {"name", "namespace"}


async def test_a_page_at_a_time() -> None:
    """Of a list no more is in memory than what is kept, and the pages that are just being read."""

    class Body(dict[str, Any]):
        """A dictionary that can be referred to weakly."""

    class Pages(_Cluster):
        async def pages(self, _: Resource) -> AsyncIterator[Page]:
            bodies: list[ref[Body]] = []
            for number in range(4):
                body = Body(metadata={"name": str(number), "namespace": "a"}, data={"large": "x"})
                bodies.append(ref(body))
                yield Page([body], str(number))
                alive.append(sum(each() is not None for each in bodies))

    alive: list[int] = []
    watcher = _watcher("ConfigMap", Pages({}), [])
    await watcher._list()
    assert sorted(name.name for name in watcher.objects) == ["0", "1", "2", "3"]
    assert max(alive) <= 2


async def test_what_is_read_is_a_change() -> None:
    """Other CA certificates are a change."""
    _, changes = await _followed(_config_map(2, "other"))
    assert changes == [Change.SPEC]


async def test_watches_that_end_at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A server that accepts a watch and then ends it with an error is asked ever less often, and told of once."""
    pauses: list[float] = []
    over = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            over.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", pause)
    watcher = _watcher("ConfigMap", _Cluster(_config_map(1)), [])
    task = asyncio.create_task(watcher.run())
    async with asyncio.timeout(5):
        await over.wait()
    task.cancel()
    assert [round(seconds / _FIRST_PAUSE, 6) for seconds in pauses] == [
        pytest.approx(0.75 * 2**number, rel=0.34) for number in range(1, 6)
    ]
    assert caplog.text.count("the end of the test") == 1


async def test_values_of_secrets_that_are_no_tokens() -> None:
    """A large value is not kept, and who refers to it is told so; certificates are kept whatever their size."""
    large = b64encode(b"x" * 70_000).decode()
    body = {
        "metadata": {"name": "one", "namespace": "a", "annotations": {"last-applied": large}},
        "data": {"dump": large, "Authorization": "c2s=", "tls.crt": large},
    }
    watcher = _watcher("Secret", _Cluster(body), [])
    await watcher._list()
    kept = watcher.objects[Name("a", "one")].object
    assert kept.body["data"].keys() == {"Authorization", "tls.crt"}
    assert kept.metadata.keys() == {"name", "namespace"}
    store = Store([kept], Findings())
    assert token(store, "a", "one") == Secret("sk")
    assert token(store, "a", "one", "dump") == Fault(
        "SecretInvalid", "Secret a/one: dump is over 64 KiB, which no token is"
    )
