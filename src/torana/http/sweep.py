"""One coarse timer for everything that may wait too long.

A timer per wait costs more than the wait is worth. Instead each connection counts how many sweeps it has been quiet
for; receiving something sets the count to zero. Precision is one interval, which is plenty for limits of seconds.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from torana.http.outbox import Outbox

INTERVAL = 0.25
"""Seconds between two sweeps: the error of every limit kept by them; 2,000 connections cost about 1 ms a second."""

_log = logging.getLogger(__name__)


class Swept(Protocol):
    def swept(self) -> None:
        """One interval has passed."""


def intervals(seconds: float) -> int:
    """How many sweeps a limit of `seconds` lasts, at least one."""
    return max(1, round(seconds / INTERVAL))


class Sweep:
    """Calls `swept()` on every member each INTERVAL; members join and leave by themselves.

    It is what all connections of a worker share, and so holds their `outbox` too.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._handle: asyncio.TimerHandle | None = None
        self.members: set[Swept] = set()
        self.outbox = Outbox()

    def start(self) -> None:
        """Begin, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(INTERVAL, self._run)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = self._loop.call_later(INTERVAL, self._run)
        for member in tuple(self.members):
            try:
                member.swept()
            except Exception:  # noqa: BLE001 - one member's fault must not stop the clock of all others
                _log.exception("a timed check failed")
