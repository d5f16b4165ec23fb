"""delay: a pause before a request goes on, to see how clients take a slow upstream."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from torana.exchange import Exchange
from torana.model.policy import Delay
from torana.policies.expression import Sees, compile_optional

_LONGEST = 3600.0  # seconds; what an expression makes of a header must not hold a request for ever


class DelayPolicy:
    """Waits for a fixed time, or for what an expression says: a duration, or a number of seconds.

    An expression without a value, or with another, is no delay. A client that leaves ends the wait.
    """

    def __init__(self, delay: Delay) -> None:
        self._seconds = min(delay.seconds, _LONGEST)
        self._expression = compile_optional(delay.expression, Sees.REQUEST)

    async def wait(self, exchange: Exchange, _: object) -> None:
        await asyncio.sleep(self.seconds(exchange))

    def seconds(self, exchange: Exchange) -> float:
        if self._expression is None:
            return self._seconds
        match self._expression.evaluate(exchange):
            case timedelta() as length:
                return min(max(length.total_seconds(), 0.0), _LONGEST)
            case bool():
                return 0.0
            case int() | float() as seconds if seconds > 0:  # not so NaN
                return min(float(seconds), _LONGEST)
            case _:
                return 0.0
