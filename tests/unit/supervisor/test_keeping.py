"""What a supervisor asks of its workers, seen on workers that are made up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from torana import supervisor as module
from torana.model.config import Config, Limits, Settings
from torana.supervisor import Kind, Supervisor, WorkerGoneError
from torana.telemetry.series import State
from torana.worker import CannotListenError

OLD, NEW = Config(limits=Limits(max_headers=1)), Config(limits=Limits(max_headers=2))

During = Callable[[Config], Awaitable[None]]


class FakeProcess:
    pid = 1


class FakeChild:
    """A worker that notes what it is given, and does `during` while it takes a configuration."""

    def __init__(self, during: During | None = None) -> None:
        self.during = during
        self.applied: list[Config] = []
        self.last = State()
        self.process = FakeProcess()
        self.over = asyncio.Event()

    async def ask(self, kind: Kind, _: bytes, *, timeout: float) -> bytes:
        assert kind is Kind.SETUP
        assert timeout > 0
        return b""

    async def apply(self, config: Config) -> None:
        if self.during is not None:
            await self.during(config)
        self.applied.append(config)

    async def ended(self) -> int:
        await self.over.wait()
        return 1

    def kill(self) -> None:
        self.over.set()

    async def end(self) -> None:
        self.kill()

    async def drain(self, _: float) -> bool:
        self.kill()
        return True


class Nursery:
    """Where made-up workers come from: those listed first, then ordinary ones."""

    def __init__(self) -> None:
        self.coming: list[FakeChild | Exception] = []
        self.born: list[FakeChild] = []

    async def start(self, _: int) -> FakeChild:
        child = self.coming.pop(0) if self.coming else FakeChild()
        if isinstance(child, Exception):
            raise child
        self.born.append(child)
        return child


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Nursery:
    nursery = Nursery()
    monkeypatch.setattr(module._Child, "start", nursery.start)
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    return nursery


@pytest.fixture
async def supervisor(nursery: Nursery) -> Supervisor:
    """Two made-up workers that serve OLD."""
    supervisor = Supervisor(Settings(), {}, 2)
    await supervisor.apply(OLD)
    assert [child.applied for child in nursery.born] == [[OLD], [OLD]]
    return supervisor


async def until_born(nursery: Nursery, count: int, supervisor: Supervisor) -> None:
    async with asyncio.timeout(20):
        while len(nursery.born) < count or len(supervisor._children) < 2:  # noqa: ASYNC110 - the keepers' doing
            await asyncio.sleep(0)


def raising(error: Exception, when: Config) -> During:
    async def during(config: Config) -> None:
        if config is when:
            raise error

    return during


async def test_reload_during_a_start(supervisor: Supervisor, nursery: Nursery) -> None:
    """A worker that was being started during a reload begins with the new configuration."""

    async def reload(config: Config) -> None:
        if config is OLD:
            await supervisor.apply(NEW)

    nursery.coming = [FakeChild(reload)]
    nursery.born[0].kill()
    await until_born(nursery, 3, supervisor)
    assert nursery.born[2].applied == [OLD, NEW]
    assert nursery.born[1].applied == [OLD, NEW]
    await supervisor.drain(0)


async def test_refused_by_one(supervisor: Supervisor, nursery: Nursery) -> None:
    """Any other end than success, expected or not, makes all workers go back."""
    for error in (CannotListenError("no"), ZeroDivisionError()):
        nursery.born[0].during = raising(error, NEW)
        with pytest.raises(type(error)):
            await supervisor.apply(NEW)
        assert nursery.born[1].applied[-2:] == [NEW, OLD]
        assert nursery.born[0].applied[-1] is OLD
    await supervisor.drain(0)
    assert len(nursery.born) == 2


async def test_no_way_back(supervisor: Supervisor, nursery: Nursery) -> None:
    """A worker that cannot go back to the former configuration is replaced by one that begins with it."""
    nursery.born[0].during = raising(CannotListenError("no"), NEW)
    nursery.born[1].during = raising(CannotListenError("nor back"), OLD)
    with pytest.raises(CannotListenError, match=r"^no$"):
        await supervisor.apply(NEW)
    await until_born(nursery, 3, supervisor)
    assert nursery.born[1].over.is_set()
    assert nursery.born[2].applied == [OLD]
    await supervisor.drain(0)


async def test_gone_meanwhile(supervisor: Supervisor, nursery: Nursery) -> None:
    """A worker that ends during a reload does not fail it."""
    nursery.born[0].during = raising(WorkerGoneError("gone"), NEW)
    await supervisor.apply(NEW)
    nursery.born[0].kill()
    await until_born(nursery, 3, supervisor)
    assert nursery.born[1].applied == [OLD, NEW]
    assert nursery.born[2].applied == [NEW]
    await supervisor.drain(0)


async def test_all_gone_meanwhile(supervisor: Supervisor, nursery: Nursery) -> None:
    """A configuration that ends every worker is refused, and those that follow begin with the former."""
    for child in nursery.born:
        child.during = raising(WorkerGoneError("gone"), NEW)
    with pytest.raises(CannotListenError, match="every worker"):
        await supervisor.apply(NEW)
    for child in nursery.born[:2]:
        child.kill()
    await until_born(nursery, 4, supervisor)
    assert [child.applied for child in nursery.born[2:]] == [[OLD], [OLD]]
    await supervisor.drain(0)


async def test_unexpected_failure(supervisor: Supervisor, nursery: Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a start fails of is logged, and it is tried again."""
    nursery.coming = [ZeroDivisionError("unforeseen"), OSError("foreseen"), FakeChild()]
    with caplog.at_level(logging.ERROR):
        nursery.born[0].kill()
        await until_born(nursery, 3, supervisor)
    assert "unforeseen" in caplog.text
    assert "foreseen" in caplog.text
    await supervisor.drain(0)


async def test_first_start_that_fails(nursery: Nursery) -> None:
    """When a later worker cannot be started, the earlier ones are there to be drained, and it is not."""
    nursery.coming = [FakeChild(), FakeChild(raising(CannotListenError("no"), OLD))]
    supervisor = Supervisor(Settings(), {}, 2)
    with pytest.raises(CannotListenError):
        await supervisor.apply(OLD)
    await supervisor.drain(0)
    assert all(child.over.is_set() for child in nursery.born)
