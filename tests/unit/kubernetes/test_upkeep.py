"""What follows a cluster goes on after a failure that nobody foresaw."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.kubernetes.kubeconfig import KUBECONFIG
from torana.config.kubernetes import upkeep as module
from torana.config.kubernetes.cluster import Cluster, Way
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.upkeep import Upkeep
from torana.config.kubernetes.watcher import Watcher
from torana.config.loaded import Loaded
from torana.config.sources import Effect


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "_STEADY", 0.05)


async def test_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    """It is begun again as often as it fails, each time with a traceback, and is told of until it runs steadily."""
    begun = 0
    steady, well = asyncio.Event(), asyncio.Event()

    class Told(Upkeep):
        def _well(self) -> None:
            super()._well()
            well.set()

    async def run() -> None:
        nonlocal begun
        begun += 1
        if begun <= 3:
            raise ZeroDivisionError
        assert kept.trouble is not None
        assert kept.trouble.words.startswith("the work failed with ZeroDivisionError")
        steady.set()
        await asyncio.Event().wait()

    kept = Told("Gateway", "the work", run)
    task = asyncio.create_task(kept.run())
    async with asyncio.timeout(20):
        await steady.wait()
        await well.wait()
    assert kept.trouble is None
    task.cancel()
    assert caplog.text.count("ZeroDivisionError") >= 3


async def test_one_task_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of one watch ends neither it nor the others; readiness and metrics say so while it lasts."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    again = asyncio.Event()
    begun: list[str] = []

    async def run(self: Watcher) -> None:
        begun.append(self.kind)
        if self.kind == "Secret" and begun.count("Secret") == 1:
            raise ZeroDivisionError
        if self.kind == "Secret":
            again.set()
        await asyncio.Event().wait()

    async def apply(_: Loaded) -> Effect:
        return Effect(in_effect=True)

    monkeypatch.setattr(Watcher, "run", run)
    cluster = Cluster(Way(file, lease_namespace="default"), Options())
    task = asyncio.create_task(cluster.follow(apply))
    async with asyncio.timeout(20):
        await again.wait()
    assert ("Secret", "failed") in [(trouble.kind, trouble.reason) for trouble in cluster.troubles]
    assert not task.done()
    assert "HTTPRoute" in begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
