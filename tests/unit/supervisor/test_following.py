"""What is followed goes on, whatever one of its ports does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest

from torana.app import App
from torana.config.loaded import Loaded
from torana.config.problem import Problem
from torana.config.sources import Effect
from torana.model.config import Bind, Config, Settings
from torana.telemetry.series import State
from torana.telemetry.trouble import Trouble
from torana.worker import CannotListenError

OFF = Settings(admin_address=None, stats_address=None, readiness_address=None)


class Fleet:
    """Has some ports taken by others. `served` are those of the last configuration that was taken."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.served: list[int] = []

    async def apply(self, config: Config) -> None:
        ports = [bind.port for bind in config.binds]
        failures = {port: f"cannot listen on port {port}" for port in ports if port in self.taken}
        if failures:
            raise CannotListenError.of(failures)
        self.served = ports

    async def states(self) -> list[State]:
        return []

    async def drain(self, _: float) -> bool:
        return True

    def kill(self) -> None:
        raise AssertionError("nobody asked twice")


class Story:
    """A live source that hands over one configuration after the other."""

    settings = OFF
    troubles: tuple[Trouble, ...] = ()

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.app = App(None, self, loaded(), self.fleet, 1)
        self.tell: Callable[[Callable[[Loaded], Awaitable[Effect]]], Awaitable[None]]

    async def follow(self, apply: Callable[[Loaded], Awaitable[Effect]]) -> None:
        try:
            await self.tell(apply)
        finally:
            self.app.quit()

    async def run(self, tell: Callable[[Callable[[Loaded], Awaitable[Effect]]], Awaitable[None]]) -> None:
        self.tell = tell
        await self.app.serve(None)


def loaded(*ports: int, warnings: tuple[Problem, ...] = ()) -> Loaded:
    return Loaded(Config(tuple(Bind(port) for port in ports), settings=OFF), warnings, (), frozenset())


async def test_a_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A new port that cannot be opened is told once and left out; all others are served, and it is tried again."""
    story = Story()

    async def tell(apply: Callable[[Loaded], Awaitable[Effect]]) -> None:
        story.fleet.taken = {2}
        for _ in range(2):
            assert await apply(loaded(1, 2, 3)) == Effect(in_effect=True, closed={2: "cannot listen on port 2"})
            assert story.fleet.served == [1, 3]
            assert [trouble.reason for trouble in story.app.troubles] == ["port"]
            assert not story.app.synchronized
        story.fleet.taken = set()
        assert await apply(loaded(1, 2, 3)) == Effect(in_effect=True)
        assert story.fleet.served == [1, 2, 3]
        assert story.app.synchronized

    await story.run(tell)
    assert caplog.text.count("cannot listen on port 2") == 1


async def test_a_port_that_is_open_and_cannot_change() -> None:
    """A port that is served is not closed because its new configuration cannot be: the whole of it is refused."""
    story = Story()

    async def tell(apply: Callable[[Loaded], Awaitable[Effect]]) -> None:
        assert await apply(loaded(1)) == Effect(in_effect=True)
        story.fleet.taken = {1}
        assert await apply(loaded(1, 2)) == Effect(in_effect=False)
        assert story.fleet.served == [1]
        assert [trouble.reason for trouble in story.app.troubles] == ["refused"]

    await story.run(tell)


async def test_problems_of_what_runs_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong with a configuration that runs is a warning, once; an error only when nothing is served."""
    story = Story()
    problem = Problem("cluster", 0, 0, "HTTPRoute a/b", "is wrong")

    async def tell(apply: Callable[[Loaded], Awaitable[Effect]]) -> None:
        await apply(loaded(1, warnings=(problem,)))
        await apply(loaded(1, 2, warnings=(problem,)))
        await apply(loaded())
        await apply(loaded(warnings=(problem,)))

    await story.run(tell)
    told = [(record.levelno, record.message) for record in caplog.records if "is wrong" in record.message]
    assert told == [
        (logging.WARNING, "cluster: warning: HTTPRoute a/b: is wrong"),
        (logging.ERROR, "cluster: error: HTTPRoute a/b: is wrong"),
    ]
