"""Budget: a brake on repetitions, so that they never make an outage worse.

Every request pays in a share of a repetition, and every repetition takes out a whole one (the retry budget of Finagle
and Envoy). What is paid in is forgotten after a while.
"""

from __future__ import annotations

from collections import deque

_WINDOW = 10.0  # seconds that count as recent
_FLOOR = 3.0  # repetitions there are in every window, so that a quiet route can repeat at all


class Budget:
    """Of one route in one process. `share` is how many repetitions there may be to a request."""

    __slots__ = ("_balance", "_second", "_seconds", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._second = 0
        self._balance = 0.0  # of the window, withdrawals taken off
        self._seconds: deque[tuple[int, float]] = deque()

    def deposit(self, now: float) -> None:
        """A request came."""
        self._add(now, self.share)

    def withdraw(self, now: float) -> bool:
        """Whether a request may be sent once more."""
        self._forget(now)
        if self._balance + _FLOOR < 1:
            return False
        self._add(now, -1.0)
        return True

    def _add(self, now: float, amount: float) -> None:
        second = int(now)
        self._balance += amount
        if self._seconds and self._seconds[-1][0] == second:
            amount += self._seconds.pop()[1]
        self._seconds.append((second, amount))
        if len(self._seconds) > _WINDOW + 1:
            self._forget(now)

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - _WINDOW - 1:
            self._balance -= self._seconds.popleft()[1]
