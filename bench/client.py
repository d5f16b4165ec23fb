"""The client of what wrk cannot ask: requests at a fixed rate, and streams. `python -m bench.client JSON` prints JSON.

Times are taken where bytes go out and come in, on uvloop, and told in microseconds. The client's own share in them is
that of the direct arm too, which is what they are compared with.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

import msgspec
import uvloop

from bench.arms import PATH
from bench.servers import chat_request
from torana.cli.load import Connection, Place, at_rate

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


async def _connect(order: Order, over: Callable[[Connection], None]) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    for _ in range(order.connections):
        _, connection = await loop.create_connection(lambda: Connection(over), "127.0.0.1", order.port)
        made.append(connection)
    return made


async def _rate(order: Order) -> dict[str, float]:
    request = _request(order, chat_request(order.size))
    load = await at_rate(Place("127.0.0.1", order.port), request, order.rate, order.connections, order.seconds)
    return {
        "microseconds": load.seconds * 1e6,
        "rate": load.rate,
        "missed": load.missed,
        "errors": load.failed,
        "requests": len(load.times),
    } | _spread("", load.times)


async def _streams(order: Order) -> dict[str, float]:
    """All streams are open together for most of the time; they begin evenly over the first second."""
    firsts: list[float] = []
    gaps: list[float] = []
    errors = events = done = 0

    def over(connection: Connection) -> None:
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

    def over(connection: Connection) -> None:
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
