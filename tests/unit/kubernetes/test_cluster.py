"""What is done anew when a cluster changes, and what is not, without a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.unit.kubernetes.kubeconfig import KUBECONFIG
from torana.config.kubernetes import cluster as module
from torana.config.kubernetes.cluster import Cluster, Way
from torana.config.kubernetes.objects import Object, Options, Translation
from torana.config.kubernetes.translate import translate
from torana.config.kubernetes.watcher import Change, Watcher
from torana.config.loaded import Loaded
from torana.config.sources import Effect


async def test_a_closed_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that cannot be opened is tried again and again without translating all objects; a change translates."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    counts = {"applied": 0, "translated": 0}
    again = asyncio.Event()

    def counted(objects: Iterable[Object], options: Options) -> Translation:
        counts["translated"] += 1
        return translate(objects, options)

    async def apply(_: Loaded) -> Effect:
        counts["applied"] += 1
        if counts["applied"] % 3 == 0:
            again.set()
        return Effect(in_effect=True, closed={80: "taken"})

    async def run(self: Watcher) -> None:
        self._in_step()
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "translate", counted)
    monkeypatch.setattr(module, "_REFUSED_PAUSE", 0.01)
    monkeypatch.setattr(Watcher, "run", run)
    cluster = Cluster(Way(file, lease_namespace="default"), Options())
    task = asyncio.create_task(cluster.follow(apply))
    async with asyncio.timeout(10):
        await again.wait()
        assert counts["translated"] == 1
        again.clear()
        cluster._watchers["", "Service"]._changed(Change.SPEC)
        await again.wait()
    assert counts["translated"] == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
