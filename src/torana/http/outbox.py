"""What is written in one turn of the event loop goes out together at its end.

A turn serves every connection that had something to read. Written one by one in between, each answer wakes its receiver
while the next is still being made, and a wake costs as much as the answer; written together, one wake is often enough.
Nothing waits for another turn. Measured in docs/adr/0004-writes-go-out-together.md.
"""

from __future__ import annotations

import asyncio

LARGE = 32 * 1024
"""Bytes: beside the copying of these, a wake is nothing, and a write of several pieces costs less than joining them."""

_MOST = 256 * 1024  # bytes that wait for the end of a turn; a client may pipeline thousands of requests in one


class Outbox:
    """The writes of this turn, in order. Before a transport is closed or ended, `flush`."""

    __slots__ = ("_held", "_writes")

    def __init__(self) -> None:
        self._writes: list[tuple[asyncio.WriteTransport, bytes]] = []
        self._held = 0

    def write(
        self, transport: asyncio.WriteTransport, data: bytes, behind: tuple[bytes | memoryview, ...] = ()
    ) -> None:
        """`data`, and `behind` it what is too large to be joined with it.

        Large writes go at once, so that a receiver that is slow is noticed before more is read for it.
        """
        if behind:
            self.flush()
            transport.writelines((data, *behind))
            return
        if len(data) > LARGE:
            self.flush()
            transport.write(data)
            return
        if not self._writes:
            asyncio.get_running_loop().call_soon(self.flush)
        self._writes.append((transport, data))
        self._held += len(data)
        if self._held > _MOST:
            self.flush()

    def flush(self) -> None:
        writes, self._writes, self._held = self._writes, [], 0
        for transport, data in writes:
            if not transport.is_closing():  # its other end has left meanwhile
                transport.write(data)
