"""When statuses are compared with what is there, without a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from tests.unit.kubernetes.kubeconfig import KUBECONFIG
from torana.config.kubernetes.api import Api
from torana.config.kubernetes.cluster import Cluster, Way
from torana.config.kubernetes.kinds import WATCHED, Watched
from torana.config.kubernetes.objects import Key, Options, Status
from torana.config.kubernetes.status_writer import StatusWriter
from torana.config.kubernetes.watcher import Change, Kept


async def test_changes_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many changes that come together are one comparison, which is of all statuses."""
    pausing, over, compared = asyncio.Event(), asyncio.Event(), asyncio.Event()
    looks: list[Key] = []

    async def pause(_: float) -> None:
        pausing.set()
        await over.wait()

    def look(key: Key) -> Kept | None:
        looks.append(key)
        compared.set()
        return None

    monkeypatch.setattr(asyncio, "sleep", pause)
    writer = StatusWriter(cast("Api", None), ("torana.dev/gateway-controller",), look, lambda _: ())
    writer.leads = True
    writer.want([Status("gateway.networking.k8s.io/v1", "HTTPRoute", "a", "b", 1, {"parents": []})])
    task = asyncio.create_task(writer.run())
    async with asyncio.timeout(5):
        await pausing.wait()
        for _ in range(100):
            writer.wake()
        over.set()
        await compared.wait()
    assert len(looks) == 1
    assert not writer._wake.is_set()
    task.cancel()


@pytest.mark.parametrize("watched", WATCHED, ids=lambda each: each.kind)
async def test_what_is_compared_for(tmp_path: Path, watched: Watched) -> None:
    """Statuses are compared after a change of a kind that has one of ours, and not after each change of others."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    cluster = Cluster(Way(file, lease_namespace="default"), Options())
    cluster._watchers[watched.group, watched.kind]._changed(Change.SPEC)
    assert cluster._changes.is_set()
    assert cluster._statuses._wake.is_set() == watched.told
    await cluster._api.close()
