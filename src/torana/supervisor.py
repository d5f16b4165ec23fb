"""Worker processes: one parent loads configuration, N workers share the ports and serve.

The parent holds no port of the gateway. Each worker is a fresh process (`python -m torana.supervisor FD`) joined to the
parent by a socket pair, on which frames of a kind, a length and a payload travel. Secrets travel on it too, and nowhere
else. A worker that dies is replaced; one that loses its parent drains and ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

import msgspec
import uvloop

from torana.http.dial import Override
from torana.model import codec
from torana.model.config import Config, Settings
from torana.telemetry import log, metrics
from torana.telemetry.metrics import State
from torana.telemetry.writer import LineWriter
from torana.worker import CannotListenError, Overrides, Worker

_log = logging.getLogger(__name__)

_HEADER = struct.Struct("!BI")
_MOST_PAYLOAD = 256 * 1024 * 1024
_ANSWER_TIMEOUT = 30.0  # seconds a worker may take to answer; one that does not is replaced
_SHORT_LIFE = 5.0  # seconds; a worker that died younger is replaced only after a pause
_PAUSE = 1.0


class Kind(IntEnum):
    """Frames. The parent sends SETUP once, then APPLY, STATE, DRAIN; each is answered by one of the same kind."""

    SETUP = 1
    APPLY = 2
    STATE = 3
    DRAIN = 4


class Frame(NamedTuple):
    kind: Kind
    payload: bytes


class Setup(msgspec.Struct, frozen=True):
    overrides: list[tuple[str, int, str, int]]


async def send(writer: asyncio.StreamWriter, kind: Kind, payload: bytes = b"") -> None:
    writer.write(_HEADER.pack(kind, len(payload)) + payload)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Frame:
    """Raises asyncio.IncompleteReadError when the other side is gone."""
    kind, size = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if size > _MOST_PAYLOAD:
        raise ValueError(f"a frame of {size} bytes")
    return Frame(Kind(kind), await reader.readexactly(size))


class Supervisor:
    """The parent's side: the same `apply`, `states` and `drain` as a Worker, for N of them."""

    def __init__(self, settings: Settings, overrides: Overrides, count: int) -> None:
        self._settings = settings
        self._overrides = overrides
        self._count = count
        self._config: Config | None = None
        self._children: dict[int, _Child] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._draining = False

    async def apply(self, config: Config) -> None:
        """Every worker serves by `config`. Raises CannotListenError with a worker's complaint; then none does."""
        former, self._config = self._config, config
        try:
            if not self._children:
                for number in range(self._count):
                    self._children[number] = await self._spawn(config)
                    self._watch(number)
            else:
                ends = await asyncio.gather(
                    *(child.apply(config) for child in self._children.values()), return_exceptions=True
                )
                # A worker that died meanwhile is being replaced, by one that begins with this configuration.
                for end in ends:
                    if isinstance(end, CannotListenError):
                        raise end
        except CannotListenError:
            self._config = former
            if former is not None:
                await asyncio.gather(
                    *(child.apply(former) for child in self._children.values()), return_exceptions=True
                )
            raise

    async def states(self) -> list[State]:
        """The numbers of all workers; one that does not answer is left out."""
        answers = await asyncio.gather(*(child.state() for child in self._children.values()), return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, State)]

    async def drain(self, timeout: float) -> bool:
        self._draining = True
        children = [*self._children.values()]
        ends = await asyncio.gather(*(child.drain(timeout) for child in children), return_exceptions=True)
        for keeper in self._keepers:
            keeper.cancel()
        return all(end is True for end in ends)

    def kill(self) -> None:
        """End all workers at once, whatever they are serving."""
        for child in self._children.values():
            child.process.kill()

    @property
    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children.values()]

    async def _spawn(self, config: Config) -> _Child:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "torana.supervisor", str(theirs.fileno())]
        # Its own session: a Ctrl-C at the terminal reaches the parent only, which then drains the workers.
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), start_new_session=True)  # noqa: ASYNC220 - our own interpreter; starting takes no waiting
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        child = _Child(process, reader, writer)
        try:
            overrides = [(host, port, to.host, to.port) for (host, port), to in self._overrides.items()]
            await child.ask(Kind.SETUP, msgspec.msgpack.encode(Setup(overrides)))
            await child.apply(config)
        except BaseException:
            process.kill()
            raise
        return child

    def _watch(self, number: int) -> None:
        keeper = asyncio.create_task(self._keep(number))
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)

    async def _keep(self, number: int) -> None:
        """See the worker's end, and replace it."""
        loop = asyncio.get_running_loop()
        while True:
            child, started = self._children[number], loop.time()
            status = await asyncio.to_thread(child.process.wait)
            child.close()
            if self._draining or self._config is None:
                return
            _log.error("worker %d ended with status %d; starting another", child.process.pid, status)
            while True:
                if loop.time() - started < _SHORT_LIFE:
                    await asyncio.sleep(_PAUSE)
                try:
                    self._children[number] = await self._spawn(self._config)
                    break
                except (CannotListenError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                    started = loop.time()
                    _log.error("a worker could not be started: %s", error)


class _Child:
    """One worker process, and the conversation with it: one question at a time."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    async def ask(self, kind: Kind, payload: bytes = b"", timeout: float = _ANSWER_TIMEOUT) -> bytes:
        async with self._turn, asyncio.timeout(timeout):
            await send(self._writer, kind, payload)
            return (await receive(self._reader)).payload

    async def apply(self, config: Config) -> None:
        complaint = await self.ask(Kind.APPLY, codec.pack(config))
        if complaint:
            raise CannotListenError(complaint.decode())

    async def state(self) -> State:
        return metrics.unpack(await self.ask(Kind.STATE, timeout=5.0))

    async def drain(self, timeout: float) -> bool:
        """Let the worker finish, then see that it has ended."""
        complete = await self.ask(Kind.DRAIN, struct.pack("!d", timeout), timeout=timeout + 5)
        try:
            await asyncio.to_thread(self.process.wait, 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return complete == b"1"

    def close(self) -> None:
        self._writer.close()


# the worker's side


async def _run(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    setup = msgspec.msgpack.decode((await receive(reader)).payload, type=Setup)
    await send(writer, Kind.SETUP)
    overrides = {(host, port): Override(to_host, to_port) for host, port, to_host, to_port in setup.overrides}
    lines = LineWriter(1)
    lines.attach(asyncio.get_running_loop())
    worker: Worker | None = None
    drain_timeout = 5.0
    try:
        while True:
            kind, payload = await receive(reader)
            answer = b""
            if kind is Kind.APPLY:
                config = codec.unpack(payload)
                if worker is None:
                    log.configure(lines, config.settings.log_level, config.settings.log_format)
                    drain_timeout = config.settings.drain_timeout
                    worker = Worker(config.settings, overrides, lines, reuse_port=True)
                answer = await _apply(worker, config)
            elif kind is Kind.STATE and worker is not None:
                answer = metrics.pack(worker.state())
            elif kind is Kind.DRAIN:
                (drain_timeout,) = struct.unpack("!d", payload)
                complete = worker is None or await worker.drain(drain_timeout)
                lines.close()
                await send(writer, Kind.DRAIN, b"1" if complete else b"0")
                return
            await send(writer, kind, answer)
    except asyncio.IncompleteReadError:
        if worker is not None:  # the parent is gone: nobody would replace this worker's configuration any more
            await worker.drain(drain_timeout)
        lines.close()


async def _apply(worker: Worker, config: Config) -> bytes:
    try:
        await worker.apply(config)
    except (CannotListenError, ssl.SSLError, OSError) as error:
        return str(error).encode()
    return b""


def main(arguments: Iterable[str]) -> None:
    """The worker process. It ends when the parent says so or is gone; signals are the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    (descriptor,) = arguments
    uvloop.run(_run(int(descriptor)))
    os._exit(0)  # the log's thread may wait for a reader that never comes


if __name__ == "__main__":
    main(sys.argv[1:])
