"""Load: many clients at once, and upstreams whose mood changes, in one event loop of this process.

The clients ask for whole answers and for streams by turns, and count what they did not get complete.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from enum import Enum
from typing import Self, cast

from tests.e2e.stand_in import completion, delta
from tests.ports import free_port

SLOW = 0.05
"""Seconds before an answer of an upstream that is slow."""

_STOP = {**delta(""), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
_WHOLE = json.dumps(completion()).encode()
_EVENTS = [f"data: {json.dumps(event)}\n\n".encode() for event in (delta("Hello"), delta(" there"), _STOP)]
_STREAM = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in (*_EVENTS, b"data: [DONE]\n\n")) + b"0\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_WHOLE), _WHOLE)
_STREAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + _STREAM
_THROTTLED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"


class Mood(Enum):
    UP = "answers at once"
    DOWN = "refuses connections; those that were open are reset"
    THROTTLED = "answers 429, without retry-after"
    SLOW = "answers late"


class Provider:
    """An upstream that answers calls of one piece each, according to its mood."""

    def __init__(self) -> None:
        self.mood = Mood.UP
        self.port = free_port()  # which stays its own while it is down
        self.answered = 0
        self.open: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Call(self), "127.0.0.1", self.port)
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in tuple(self.open):
            transport.abort()

    async def turn(self, mood: Mood) -> None:
        if mood is Mood.DOWN:
            self.stop()
        elif self._server is None:
            await self.start()
        self.mood = mood


class _Call(asyncio.Protocol):
    """A connection of the gateway, one request at a time."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._provider.open.add(self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._provider.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, body = self._held.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return
        self._held = b""
        answer = _STREAMED if b'"stream":true' in body else _ANSWER
        if self._provider.mood is Mood.SLOW:
            asyncio.get_running_loop().call_later(SLOW, self._answer, answer)
        else:
            self._answer(_THROTTLED if self._provider.mood is Mood.THROTTLED else answer)

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._provider.answered += answer is not _THROTTLED
            self._transport.write(answer)


class Clients:
    """What many clients got. `unserved` tells of every request that got no complete answer, in a few words.

    Each waits for `pause` seconds after an answer.
    """

    def __init__(self, port: int, host: str = "gateway.test", pause: float = 0.0) -> None:
        self.served = 0
        self.unserved: list[str] = []
        self.stop = asyncio.Event()
        self._port = port
        self._host = host
        self._pause = pause

    async def ask(self, clients: int, requests: int) -> None:
        """`requests` in all, as many at a time as there are clients; fewer when `stop` is set."""
        numbers = iter(range(requests))
        await asyncio.gather(*(self._client(numbers) for _ in range(clients)))

    async def _client(self, numbers: Iterator[int]) -> None:
        reader = writer = None
        for number in numbers:
            if self.stop.is_set():
                break
            try:
                async with asyncio.timeout(30):
                    if reader is None or writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.write(self._request(stream=bool(number % 2)))
                    head, body = await _answer(reader)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.unserved.append(repr(error))
                head = b"\r\nconnection: close"
            else:
                self._count(head, body)
            if writer is not None and b"\r\nconnection: close" in head.lower():
                writer.close()
                reader = writer = None
            await asyncio.sleep(self._pause)
        if writer is not None:
            writer.close()

    def _request(self, *, stream: bool) -> bytes:
        body = b'{"model":"m","messages":[],"stream":%b}' % (b"true" if stream else b"false")
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n"
        return (head % (self._host, len(body))).encode() + body

    def _count(self, head: bytes, body: bytes) -> None:
        whole = body == _WHOLE or body == b"".join((*_EVENTS, b"data: [DONE]\n\n"))
        if head.startswith(b"HTTP/1.1 200 ") and whole:
            self.served += 1
        else:
            self.unserved.append(f"{head[:40]!r} {body[-300:]!r}")


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Raises asyncio.IncompleteReadError, an EOFError."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]
    if length:
        return head, await reader.readexactly(int(length))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return head, body
