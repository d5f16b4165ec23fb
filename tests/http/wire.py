"""HTTP by hand over asyncio: both ends of a connection byte by byte, and transports that split bytes where a test says.

No HTTP library stands between, so that a test sees every byte that is sent, and how a connection ends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

TIMEOUT = 10.0
"""Seconds a single wait may take; only what is broken takes nearly as long."""

EARLY = 0.003
"""Seconds by which a timer may be early by another clock: the event loop's counts whole milliseconds."""

Script = Callable[["Wire"], Awaitable[None]]


class Message(NamedTuple):
    """A request or an answer as it was on the wire; `complete` when it ended as its framing says."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def names(self) -> set[bytes]:
        return {name for name, _ in self.fields}

    def value(self, name: bytes) -> bytes | None:
        return next((value for other, value in self.fields if other == name), None)


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Each piece by a write of its own."""
        for piece in pieces:
            self.writer.write(piece)
            async with asyncio.timeout(TIMEOUT):
                await self.writer.drain()

    async def message(self, *, bodiless: bool = False) -> Message:
        """The next one. Raises IncompleteReadError when the connection ends before its head is complete."""
        async with asyncio.timeout(TIMEOUT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            start, *lines = head[:-4].split(b"\r\n")
            pairs = (line.split(b":", 1) for line in lines)
            message = Message(start, [(name.lower(), value.strip()) for name, value in pairs], b"", complete=True)
            is_answer = start.startswith(b"HTTP/")
            if bodiless or (is_answer and (message.status < 200 or message.status in (204, 304))):
                return message
            body, complete = await self._body(message, until_end=is_answer)
            return message._replace(body=body, complete=complete)

    async def head(self) -> Message:
        """The next message's head; its body is left to `some`."""
        return await self.message(bodiless=True)

    async def some(self, size: int = 65536) -> bytes:
        """What is there, or comes next; empty at the end, be it orderly or not."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read(size)
            except ConnectionError:
                return b""

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Everything until the other end closes."""
        pieces = []
        while piece := await self.some():
            pieces.append(piece)
        return b"".join(pieces)

    def end(self) -> None:
        """Nothing more comes from this end, which goes on reading."""
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """An RST instead of an orderly end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _body(self, message: Message, *, until_end: bool) -> tuple[bytes, bool]:
        length = message.value(b"content-length")
        try:
            if message.value(b"transfer-encoding") == b"chunked":
                return await self._chunks()
            if length is not None:
                return await self.reader.readexactly(int(length)), True
        except asyncio.IncompleteReadError as error:
            return error.partial, False
        except ConnectionError:
            return b"", False
        return (await self.rest(), True) if until_end else (b"", True)

    async def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        try:
            while size := int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return body, False
        return body, True


async def open_wire(port: int, receive_buffer: int | None = None) -> Wire:
    """A client's connection to a port of this machine; a small receive buffer makes it a client that takes little."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return Wire(*await asyncio.open_connection(sock=sock, limit=receive_buffer or 1 << 20))


class Upstream:
    """A server whose every connection runs `script`; the connection is closed when the script ends."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.wires: list[Wire] = []
        self.ended: list[asyncio.Event] = []
        self.requests: list[Message] = []
        self.port = 0
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, unix: str | None = None, **options: object) -> None:
        """On a port, or on a Unix socket."""
        if unix is not None:
            self._server = await asyncio.start_unix_server(self._accept, unix, limit=1 << 20, **options)
            return
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20, **options)  # type: ignore[arg-type]
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self.wires:
            wire.writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        self.wires.append(wire)
        self.ended.append(asyncio.Event())
        self._tasks.add(asyncio.create_task(self._run(wire)))

    async def _run(self, wire: Wire) -> None:
        try:
            await self.script(wire)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway closed the connection; what that means is for the test to say
        finally:
            self.ended[self.wires.index(wire)].set()
            wire.close()

    async def all_ended(self, least: int = 1) -> None:
        """Until every connection has ended, of which there were so many at least."""
        await until(lambda: len(self.ended) >= least and all(ended.is_set() for ended in self.ended))

    async def take(self, wire: Wire) -> Message:
        """The next request on a connection, also kept in `requests`."""
        request = await wire.message()
        self.requests.append(request)
        return request


def each(*answers: bytes) -> Callable[[Upstream], Script]:
    """A script for an Upstream: one request, one answer, on every connection, in turn; the last one again and again."""

    def bind(upstream: Upstream) -> Script:
        left = [*answers]

        async def script(wire: Wire) -> None:
            while True:
                await upstream.take(wire)
                await wire.send(left.pop(0) if len(left) > 1 else left[0])

        return script

    return bind


class Pipe(asyncio.Transport):
    """A transport that only writes down what is done to it, for feeding a protocol bytes split where the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.reading = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.out += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def feed(protocol: asyncio.Protocol, pipe: Pipe, pieces: Iterable[bytes]) -> None:
    """Each piece in a turn of the event loop of its own, and none while the protocol has paused reading."""
    for piece in pieces:
        while not pipe.reading and not pipe.closed:  # noqa: ASYNC110 - nothing tells, and a turn is all it takes
            await asyncio.sleep(0)
        protocol.data_received(piece)
        await asyncio.sleep(0)


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces that begin at `places`."""
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


async def until(condition: Callable[[], object]) -> None:
    """Wait, for as long as a wait may take, for something that becomes true without telling."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - what is awaited tells nobody
            await asyncio.sleep(0.002)
