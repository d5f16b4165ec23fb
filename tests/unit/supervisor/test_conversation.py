"""The parent and real worker processes, when one of them is slow, dies or is given what it cannot serve."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.ports import free_port
from torana import supervisor as module
from torana.model.config import Bind, Config, Listener, Settings
from torana.model.policy import DirectResponse, RoutePolicies
from torana.model.route import PathMatch, PathMatchKind, Route, RouteMatch
from torana.policies.buckets import shared_file
from torana.supervisor import Frame, Kind, Supervisor, _Child
from torana.telemetry.series import summed
from torana.worker import CannotListenError


def answering(port: int, body: str, path: PathMatch | None = None) -> Config:
    policies = RoutePolicies(direct_response=DirectResponse(200, body))
    route = Route("route", matches=(RouteMatch(path or PathMatch()),), policies=policies)
    return Config((Bind(port, (Listener("listener", routes=(route,)),)),))


async def said(port: int) -> str:
    """The body of an answer on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.decode().rpartition("\r\n\r\n")[2]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


class Fleet:
    """A supervisor of two workers, and the port they serve."""

    def __init__(self) -> None:
        self.port = free_port()
        self.supervisor = Supervisor(Settings(), {}, 2)

    async def apply(self, body: str, path: PathMatch | None = None) -> None:
        await self.supervisor.apply(answering(self.port, body, path))

    async def said(self, times: int = 20) -> set[str]:
        """What is answered on so many connections, which the kernel spreads over the workers."""
        return {await said(self.port) for _ in range(times)}

    async def requests(self) -> int:
        return sum(series.requests for series in summed(await self.supervisor.states()).http)


@pytest.fixture
async def fleet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """Two workers that serve "old"."""
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    fleet = Fleet()
    await fleet.apply("old")
    yield fleet
    fleet.supervisor.kill()
    await fleet.supervisor.drain(0.0)


async def test_no_thread_waits_for_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default executor is free for others, however many workers there are."""
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    fleet = Fleet()
    await fleet.apply("old")
    try:
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(lambda: "done") == "done"
    finally:
        fleet.supervisor.kill()
        await fleet.supervisor.drain(0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_for_all(number: signal.Signals, fleet: Fleet) -> None:
    """A signal that a service manager or terminal sends to every process is the parent's: workers serve on."""
    before = fleet.supervisor.pids
    for pid in before:
        os.kill(pid, number)
    await fleet.apply("new")
    assert await fleet.said() == {"new"}
    assert fleet.supervisor.pids == before


async def test_late_answer(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes after its question has timed out is not taken for that of the next; the worker goes on."""
    before = fleet.supervisor.pids
    os.kill(before[0], signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_STATE_TIMEOUT", 0.05)
        await fleet.supervisor.states()
    os.kill(before[0], signal.SIGCONT)
    await fleet.apply("new")
    assert await fleet.said() == {"new"}
    assert fleet.supervisor.pids == before


async def test_answer_of_another_kind() -> None:
    """A worker that answers something else is ended: nobody knows what it will say next."""
    memory = shared_file()
    child = await _Child.start(memory)
    os.close(memory)
    child._open[7] = asyncio.get_running_loop().create_future()
    wrong = asyncio.create_task(child.ask(Kind.STATE, timeout=5))
    await asyncio.sleep(0)
    child._open[child._asked].set_result(Frame(Kind.APPLY, child._asked))
    with pytest.raises(module.WorkerGoneError, match="answered"):
        await wrong
    assert await child.ended() == -signal.SIGKILL


async def test_worker_that_takes_no_configuration(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not answer a reload is replaced by one that serves the new configuration."""
    stuck, well = fleet.supervisor.pids
    os.kill(stuck, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_APPLY_TIMEOUT", 4.0)  # which the other one must do with
        await fleet.apply("new")
    await until(lambda: not running(stuck) and len(fleet.supervisor.pids) == 2)
    assert well in fleet.supervisor.pids
    assert await fleet.said() == {"new"}


async def test_drain_of_a_stopped_worker(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not answer when it is to end is killed after its time and a short grace."""
    monkeypatch.setattr(module, "_GRACE", 0.2)
    stopped, well = fleet.supervisor.pids
    os.kill(stopped, signal.SIGSTOP)
    async with asyncio.timeout(20):
        assert not await fleet.supervisor.drain(0.1)
    assert not running(stopped)
    assert not running(well)


async def test_configuration_that_cannot_be_compiled(fleet: Fleet) -> None:
    """What a worker cannot make anything of is refused by an error, ends no worker, and the former is served on."""
    before = fleet.supervisor.pids
    only_of_texts = PathMatch(PathMatchKind.REGEX, "(?u)/.*")
    with pytest.raises(CannotListenError, match="RE2"):
        await fleet.apply("new", only_of_texts)
    assert await fleet.said() == {"old"}
    assert fleet.supervisor.pids == before


async def test_port_that_one_worker_cannot_have(fleet: Fleet) -> None:
    """A configuration that is refused is served by nobody: those that have taken it go back."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListenError, match="cannot listen") as caught:
            await fleet.supervisor.apply(answering(port, "new"))
    assert [*caught.value.ports] == [port]
    assert await fleet.said() == {"old"}


async def test_numbers_stay(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """No count goes back when a worker does not answer, dies, or is replaced."""
    await fleet.said(30)
    assert await fleet.requests() == 30
    pid = fleet.supervisor.pids[0]
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_STATE_TIMEOUT", 0.3)
        assert await fleet.requests() == 30
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not running(pid))
    assert await fleet.requests() == 30
    await until(lambda: len(fleet.supervisor.pids) == 2 and pid not in fleet.supervisor.pids)
    assert await fleet.requests() == 30
    assert summed(await fleet.supervisor.states()).open_connections == 0


async def test_start_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was started in vain is gone, its sockets too."""
    processes = []

    async def refuse(child: _Child, _: Config) -> None:
        processes.append(child)
        raise CannotListenError("no")

    monkeypatch.setattr(_Child, "apply", refuse)
    with pytest.raises(CannotListenError):
        await Fleet().apply("old")
    (child,) = processes
    assert child.process.returncode == -signal.SIGKILL
    assert not running(child.process.pid)
    assert child._writer.is_closing()


async def test_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no process can be had, the socket pair made for it is closed."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = open_files()
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            await Fleet().apply("old")
        await asyncio.sleep(0)
    assert open_files() <= before + 1


_HELD_UP = """
import asyncio, threading
from torana import supervisor

async def run(descriptor, memory):
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)

supervisor._run = run
supervisor.main(["0", "0"])
"""


async def test_a_thread_that_waits() -> None:
    """A worker ends although one of its threads waits for something that never comes."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _HELD_UP)
    try:
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
