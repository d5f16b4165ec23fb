"""Drops: clients that open a connection and leave, each at a stage of a request that is chosen beforehand.

The upstream is in this process too, so that a client which is to leave while it waits knows that its request has
arrived. Half of the clients leave by closing, the others by a reset (TCP RST).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from enum import Enum
from itertools import cycle
from typing import Self, cast

AT_ONCE = 48
"""Clients at a time."""
TIMEOUT = 30.0
"""Seconds that any of them may take; only a broken gateway takes nearly as long."""

CALL = "/ai/v1/chat/completions"
"""The path of a route whose body the gateway reads."""
PLAIN = "/plain/upload"
"""That of a route whose body it passes on as it comes."""

_NUMBER = re.compile(rb"\r\nx-number: (\d+)\r\n", re.IGNORECASE)
_BODY = b'{"model":"m","messages":[],"stream":true}'
_BEGINNING = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b'39\r\ndata: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n\r\n'
)


class Stage(Enum):
    """Where a client leaves. Those of TLS_HELLO and TLS_HALF_HELLO are in the middle of a handshake."""

    BEFORE_A_BYTE = "before a byte"
    MID_HEAD = "in its head"
    AFTER_HEAD = "after its head"
    MID_BODY = "in a body that is read"
    MID_UPLOAD = "in a body that is passed on"
    SENT = "right behind its request, while the gateway connects"
    WAITING = "while it waits for its answer"
    MID_STREAM = "in its stream"
    TLS_HALF_HELLO = "in its TLS hello"
    TLS_HELLO = "after its TLS hello"
    TLS_WAITING = "while it waits for its answer over TLS"


_UNENCRYPTED = [stage for stage in Stage if not stage.name.startswith("TLS")]


class Upstream:
    """Takes requests, tells of each by its number, and begins an answer to those of MID_STREAM; it ends none."""

    def __init__(self) -> None:
        self.port = 0
        self.open = 0
        self.arrived: dict[int, asyncio.Event] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Call(self), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()


class _Call(asyncio.Protocol):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._upstream.open += 1
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, _: Exception | None) -> None:
        self._upstream.open -= 1

    def data_received(self, data: bytes) -> None:
        self._held += data
        if b"\r\n\r\n" in self._held:
            found = _NUMBER.search(self._held)
            assert found, "every client has a number"
            if b"x-stage: MID_STREAM" in self._held:
                self._transport.write(_BEGINNING)
            arrived = self._upstream.arrived.get(int(found[1]))
            if arrived is not None:  # else its client has left
                arrived.set()
            self._held = b""


class Drops:
    """Clients of two ports, one of them with TLS, in front of `upstream`. `dropped` counts those that have left."""

    def __init__(self, port: int, tls_port: int, upstream: Upstream, trusted: ssl.SSLContext, name: str) -> None:
        self.dropped = 0
        self._port = port
        self._tls_port = tls_port
        self._upstream = upstream
        self._trusted = trusted
        self._name = name
        self._hello = _hello(trusted, name)

    async def run(self, first: int, count: int) -> int:
        """`count` clients, numbered from `first`, the stages by turns. How many connections without TLS there were."""
        turns = zip(range(first, first + count), cycle(Stage))
        return sum(await asyncio.gather(*(self._take_turns(turns) for _ in range(AT_ONCE))))

    async def _take_turns(self, turns: Iterator[tuple[int, Stage]]) -> int:
        unencrypted = 0
        for number, stage in turns:
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._drop(number, stage)
            except TimeoutError:
                raise AssertionError(f"client {number}, which leaves {stage.value}, waited in vain") from None
            self.dropped += 1
            unencrypted += stage in _UNENCRYPTED
        return unencrypted

    async def _drop(self, number: int, stage: Stage) -> None:
        if stage is Stage.TLS_WAITING:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._tls_port, ssl=self._trusted, server_hostname=self._name
            )
        else:
            port = self._port if stage in _UNENCRYPTED else self._tls_port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        arrived = self._upstream.arrived[number] = asyncio.Event()
        try:
            writer.write(self._sent(number, stage))
            if stage in (Stage.WAITING, Stage.TLS_WAITING, Stage.MID_UPLOAD):
                await arrived.wait()
            elif stage is Stage.MID_STREAM:
                await reader.readuntil(b'"Hi"')
            elif stage is Stage.TLS_HELLO:
                await reader.read(1)
        finally:
            del self._upstream.arrived[number]
            if number // len(Stage) % 2:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _sent(self, number: int, stage: Stage) -> bytes:
        if stage in (Stage.TLS_HELLO, Stage.TLS_HALF_HELLO):
            return self._hello[: len(self._hello) // (2 if stage is Stage.TLS_HALF_HELLO else 1)]
        head = _head(number, stage)
        match stage:
            case Stage.BEFORE_A_BYTE:
                return b""
            case Stage.MID_HEAD:
                return head[: len(head) // 2]
            case Stage.AFTER_HEAD:
                return head
            case Stage.MID_BODY | Stage.MID_UPLOAD:
                return head + _BODY[: len(_BODY) // 2]
            case Stage.SENT | Stage.WAITING | Stage.MID_STREAM | Stage.TLS_WAITING:
                return head + _BODY


def _head(number: int, stage: Stage) -> bytes:
    path = PLAIN if stage is Stage.MID_UPLOAD else CALL
    return (
        f"POST {path} HTTP/1.1\r\nhost: gateway.test\r\nx-number: {number}\r\nx-stage: {stage.name}\r\n"
        f"content-length: {len(_BODY)}\r\n\r\n"
    ).encode()


def _hello(trusted: ssl.SSLContext, name: str) -> bytes:
    """The first flight of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    client = trusted.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake takes two")
