"""Clients: each kind does one thing again and again until it is told to stop, and tells what came of it.

Those that behave must be served, each time and whole. Of the others it is asked only that the gateway is done with them
within LONGEST.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from bench.soak.versions import FAULTY, RESERVE, STEADY

LONGEST = 20.0
"""Seconds for any one thing: the slow clients take up to ten of them."""

_HEAD_LINES = "host: soak.test\r\nauthorization: Bearer sk-soak\r\ncontent-type: application/json\r\n"
_DIALS = (
    "status: 429", "status: 500", "status: 503", "disconnect: before-head", "disconnect: after-head", "disconnect: 3",
    "stall: before-head", "stall: after-head", "stall: 3", "malformed: json", "malformed: http", "error-event: 2",
    "drip: 7", "first-token-ms: 300",
)  # fmt: skip
_MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 200 + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST " + STEADY.encode() + b' HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{"a":',
    b"POST " + STEADY.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    b"POST " + STEADY.encode() + b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
)


class Connected(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Kind(NamedTuple):
    """What so many clients do, each again after `pause` seconds. `behaves`: it must be served."""

    name: str
    act: Callable[[int], Awaitable[str]]
    clients: int
    pause: float
    behaves: bool = False


class Load:
    """All clients of one port. `outcomes` counts by kind and what came of it; `unserved` tells the first complaints."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.unserved: list[str] = []
        self.stop = asyncio.Event()
        self._port = port
        self._chance = chance

    async def run(self) -> None:
        """Until `stop` is set, and all have ended what they were doing."""
        kinds = (
            Kind("whole", self._whole, 8, 0.1, behaves=True),
            Kind("stream", self._stream, 16, 0.05, behaves=True),
            Kind("reserve", self._reserve, 2, 0.1, behaves=True),
            Kind("large", self._large, 1, 0.2, behaves=True),
            Kind("faulty", self._faulty, 6, 0.05),
            Kind("leaving", self._leaving, 6, 0.02),
            Kind("malformed", self._malformed, 2, 0.05),
            Kind("slow reader", self._slow_reader, 2, 0.05),
            Kind("slow sender", self._slow_sender, 2, 0.05),
        )
        await asyncio.gather(*(self._repeat(kind) for kind in kinds for _ in range(kind.clients)))

    async def _repeat(self, kind: Kind) -> None:
        while not self.stop.is_set():
            try:
                async with asyncio.timeout(LONGEST):
                    outcome = await kind.act(self._port)
            except TimeoutError:
                outcome = "not done in time"
                self.unserved.append(f"{kind.name}: {outcome}")
            except (OSError, EOFError, ValueError) as error:
                outcome = type(error).__name__
                if kind.behaves:
                    self.unserved.append(f"{kind.name}: {error!r}")
            else:
                if kind.behaves and outcome != "200":
                    self.unserved.append(f"{kind.name}: {outcome}")
                    outcome = outcome[:3]
            self.outcomes[kind.name, outcome] += 1
            await asyncio.sleep(kind.pause)

    # those that behave

    async def _whole(self, port: int) -> str:
        """Ten calls on one connection."""
        async with connected(port) as to:
            for _ in range(10):
                outcome = await _ask(to, call(STEADY))
                if outcome != "200":
                    return outcome
        return "200"

    async def _stream(self, port: int) -> str:
        async with connected(port) as to:
            return await _ask(to, call(STEADY, "tokens: 64", "tokens-per-second: 200", stream=True))

    async def _reserve(self, port: int) -> str:
        async with connected(port) as to:
            return await _ask(to, call(RESERVE, stream=self._chance.random() < 0.5))

    async def _large(self, port: int) -> str:
        async with connected(port) as to:
            return await _ask(to, call(STEADY, content="x" * 512 * 1024))

    # those that do not

    async def _faulty(self, port: int) -> str:
        async with connected(port) as to:
            return (await _ask(to, call(FAULTY, self._chance.choice(_DIALS), stream=self._chance.random() < 0.6)))[:3]

    async def _leaving(self, port: int) -> str:
        """Sends as much of a request as chance has it, and leaves when chance has it, by a close or a reset."""
        request = call(STEADY, "first-token-ms: 20", "tokens-per-second: 200", stream=True, content="y" * 2000)
        async with connected(port) as to:
            if self._chance.random() < 0.6:
                request = request[: self._chance.randrange(len(request))]
            to.writer.write(request)
            await asyncio.sleep(self._chance.random() * 0.1)
            if self._chance.random() < 0.5:
                to.writer.write_eof()
        return "left"

    async def _malformed(self, port: int) -> str:
        async with connected(port) as to:
            to.writer.write(self._chance.choice(_MALFORMED))
            to.writer.write_eof()
            return (await to.reader.read(12))[9:].decode("latin-1") or "closed"

    async def _slow_reader(self, port: int) -> str:
        """A burst of 1 MB, read 16 KiB at a time; some leave in the middle."""
        async with connected(port, receive=16384) as to:
            to.writer.write(call(STEADY, "tokens: 5000", stream=True))
            for _ in range(self._chance.randrange(20, 200)):
                if (await to.reader.read(16384)).endswith(b"0\r\n\r\n"):
                    return "all"
                await asyncio.sleep(0.02)
        return "left"

    async def _slow_sender(self, port: int) -> str:
        request = call(STEADY, content="z" * 4000)
        async with connected(port) as to:
            for start in range(0, len(request), 200):
                to.writer.write(request[start : start + 200])
                await asyncio.sleep(0.02)
            return (await _answer(to.reader))[:3]


@asynccontextmanager
async def connected(port: int, receive: int | None = None) -> AsyncIterator[Connected]:
    """A connection, cut at the end. `receive`: bytes the kernel may hold for the client, and asyncio twice that."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        if receive is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=receive or 2**20)
    except BaseException:
        sock.close()
        raise
    try:
        yield Connected(reader, writer)
    finally:
        writer.transport.abort()


def call(path: str, *dials: str, stream: bool = False, content: str = "Hello") -> bytes:
    """A chat request; each dial is a `x-simulate-` header without that."""
    body = json.dumps({"model": "simulate", "stream": stream, "messages": [{"role": "user", "content": content}]})
    lines = "".join(f"x-simulate-{dial}\r\n" for dial in dials)
    return f"POST {path} HTTP/1.1\r\n{_HEAD_LINES}{lines}content-length: {len(body)}\r\n\r\n{body}".encode()


async def _ask(to: Connected, request: bytes) -> str:
    to.writer.write(request)
    return await _answer(to.reader)


async def _answer(reader: asyncio.StreamReader) -> str:
    """The status of a whole answer, with what it says where that is not 200. Raises EOFError when it breaks off."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head[9:12].decode()
    length = head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]
    if length:
        body = await reader.readexactly(int(length))
    else:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body = (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        if status == "200" and not body.endswith(b"data: [DONE]\n\n"):
            raise EOFError("a stream without its end")
    return status if status == "200" else f"{status} {body[:300].decode('latin-1')}"
