"""Stage: where a script is performed on a connection, in its pace and with its faults.

A fault has its point: before the head, right after it, or after so many chunks. A chunk of a stream is one event. A
whole answer has a chunk every 64 octets, or as many as the drip says, and its last one is withheld when the answer is
to be incomplete, so that a disconnect is always one. No wait outlives the client: the server cancels the performance.
"""

from __future__ import annotations

import asyncio

from torana.exchange import LocalReply
from torana.http.message import Framing, date, status_line
from torana.http.server import ServerConnection
from torana.proxy.reply import render_reply
from torana.simulate.dials import AFTER_HEAD, BEFORE_HEAD, LONGEST, Dials, Malformed
from torana.simulate.failure import ApiError
from torana.simulate.script import Event, Script, Stream, Whole

_CHUNK = 64
"""Octets of a whole answer that count as one chunk: an answer of the usual length has about ten."""
_NOT_HTTP = b"This is not HTTP.\r\n\r\n"
_NOT_A_CHUNK = b"this is no chunk size\r\n"
_NOT_AN_EVENT = b'\xff\xfe is no event stream\rdata: {"id":'
_STREAM_FIELDS = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
_ERROR = (
    b"data: " + ApiError(500, "The server had an error while answering, as the request asked for.").body() + b"\n\n"
)


class _CurtainError(Exception):
    """The performance ends here: the connection has been closed, or the answer finished early."""


async def perform(script: Script, connection: ServerConnection, dials: Dials) -> None:
    """Returns when the answer is sent, or the connection is closed."""
    stage = _Stage(connection, dials)
    try:
        async with asyncio.timeout(LONGEST):
            await (stage.play(script) if isinstance(script, Stream) else stage.show(script))
    except TimeoutError:
        connection.abort()
    except _CurtainError:
        pass


class _Stage:
    """One performance. As the source of the connection's answer it waits while the client takes no more."""

    def __init__(self, connection: ServerConnection, dials: Dials) -> None:
        self._connection = connection
        self._dials = dials
        self._began = asyncio.get_running_loop().time()
        self._room = asyncio.Event()
        self._room.set()
        connection.couple(self)

    def pause(self) -> None:
        self._room.clear()

    def resume(self) -> None:
        self._room.set()

    async def show(self, whole: Whole) -> None:
        dials = self._dials
        await self._until(whole.seconds)
        await self._reach(BEFORE_HEAD)
        if dials.malformed is Malformed.HTTP:
            self._break(_NOT_HTTP)
        body = whole.body[: len(whole.body) // 2] if dials.malformed is Malformed.JSON else whole.body
        head = render_reply(LocalReply(whole.status, whole.fields, body))
        if dials.drip is None and dials.stall is None and dials.disconnect is None:
            self._connection.respond(head, body)
            return
        self._connection.start(head, Framing.LENGTH)
        self._connection.write([], before=head)
        await self._reach(AFTER_HEAD)
        size = dials.drip or _CHUNK
        for count, start in enumerate(range(0, len(body), size), start=1):
            if start + size >= len(body):
                await self._reach_end()
            await self._send(body[start : start + size])
            await self._reach(count)
        self._connection.finish()

    async def play(self, stream: Stream) -> None:
        dials = self._dials
        await self._until(dials.first_token)
        await self._reach(BEFORE_HEAD)
        head = [status_line(200), b"date: ", date(), b"\r\n", _STREAM_FIELDS]
        self._connection.start(head, Framing.CHUNKED)
        self._connection.write([], before=head)
        await self._reach(AFTER_HEAD)
        for count, event in enumerate(stream.events, start=1):
            await self._until_token(event)
            halved = dials.malformed is Malformed.JSON and count == 2
            await self._send(event.data[: len(event.data) // 2] + b"\n\n" if halved else event.data)
            await self._reach(count)
        await self._reach_end()
        self._connection.finish(chunks=[stream.done])

    # points

    async def _reach(self, point: int) -> None:
        """`point` has been reached: whatever is to happen here happens."""
        dials = self._dials
        if dials.error_event == point:
            await self._fail()
        if dials.malformed is Malformed.STREAM and point == 1:
            await self._send(_NOT_AN_EVENT)
            self._finish_early()
        if dials.malformed is Malformed.HTTP and point == 1:
            self._break(_NOT_A_CHUNK)
        if dials.disconnect == point:
            self._close()
        if dials.stall == point:
            await self._stall()

    async def _reach_end(self) -> None:
        """Faults whose point lies behind the end happen before the answer is complete."""
        dials = self._dials
        if dials.error_event is not None:
            await self._fail()
        if dials.disconnect is not None:
            self._close()
        if dials.stall is not None:
            await self._stall()

    async def _fail(self) -> None:
        await self._send(_ERROR)
        self._finish_early()

    def _finish_early(self) -> None:
        self._connection.finish()
        raise _CurtainError

    def _close(self) -> None:
        self._connection.cut()
        raise _CurtainError

    def _break(self, octets: bytes) -> None:
        """Send what HTTP has no place for, past the framing, and close."""
        self._connection.write([], before=[octets])
        self._close()

    async def _stall(self) -> None:
        await asyncio.sleep(LONGEST)

    # pace

    async def _send(self, octets: bytes) -> None:
        """Send, in drips if it is so set; always gives way to the event loop, so that each is a write of its own."""
        size = self._dials.drip or len(octets)
        for start in range(0, len(octets), size):
            await self._room.wait()
            self._connection.write([octets[start : start + size]])
            await asyncio.sleep(0 if self._dials.drip is None else self._dials.drip_delay)

    async def _until_token(self, event: Event) -> None:
        pace = self._dials.tokens_per_second
        if pace:
            await self._until(self._dials.first_token + event.token / pace)

    async def _until(self, seconds: float) -> None:
        """Until `seconds` after the request; measured from its beginning, so that delays do not add up."""
        left = self._began + seconds - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
