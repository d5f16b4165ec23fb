"""Idle upstream connections, kept for the next request to the same address.

The pool outlives every snapshot: a reload does not close a connection that the new configuration still uses. A `Lane`
is the part of it for one address; a snapshot holds the lanes it needs, so that a request looks nothing up. The most
recently used connection is taken first, so that the others can grow old and be closed.
"""

from __future__ import annotations

from typing import NamedTuple

from torana.http.client import UpstreamConnection
from torana.http.dial import Address, Dialler
from torana.http.sweep import Sweep, intervals


class Pool:
    """Lanes by Address; at most `max_idle` connections wait in each, none longer than `idle_timeout` seconds."""

    def __init__(self, dialler: Dialler, sweep: Sweep, idle_timeout: float, max_idle: int) -> None:
        self.dialler = dialler
        self.max_idle = max_idle
        self.now = 0
        self._sweep = sweep
        self._idle_intervals = intervals(idle_timeout)
        self._lanes: dict[Address, Lane] = {}
        sweep.members.add(self)

    def lane(self, address: Address) -> Lane:
        """The lane of `address`, the same one for as long as some snapshot uses it."""
        lane = self._lanes.get(address)
        if lane is None:
            lane = self._lanes[address] = Lane(self, address)
        return lane

    def keep_only(self, used: set[Address]) -> None:
        """Close what waits for other addresses than these; their busy connections close after their answer."""
        for address in self._lanes.keys() - used:
            self._lanes.pop(address).retire()

    @property
    def idle_count(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def swept(self) -> None:
        self.now += 1
        for lane in self._lanes.values():
            lane.close_older_than(self.now - self._idle_intervals)

    def close(self) -> None:
        self._sweep.members.discard(self)
        self.keep_only(set())


class _Idle(NamedTuple):
    connection: UpstreamConnection
    since: int


class Lane:
    """The connections to one address that wait for a request."""

    __slots__ = ("_pool", "_retired", "address", "waiting")

    def __init__(self, pool: Pool, address: Address) -> None:
        self._pool = pool
        self._retired = False
        self.address = address
        self.waiting: list[_Idle] = []

    def take(self) -> UpstreamConnection | None:
        """A connection that waits here, or None."""
        while self.waiting:
            connection = self.waiting.pop().connection
            connection.leave_pool()
            if connection.reusable:
                return connection
        return None

    async def connect(self) -> UpstreamConnection:
        """A fresh connection. Raises CONNECT_FAILED or CONNECT_TIMEOUT."""
        return await self._pool.dialler.dial(self.address)

    def give(self, connection: UpstreamConnection) -> None:
        """Keep `connection` for the next request if it can have one, else close it."""
        if not connection.reusable or self._retired or len(self.waiting) >= self._pool.max_idle:
            connection.close()
            return
        self.waiting.append(_Idle(connection, self._pool.now))
        connection.join_pool(self._closed)

    def close_older_than(self, since: int) -> None:
        while self.waiting and self.waiting[0].since <= since:
            self._close(self.waiting.pop(0))

    def retire(self) -> None:
        self._retired = True
        while self.waiting:
            self._close(self.waiting.pop())

    def _close(self, idle: _Idle) -> None:
        idle.connection.leave_pool()
        idle.connection.close()

    def _closed(self, connection: UpstreamConnection) -> None:
        """The upstream ended a connection that waited here."""
        self.waiting = [idle for idle in self.waiting if idle.connection is not connection]
