"""The client of what wrk cannot ask: requests at a fixed rate, and streams. `python -m bench.client JSON` prints JSON.

Times are taken where bytes go out and come in, on uvloop, and told in microseconds. The client's own share in them is
that of the direct arm too, which is what they are compared with.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any, cast

import msgspec
import uvloop

from bench.arms import PATH
from bench.servers import chat_request

_END = b"0\r\n\r\n"
_PATIENCE = 30.0
"""Seconds that are waited for what is still under way at the end."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to do over so many connections, for so many seconds.

    `rate`: `rate` requests a second of `size` bytes. `streams`: a stream of `tokens` on each, begun over a second, each
    event `gap` milliseconds after the last. `bursts`: one stream after the other on each.
    """

    what: str
    port: int
    seconds: float
    connections: int
    rate: int = 0
    size: int = 1024
    gap: int = 0
    tokens: int = 64
    headers: dict[str, str] = {}


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time; `over` is called when an answer has ended, or never will."""

    def __init__(self, over: Callable[[_Connection], None]) -> None:
        self._over = over
        # Per connection
        self.transport: asyncio.WriteTransport | None = None
        self.busy = False
        # Per request
        self.asked = 0.0
        self.arrivals: list[float] = []
        self.events = 0
        self.failed = False
        self._head = b""
        self._left = -1
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by name

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if self.busy:
            self._end(failed=True)

    def ask(self, request: bytes) -> None:
        """`arrivals` are the times at which events, or other parts of a body, came in."""
        self.busy, self.failed = True, False
        self.arrivals, self.events = [], 0
        self._head, self._left, self._tail = b"", -1, b""
        if self.transport is None:
            self._end(failed=True)
            return
        self.asked = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._tail == b"":
            data = self._body(data)
            if not data:
                return
        self.arrivals.append(perf_counter())
        # An event ends with an empty line; one that is cut in the middle of it counts with what is next.
        self.events += data.count(b"\n\n") + (self._tail[-1:] == b"\n" and data[:1] == b"\n")
        self._tail = (self._tail + data)[-len(_END) :] if len(data) < len(_END) else data[-len(_END) :]
        if self._left >= 0:
            self._left -= len(data)
        if self._left == 0 or (self._left < 0 and self._tail == _END):
            self._end(failed=False)

    def _body(self, data: bytes) -> bytes:
        """The head is read once it is whole; what follows it is given back."""
        self._head += data
        head, found, body = self._head.partition(b"\r\n\r\n")
        if not found:
            return b""
        lines = head.lower().split(b"\r\n")
        self.failed = b" 200" not in lines[0]
        for line in lines:
            if line.startswith(b"content-length:"):
                self._left = int(line.partition(b":")[2])
        return body

    def _end(self, *, failed: bool) -> None:
        self.busy, self.failed = False, self.failed or failed
        self._over(self)


async def _connect(order: Order, over: Callable[[_Connection], None]) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made: list[_Connection] = []
    for _ in range(order.connections):
        _, connection = await loop.create_connection(lambda: _Connection(over), "127.0.0.1", order.port)
        made.append(connection)
    return made


async def _rate(order: Order) -> dict[str, float]:
    """Requests fall due by the clock. One for which no connection is free is missed: nothing is caught up."""
    idle: deque[_Connection] = deque()
    taken: list[float] = []
    errors = missed = 0

    def over(connection: _Connection) -> None:
        nonlocal errors
        errors += connection.failed
        if not connection.failed:
            taken.append(connection.arrivals[-1] - connection.asked)
        idle.append(connection)

    request = _request(order, chat_request(order.size))
    connections = await _connect(order, over)
    idle.extend(connections)
    began = perf_counter()
    due = 0
    while due < order.rate * order.seconds:
        await asyncio.sleep(0.001)
        while due <= (perf_counter() - began) * order.rate:
            due += 1
            if idle:
                idle.popleft().ask(request)
            else:
                missed += 1
    offered = perf_counter() - began
    await _until(lambda: any(connection.busy for connection in connections))
    unfinished = sum(connection.busy for connection in connections)
    return {
        "microseconds": offered * 1e6,
        "rate": len(taken) / offered,
        "missed": missed,
        "errors": errors + unfinished,
        "requests": len(taken),
    } | _spread("", taken)


async def _streams(order: Order) -> dict[str, float]:
    """All streams are open together for most of the time; they begin evenly over the first second."""
    firsts: list[float] = []
    gaps: list[float] = []
    errors = events = done = 0

    def over(connection: _Connection) -> None:
        nonlocal errors, events, done
        done += 1
        if connection.failed or connection.events < order.tokens:
            errors += 1
            return
        events += connection.events
        times = connection.arrivals
        firsts.append(times[0] - connection.asked)
        gaps.extend(after - before for before, after in pairwise(times))

    request = _stream_request(order, f"paced-{order.gap}-{order.gap}-{order.tokens}")
    connections = await _connect(order, over)
    began = perf_counter()
    for at, connection in enumerate(connections):
        await asyncio.sleep(max(0.0, began + at / order.connections - perf_counter()))
        connection.ask(request)
    await _until(lambda: done < order.connections, order.gap * (order.tokens + 1) / 1000)
    errors += order.connections - done
    told = {"microseconds": (perf_counter() - began) * 1e6, "events": events, "errors": errors, "requests": done}
    return told | _spread("first_", firsts) | _spread("gap_", gaps)


async def _bursts(order: Order) -> dict[str, float]:
    errors = events = done = 0
    began = perf_counter()

    def over(connection: _Connection) -> None:
        nonlocal errors, events, done
        done += 1
        errors += connection.failed
        events += connection.events
        if perf_counter() - began < order.seconds and not connection.failed:
            connection.ask(request)

    request = _stream_request(order, "burst")
    connections = await _connect(order, over)
    began = perf_counter()
    for connection in connections:
        connection.ask(request)
    await _until(lambda: any(connection.busy for connection in connections), order.seconds)
    return {"microseconds": (perf_counter() - began) * 1e6, "events": events, "errors": errors, "requests": done}


async def _until(busy: Callable[[], bool], seconds: float = 0.0) -> None:
    """As long as `busy`, and no longer than these seconds and some patience."""
    deadline = perf_counter() + seconds + _PATIENCE
    while busy() and perf_counter() < deadline:  # noqa: ASYNC110 - asked of many, none of which has to be fast
        await asyncio.sleep(0.01)


def _stream_request(order: Order, pace: str) -> bytes:
    body = {"model": "asked-for", "stream": True, "user": pace, "messages": [{"role": "user", "content": "Count."}]}
    return _request(order, msgspec.json.encode(body))


def _request(order: Order, body: bytes) -> bytes:
    named = {"host": f"127.0.0.1:{order.port}", "content-type": "application/json", **order.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST {PATH} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    """The median and the 99th percentile in microseconds; nothing of nothing."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    at99 = min(len(ordered) - 1, int(len(ordered) * 0.99))
    return {f"{name}p50": ordered[len(ordered) // 2] * 1e6, f"{name}p99": ordered[at99] * 1e6}


def main() -> int:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    ways: dict[str, Any] = {"rate": _rate, "streams": _streams, "bursts": _bursts}
    print(msgspec.json.encode(uvloop.run(ways[order.what](order))).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
