"""Budget: a brake on repetitions, so that they never make an outage worse.

Every request pays in a share of a repetition, and every repetition takes out a whole one (the retry budget of Finagle
and Envoy). What is paid in is forgotten after a while, and so is what was taken out.
"""

from __future__ import annotations

from collections import deque

import msgspec

_WINDOW = 10  # whole seconds before the one under way that count as recent
_FLOOR = 3  # repetitions there are in every window, so that a quiet route can repeat at all
_ROUNDING = 1e-9  # 0.29 * 100 is less than 29


class _Second(msgspec.Struct, gc=False):
    number: int
    requests: int = 0
    repetitions: int = 0


class Budget:
    """Of one route in one process. `share` is how many repetitions there may be to a request."""

    __slots__ = ("__weakref__", "_seconds", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._seconds: deque[_Second] = deque()

    def deposit(self, now: float) -> None:
        """A request came."""
        self._second(now).requests += 1

    def withdraw(self, now: float) -> bool:
        """Whether a request may be sent once more."""
        second = self._second(now)
        requests = sum(each.requests for each in self._seconds)
        repetitions = sum(each.repetitions for each in self._seconds)
        if self.share * requests + _FLOOR + _ROUNDING < repetitions + 1:
            return False
        second.repetitions += 1
        return True

    def _second(self, now: float) -> _Second:
        """The one under way; those that are not recent any more are forgotten."""
        number = int(now)
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
            while self._seconds[0].number < number - _WINDOW:
                self._seconds.popleft()
        return self._seconds[-1]
