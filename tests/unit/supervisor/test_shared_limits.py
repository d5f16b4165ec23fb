"""Rate limits of several worker processes: they hold for the gateway as a whole."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.ports import free_port
from torana import supervisor as module
from torana.model.config import Bind, Config, Listener, Settings
from torana.model.policy import DirectResponse, RateLimit, RoutePolicies
from torana.model.route import Route
from torana.supervisor import Supervisor
from torana.telemetry.series import State


class Fleet:
    """Two workers that serve one route, of which each request is over at once."""

    def __init__(self) -> None:
        self.port = free_port()
        self.supervisor = Supervisor(Settings(), {}, 2)

    async def apply(self, body: str) -> None:
        policies = RoutePolicies(direct_response=DirectResponse(200, body), rate_limits=(RateLimit(10, 10, 3600.0),))
        route = Route("route", policies=policies)
        await self.supervisor.apply(Config((Bind(self.port, (Listener("listener", routes=(route,)),)),)))

    async def status(self) -> str:
        """Of an answer on a connection of its own, which the kernel gives to either worker."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
        return answer.decode().split(" ")[1]

    async def statuses(self, times: int) -> Counter[str]:
        return Counter(await asyncio.gather(*(self.status() for _ in range(times))))


@pytest.fixture
async def fleet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    fleet = Fleet()
    await fleet.apply("old")
    yield fleet
    fleet.supervisor.kill()
    await fleet.supervisor.drain(0.0)


def served(state: State) -> int:
    return sum(series.requests for series in state.http)


async def test_two_workers_share_a_limit(fleet: Fleet) -> None:
    """However requests are spread over the workers, no more are let in than the limit says, and no fewer."""
    assert await fleet.statuses(40) == {"200": 10, "429": 30}
    assert len([state for state in await fleet.supervisor.states() if served(state)]) == 2


async def test_a_limit_outlives_reload_and_worker(fleet: Fleet) -> None:
    """What is used up stays so when the configuration is loaded again and when a worker is replaced."""
    assert await fleet.statuses(8) == {"200": 8}
    await fleet.apply("new")
    killed, kept = fleet.supervisor.pids
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(20):
        while killed in fleet.supervisor.pids or len(fleet.supervisor.pids) < 2:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.01)
    assert kept in fleet.supervisor.pids
    assert await fleet.statuses(20) == {"200": 2, "429": 18}
