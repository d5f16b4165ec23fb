"""Load on one HTTP/1.1 server: requests at a fixed rate, or as many as it takes. Times are those of the bytes."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, cast

_LAST_CHUNK = b"0\r\n\r\n"
_TICK = 0.001  # seconds between two looks at what has fallen due; uvloop's timers know no less
_PATIENCE = 10.0  # seconds that are waited for the answers still under way at the end


class Place(NamedTuple):
    """Where a server is. `name` is whose certificate is asked for, where there is TLS."""

    host: str
    port: int
    unix: str | None = None
    tls: ssl.SSLContext | None = None
    name: str | None = None


class Load(NamedTuple):
    """What came of it: `times` in seconds of the answers that were good, and one of the others, if there were any.

    `missed` are requests that fell due while no connection was free; nothing is caught up.
    """

    times: list[float]
    seconds: float
    failed: int
    missed: int
    complaint: str

    def percentile(self, share: float) -> float:
        """Seconds; 0 without an answer."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds


class Connection(asyncio.Protocol):
    """One connection, one request at a time; `over` is called when an answer has ended, or never will."""

    def __init__(self, over: Callable[[Connection], None]) -> None:
        self._over = over
        # Per connection
        self.transport: asyncio.WriteTransport | None = None
        self.busy = False
        # Per request
        self.asked = 0.0
        self.arrivals: list[float] = []
        """When parts of the body came in."""
        self.events = 0
        self.failed = False
        self.head = b""
        self.tail = b""
        self._in_body = False
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by name

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if self.busy:
            self._end(failed=True)

    def ask(self, request: bytes) -> None:
        self.busy, self.failed = True, False
        self.arrivals, self.events = [], 0
        self.head, self.tail = b"", b""
        self._in_body, self._left = False, -1
        if self.transport is None:
            self._end(failed=True)
            return
        self.asked = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            data = self._body(data)
            if not data and self._left != 0:
                return
        self.arrivals.append(perf_counter())
        # An event ends with an empty line; one that is cut in the middle of it counts with what is next.
        self.events += data.count(b"\n\n") + (self.tail[-1:] == b"\n" and data[:1] == b"\n")
        self.tail = (self.tail + data)[-len(_LAST_CHUNK) :] if len(data) < len(_LAST_CHUNK) else data[-200:]
        if self._left >= 0:
            self._left -= len(data)
        if self._left == 0 or (self._left < 0 and self.tail.endswith(_LAST_CHUNK)):
            self._end(failed=False)

    def _body(self, data: bytes) -> bytes:
        """The head is read once it is whole; what follows it is given back."""
        self.head, found, body = (self.head + data).partition(b"\r\n\r\n")
        if not found:
            return b""
        lines = self.head.lower().split(b"\r\n")
        self._in_body = True
        self.failed = b" 200" not in lines[0]
        for line in lines:
            if line.startswith(b"content-length:"):
                self._left = int(line.partition(b":")[2])
        return body

    def _end(self, *, failed: bool) -> None:
        self.busy, self.failed = False, self.failed or failed
        self._over(self)


class _Crowd:
    """Connections to one place, that are made anew when they were closed; `free` is called with each that is."""

    def __init__(self, place: Place, free: Callable[[Connection], None]) -> None:
        self._place = place
        self.free = free
        self._open: set[Connection] = set()
        self._making: set[asyncio.Task[None]] = set()
        self.times: list[float] = []
        self.failed = 0
        self.complaint = ""

    async def connect(self) -> None:
        """One more. Raises OSError."""
        loop = asyncio.get_running_loop()
        place = self._place
        name = place.name if place.tls is not None else None
        if place.unix is not None:
            _, made = await loop.create_unix_connection(
                lambda: Connection(self._over), place.unix, ssl=place.tls, server_hostname=name
            )
        else:
            _, made = await loop.create_connection(
                lambda: Connection(self._over), place.host, place.port, ssl=place.tls, server_hostname=name
            )
        self._open.add(made)
        self.free(made)

    def replace(self, closed: Connection) -> None:
        self._open.discard(closed)
        task = asyncio.get_running_loop().create_task(self._reconnect())
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    async def _reconnect(self) -> None:
        try:
            await self.connect()
        except OSError as error:
            self.failed += 1
            self.complaint = self.complaint or str(error)

    def _over(self, connection: Connection) -> None:
        if connection.failed:
            self.failed += 1
            if not self.complaint:
                said = (connection.head.partition(b"\r\n")[0] + b" " + connection.tail).decode("latin-1").strip()
                self.complaint = said or "the connection was closed before the answer"
        else:
            self.times.append(connection.arrivals[-1] - connection.asked)
        if connection.transport is None or b"\r\nconnection: close" in connection.head.lower():
            self.replace(connection)
        else:
            self.free(connection)

    async def finish(self) -> None:
        """Wait for what is under way, and close."""
        deadline = perf_counter() + _PATIENCE
        while any(each.busy for each in self._open) and perf_counter() < deadline:  # noqa: ASYNC110 - of many
            await asyncio.sleep(0.01)
        if silent := sum(each.busy for each in self._open):
            self.failed += silent
            self.complaint = self.complaint or f"no answer, {_PATIENCE:g} s after the last request"
        for task in self._making:
            task.cancel()
        for each in self._open:
            each.busy = False
            if each.transport is not None:
                each.transport.close()


async def at_rate(place: Place, request: bytes, rate: float, connections: int, seconds: float) -> Load:
    """So many requests a second, by the clock. Raises OSError when there is nobody."""
    idle: deque[Connection] = deque()
    crowd = _Crowd(place, idle.append)
    for _ in range(connections):
        await crowd.connect()
    began, due, missed = perf_counter(), 0, 0
    while due < rate * seconds:
        await asyncio.sleep(_TICK)
        while due <= (perf_counter() - began) * rate:
            due += 1
            while idle and idle[0].transport is None:
                crowd.replace(idle.popleft())
            if idle:
                idle.popleft().ask(request)
            else:
                missed += 1
    took = perf_counter() - began
    await crowd.finish()
    return Load(crowd.times, took, crowd.failed, missed, crowd.complaint)


async def flat_out(place: Place, request: bytes, connections: int, seconds: float) -> Load:
    """The next request as soon as the last is answered, on each connection. Raises OSError when there is nobody."""
    end = float("inf")

    def free(connection: Connection) -> None:
        if perf_counter() < end:
            connection.ask(request)

    idle: list[Connection] = []
    crowd = _Crowd(place, idle.append)
    for _ in range(connections):
        await crowd.connect()
    crowd.free = free
    began = perf_counter()
    end = began + seconds
    for connection in idle:
        connection.ask(request)
    await asyncio.sleep(seconds)
    took = perf_counter() - began
    await crowd.finish()
    return Load(crowd.times, took, crowd.failed, 0, crowd.complaint)
