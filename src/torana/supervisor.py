"""Worker processes: one parent loads configuration, N workers share the ports and serve.

The parent holds no port of the gateway. Each worker is a fresh process (`python -m torana.supervisor FD MEMORY`) joined
to the parent by a socket pair, on which frames of a kind, a number, a length and a payload travel: a question has a
number, and its answer the same. Secrets travel on it too, and nowhere else. The buckets of rate limits lie in MEMORY, a
file without a name that all workers have in common. A worker that dies is replaced; one that loses its parent drains
and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import weakref
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

import msgspec
import uvloop

from torana.http.dial import Override
from torana.model import codec
from torana.model.config import Config, Settings
from torana.policies.buckets import Buckets, shared_file
from torana.telemetry import log, series
from torana.telemetry.series import State
from torana.telemetry.writer import LineWriter
from torana.worker import CannotListenError, Overrides, Worker, settle

_log = logging.getLogger(__name__)

_HEADER = struct.Struct("!BQI")
_MOST_PAYLOAD = 256 * 1024 * 1024
_START_TIMEOUT = 30.0  # seconds until a new process must have answered
_APPLY_TIMEOUT = 30.0  # seconds a worker may take for a configuration; one that does not answer is replaced
_STATE_TIMEOUT = 5.0  # seconds; Prometheus gives a scrape ten
_GRACE = 2.0  # seconds a worker may take to end beyond the time its requests have
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
    number: int
    payload: bytes = b""


class Setup(msgspec.Struct, frozen=True):
    settings: Settings
    overrides: list[tuple[str, int, str, int]]


class Complaint(msgspec.Struct, frozen=True):
    """Why a worker cannot serve by a configuration; `ports` are those that cannot be opened, each with the reason."""

    text: str
    ports: dict[int, str] = {}


class WorkerGoneError(Exception):
    """A worker process has ended, or was ended because it did not answer; its keeper replaces it."""


def packed(frame: Frame) -> bytes:
    return _HEADER.pack(frame.kind, frame.number, len(frame.payload)) + frame.payload


async def receive(reader: asyncio.StreamReader) -> Frame:
    """Raises asyncio.IncompleteReadError or OSError when the other side is gone, ValueError for what is no frame."""
    kind, number, size = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if size > _MOST_PAYLOAD:
        raise ValueError(f"a frame of {size} bytes")
    return Frame(Kind(kind), number, await reader.readexactly(size))


# the parent's side


class Supervisor:
    """The same `apply`, `states` and `drain` as a Worker, for N of them.

    `_config` is what every worker must serve by: set before the workers are told, so that one that is just being
    started learns of it too. `_children` are those that do serve; `_retired` the numbers of those that have ended.
    """

    def __init__(self, settings: Settings, overrides: Overrides, count: int) -> None:
        listed = [(host, port, to.host, to.port) for (host, port), to in overrides.items()]
        self._setup = codec.pack(Setup(settings, listed))
        self._count = count
        self._buckets = shared_file()
        weakref.finalize(self, os.close, self._buckets)
        self._config = Config()
        self._children: dict[int, _Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._retired = State()

    async def apply(self, config: Config) -> None:
        """Every worker serves by `config`. Raises CannotListenError with a worker's complaint; then none does."""
        former, self._config = self._config, config
        try:
            if self._keepers:
                await self._reapply(config)
            else:
                for number in range(self._count):
                    child = self._children[number] = await self._spawn()
                    self._keepers.append(asyncio.create_task(self._keep(number, child)))
        except Exception:
            self._config = former
            children = [*self._children.values()]
            ends = await asyncio.gather(*(child.apply(former) for child in children), return_exceptions=True)
            for child, end in zip(children, ends, strict=True):
                if end is not None:  # it may serve by anything: another, that begins with the former, is better
                    child.kill()
            raise

    async def states(self) -> list[State]:
        """The numbers of all workers there ever were; one that does not answer counts as it was last seen."""
        retired = self._retired  # before the questions: a worker that ends meanwhile must not count twice
        return [retired, *await asyncio.gather(*(child.state() for child in self._children.values()))]

    async def drain(self, timeout: float) -> bool:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)  # a worker that was being started ends by this
        return all(await asyncio.gather(*(child.drain(timeout) for child in self._children.values())))

    def kill(self) -> None:
        """End all workers at once, whatever they are serving."""
        for child in self._children.values():
            child.kill()

    @property
    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children.values()]

    async def _reapply(self, config: Config) -> None:
        """Raises what is wrong with the configuration, as one worker tells it.

        A worker that ends meanwhile is being replaced, by one that begins with this configuration. When all of them
        end, that is what is wrong with it.
        """
        children = [*self._children.values()]
        ends = await asyncio.gather(*(child.apply(config) for child in children), return_exceptions=True)
        for end in ends:
            if end is not None and not isinstance(end, WorkerGoneError):
                raise end
        if ends and None not in ends:
            raise CannotListenError("every worker ended over it")

    async def _spawn(self) -> _Child:
        """A worker that serves by the configuration as it is at the very return, whatever is applied meanwhile."""
        child = await _Child.start(self._buckets)
        try:
            await child.ask(Kind.SETUP, self._setup, timeout=_START_TIMEOUT)
            applied = None
            while applied is not self._config:
                applied = self._config
                await child.apply(applied)
        except BaseException:
            await child.end()
            raise
        return child

    async def _keep(self, number: int, child: _Child) -> None:
        """See the worker's end, and replace it."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            status = await child.ended()
            del self._children[number]
            self._retired = series.summed([self._retired, child.last.ended()])
            _log.error("worker %d ended with status %d; starting another", child.process.pid, status)
            while number not in self._children:
                if loop.time() - started < _SHORT_LIFE:
                    await asyncio.sleep(_PAUSE)
                started = loop.time()
                try:
                    child = self._children[number] = await self._spawn()
                except (CannotListenError, WorkerGoneError, OSError) as error:
                    _log.error("a worker could not be started: %s", error)
                except Exception:  # noqa: BLE001 - logged with its traceback, and tried again
                    _log.exception("a worker could not be started")


class _Child:
    """One worker process, and the conversation with it. `last` are its numbers as last seen."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.last = State()
        self._reader = reader
        self._writer = writer
        self._asked = 0
        self._open: dict[int, asyncio.Future[Frame]] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, memory: int) -> _Child:
        """`memory`: the file of the buckets, which the worker inherits."""
        ours, theirs = socket.socketpair()
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            # Its own session: a Ctrl-C at the terminal reaches the parent only, which then drains the workers.
            # asyncio's subprocess: under uvloop its end is told by SIGCHLD, and takes no thread to wait for.
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "torana.supervisor", str(theirs.fileno()), str(memory)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), memory),
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                raise
        finally:
            theirs.close()
        return cls(process, reader, writer)

    async def ask(self, kind: Kind, payload: bytes = b"", *, timeout: float) -> bytes:
        """Raises WorkerGoneError, and TimeoutError: then an answer that comes later is dropped."""
        if self._listener.done():
            raise WorkerGoneError(f"worker {self.process.pid} has ended")
        self._asked = number = self._asked + 1
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            self._writer.write(packed(Frame(kind, number, payload)))
            async with asyncio.timeout(timeout):
                frame = await answer
        finally:
            del self._open[number]
        if frame.kind is not kind:
            self.kill()
            raise WorkerGoneError(f"worker {self.process.pid} was asked {kind!r}, answered {frame.kind!r}")
        return frame.payload

    async def apply(self, config: Config) -> None:
        """Raises CannotListenError with the worker's complaint, and WorkerGoneError."""
        try:
            complaint = await self.ask(Kind.APPLY, codec.pack(config), timeout=_APPLY_TIMEOUT)
        except TimeoutError:
            self.kill()  # nobody knows what it serves by
            raise WorkerGoneError(f"worker {self.process.pid} did not answer, and was killed") from None
        if complaint:
            told = msgspec.msgpack.decode(complaint, type=Complaint)
            raise CannotListenError(told.text, told.ports)

    async def state(self) -> State:
        with contextlib.suppress(TimeoutError, WorkerGoneError):
            self.last = series.unpack(await self.ask(Kind.STATE, timeout=_STATE_TIMEOUT))
        return self.last

    async def drain(self, timeout: float) -> bool:
        """Let the worker finish, then see that it has ended."""
        complete = False
        try:
            async with asyncio.timeout(timeout + _GRACE):
                question = struct.pack("!d", timeout)
                complete = await self.ask(Kind.DRAIN, question, timeout=timeout + _GRACE) == b"1"
                await self.process.wait()
        except (TimeoutError, WorkerGoneError) as error:
            _log.warning("worker %d did not end by itself, and was killed: %r", self.process.pid, error)
        finally:
            await self.end()
        return complete

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def end(self) -> None:
        """Kill it if it runs, and take leave of the process."""
        self.kill()
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end; then all it has answered was heard. The exit status."""
        status = await self.process.wait()
        await asyncio.wait({self._listener})
        self._writer.close()
        return status

    async def _listen(self) -> None:
        """Hand each answer to whoever waits for it; one that comes too late to nobody."""
        try:
            while True:
                frame = await receive(self._reader)
                answer = self._open.get(frame.number)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
        except (asyncio.IncompleteReadError, OSError):
            pass
        except ValueError as error:
            _log.error("worker %d does not keep to the protocol: %s", self.process.pid, error)
            self.kill()
        finally:
            for answer in self._open.values():
                if not answer.done():
                    answer.set_exception(WorkerGoneError(f"worker {self.process.pid} has ended"))


# the worker's side


async def _run(descriptor: int, memory: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    try:
        question = await receive(reader)
    except (asyncio.IncompleteReadError, OSError):
        return  # the parent is gone, or has no use for this worker any more
    lines = LineWriter(1)
    lines.attach(asyncio.get_running_loop())
    setup = codec.unpack(question.payload, Setup)
    drain_timeout = setup.settings.drain_timeout
    log.configure(lines, setup.settings.log_level, setup.settings.log_format)
    overrides = {(host, port): Override(to_host, to_port) for host, port, to_host, to_port in setup.overrides}
    worker = Worker(setup.settings, overrides, lines, reuse_port=True, buckets=Buckets.shared(memory))
    settle()
    answer = b""
    try:
        while True:
            writer.write(packed(question._replace(payload=answer)))
            question = await receive(reader)
            match question.kind:
                case Kind.APPLY:
                    answer = await _apply(worker, question.payload)
                case Kind.STATE:
                    answer = series.pack(worker.state())
                case Kind.DRAIN:
                    (drain_timeout,) = struct.unpack("!d", question.payload)
                    break
                case Kind.SETUP:
                    raise ValueError("a second SETUP")
    except (asyncio.IncompleteReadError, OSError):
        pass  # the parent is gone: nobody would replace this worker's configuration any more
    complete = await worker.drain(drain_timeout)
    with contextlib.suppress(OSError):
        writer.write(packed(question._replace(payload=b"1" if complete else b"0")))
        writer.close()
        await writer.wait_closed()
    lines.close()


async def _apply(worker: Worker, packed_config: bytes) -> bytes:
    """A Complaint; empty when there is none. A configuration is refused whatever comes of it, and kills nobody."""
    try:
        await worker.apply(codec.unpack(packed_config, Config))
    except CannotListenError as error:
        return msgspec.msgpack.encode(Complaint(str(error), error.ports))
    except Exception as error:  # noqa: BLE001 - told to the parent, which refuses the configuration by it
        return msgspec.msgpack.encode(Complaint(str(error) or repr(error)))
    return b""


def main(arguments: Iterable[str]) -> None:
    """The worker process. It ends when the parent says so or is gone; signals are the parent's to handle.

    They may come to all processes at once: systemd sends SIGTERM to the whole control group.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, memory = map(int, arguments)

    async def run() -> None:
        await _run(descriptor, memory)
        os._exit(0)  # threads may wait for a reader of the log that never comes, or for a name server that is silent

    uvloop.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])
