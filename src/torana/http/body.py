"""A body as it arrives: one parser feeds it, one consumer takes it, and neither runs ahead of the other.

A consumer takes it in one of two ways. `gather()` waits for all of it. `attach()` hands every piece to a callback in
the turn of the event loop in which it was received: no task is woken for a streamed event. What nobody takes yet is
buffered, and above HIGH_WATER the source is asked to stop reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from torana.errors import GatewayError, Reason

HIGH_WATER = 256 * 1024
"""Bytes buffered before the source is paused; one receive of the event loop (256 KiB) at most comes on top."""


class Source(Protocol):
    """The connection a body is read from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class _Gone:
    def pause(self) -> None:
        """Nothing comes any more."""

    def resume(self) -> None:
        """The same."""


_GONE: Final = _Gone()


class Body:
    """The octets of one message. `done` is set when all have been fed, `error` when they never will be."""

    __slots__ = (
        "_chunks", "_ended", "_held", "_loop", "_sink", "_source", "_waiter", "_wanted", "done", "error", "size",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: Source, wanted: Callable[[], None] | None = None
    ) -> None:
        self._loop = loop
        self._source = source
        self._wanted = wanted  # told once, when the body is first taken and nothing has come: time for `100 Continue`
        self._chunks: list[bytes] = []
        self._held = 0
        self._sink: Callable[[list[bytes]], None] | None = None
        self._ended: Callable[[], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.size = 0
        self.done = False
        self.error: GatewayError | None = None

    # the parser's side

    def feed(self, chunks: list[bytes], size: int) -> None:
        """`size` octets in `chunks` have arrived; the list is the body's from here on."""
        self.size += size
        if self._sink is not None:
            self._sink(chunks)
            return
        self._chunks += chunks
        self._held += size
        if self._held > HIGH_WATER and self._waiter is None:
            self._source.pause()
        elif self._waiter is not None:
            self._wake()

    def end(self) -> None:
        self.done = True
        if self._sink is not None or self._ended is not None or self._waiter is not None:
            self._over()

    def fail(self, error: GatewayError) -> None:
        """No more will come: whoever waits, now or later, gets `error`."""
        if not self.done:
            self.error = error
            self._over()

    def lose_source(self) -> None:
        """The connection is gone: nothing comes any more, and what it has left behind is not to hold it."""
        self._source = _GONE
        self._wanted = self._sink = self._ended = None

    # the consumer's side

    async def gather(self, limit: int, grow: Callable[[int], None] | None = None) -> bytes:
        """The whole body. Raises BODY_TOO_LARGE over `limit` octets, or the error the body failed with.

        `grow` is told how many octets are held whenever more of them have come, and may raise that they are too many.
        """
        if self._wanted is not None:
            self._want()
        while not self.done:
            if self.error is not None:
                raise self.error
            if self.size > limit:
                break
            if grow is not None:
                grow(self._held)
            self._source.resume()
            await self._wait()
        if self.size > limit:
            raise too_large(limit)
        chunks, self._chunks, self._held = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def peek(self, limit: int, grow: Callable[[int], None] | None = None) -> bytes:
        """The beginning of the body, all of it if it is no longer than `limit` octets; it stays to be taken.

        `grow` is as for `gather`.
        """
        if self._wanted is not None:
            self._want()
        while not self.done and self._held <= limit:
            if self.error is not None:
                raise self.error
            if grow is not None:
                grow(self._held)
            self._source.resume()
            await self._wait()
        return b"".join(self._chunks)

    async def more(self) -> list[bytes]:
        """What has arrived, as soon as something has; nothing at the end. Raises the error the body failed with."""
        while not self._chunks and not self.done:
            if self.error is not None:
                raise self.error
            self._source.resume()
            await self._wait()
        return self.take()

    def take(self) -> list[bytes]:
        """What has arrived so far, without waiting."""
        if self._wanted is not None:
            self._want()
        chunks, self._chunks, self._held = self._chunks, [], 0
        return chunks

    def attach(self, sink: Callable[[list[bytes]], None], ended: Callable[[], None] | None = None) -> None:
        """From now on every piece goes to `sink` as it is received; what is buffered goes first.

        `ended` is called once when there will be no more, be it `done` or `error`.
        """
        chunks = self.take()
        self._sink = sink
        self._source.resume()  # before `sink` is called, which may well pause it
        if chunks:
            sink(chunks)
        if not self.done and self.error is None:
            self._ended = ended
        elif ended is not None:
            ended()

    async def finished(self) -> None:
        """Until the end has been fed to the sink, which alone says how fast. Raises the error the body failed with."""
        while not self.done:
            if self.error is not None:
                raise self.error
            await self._wait()

    # inside

    def _want(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not self.done and not self.size:  # who sends is not waiting (RFC 9110, 10.1.1)
            wanted()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _over(self) -> None:
        ended, self._ended = self._ended, None
        self._sink = None  # whatever it holds on to is not kept for as long as the connection
        if ended is not None:
            ended()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def too_large(limit: int) -> GatewayError:
    return GatewayError(
        Reason.BODY_TOO_LARGE,
        f"The request body is larger than the limit of {limit:,} bytes. Send a smaller one, or raise "
        "frontendPolicies.http.maxBufferSize in the gateway's configuration.",
    )
