"""A file that is followed goes on being followed, whatever happens to a look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from torana import app as module
from torana.app import App
from torana.config import watch
from torana.config.sources import Standalone
from torana.model.config import Config
from torana.telemetry.series import State

_TEXT = """
config: {adminAddr: 'off', statsAddr: 'off', readinessAddr: 'off'}
frontendPolicies: {http: {maxBufferSize: %d}}
"""


class Fleet:
    """Notes the limit of each configuration it is given."""

    def __init__(self) -> None:
        self.given: asyncio.Queue[int] = asyncio.Queue()

    async def apply(self, config: Config) -> None:
        self.given.put_nowait(config.limits.max_body_bytes)

    async def states(self) -> list[State]:
        return []

    async def drain(self, _: float) -> bool:
        return True

    def kill(self) -> None:
        raise AssertionError("nobody asked twice")


async def test_a_look_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the files cannot be looked at for once, that is logged, and the next change takes effect."""
    file = tmp_path / "config.yaml"
    file.write_text(_TEXT % 1)
    real, failures = watch.changes, [RuntimeError("can't start new thread")]

    async def changes(seen: watch.Stamps, stop: asyncio.Event) -> AsyncIterator[None]:
        if failures:
            raise failures.pop()
        async for _ in real(seen, stop):
            yield

    monkeypatch.setattr(watch, "changes", changes)
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    source = Standalone.of(str(file), None)
    fleet = Fleet()
    app = App(source, None, source.load(), fleet, 1)
    serving = asyncio.create_task(app.serve(None))
    async with asyncio.timeout(10):
        assert await fleet.given.get() == 1
        (tmp_path / "new").write_text(_TEXT % 22)
        (tmp_path / "new").replace(file)
        assert await fleet.given.get() == 22
        app.quit()
        await serving
    assert "can't start new thread" in caplog.text
