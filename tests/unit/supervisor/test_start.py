"""A gateway that cannot begin leaves nothing behind."""

from __future__ import annotations

import signal

import pytest

from torana.app import App
from torana.config.sources import Standalone
from torana.model.config import Config
from torana.telemetry.series import State
from torana.worker import CannotListenError


class HalfStarted:
    """Workers of which not all could be started."""

    def __init__(self) -> None:
        self.drained = False

    async def apply(self, _: Config) -> None:
        raise CannotListenError("no")

    async def states(self) -> list[State]:
        return []

    async def drain(self, _: float) -> bool:
        self.drained = True
        return True

    def kill(self) -> None:
        raise AssertionError("nobody asked twice")


async def test_start_that_fails() -> None:
    """When not all workers can be started, those that were are ended, and the reason is told."""
    source = Standalone.of(None, "binds: []\n")
    fleet = HalfStarted()
    with pytest.raises(CannotListenError, match="no"):
        await App(source, None, source.load(), fleet, 2).serve(None)
    assert fleet.drained


class Stopped(HalfStarted):
    """Workers that are being started when the signal to stop comes."""

    async def apply(self, _: Config) -> None:
        signal.raise_signal(signal.SIGTERM)


async def test_a_signal_while_it_starts() -> None:
    """A signal to stop that comes before everything is started is heeded, and nothing is left running."""
    text = "config: {adminAddr: 'off', statsAddr: 'off', readinessAddr: 'off'}\n"
    source = Standalone.of(None, text)
    fleet = Stopped()
    await App(source, None, source.load(), fleet, 2).serve(None)
    assert fleet.drained
