"""Deadlines: how long a request may take, until its answer begins and while it lasts.

Waits for an answer to begin are bounded where they are made. What bounds an answer under way ends the connection it
comes on, so that it ends as any answer does that breaks off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple, TypeVar

from torana.errors import GatewayError, Reason
from torana.http.client import UpstreamConnection
from torana.model.policy import Timeout
from torana.proxy.inbound import Inbound

_T = TypeVar("_T")

_TOTAL = "timeout.totalTimeout"


class Limit(NamedTuple):
    """Seconds, and the field of the configuration that says so, as in `timeout.requestTimeout`."""

    name: str
    seconds: float


class RanOutError(GatewayError):
    """UPSTREAM_TIMEOUT, of a limit that the configuration sets."""

    def __init__(self, limit: Limit) -> None:
        when = "had not ended" if limit.name == _TOTAL else "did not begin"
        message = f"The upstream's answer {when} within the {limit.name} of {limit.seconds:g} s."
        super().__init__(Reason.UPSTREAM_TIMEOUT, message)
        self.limit = limit


def shortest(*limits: tuple[str, float | None]) -> Limit | None:
    """The one that ends first, of those that are set."""
    given = [Limit(name, seconds) for name, seconds in limits if seconds is not None]
    return min(given, key=lambda limit: limit.seconds) if given else None


async def within(work: Awaitable[_T], limit: Limit, over: float = 0.0, inbound: Inbound | None = None) -> _T:
    """`work`, until its answer begins; `over` seconds of the limit are over.

    Raises UPSTREAM_TIMEOUT, or REQUEST_TIMEOUT where it was waiting for the client's body, naming the limit.
    """
    try:
        async with asyncio.timeout(limit.seconds - over):
            return await work
    except TimeoutError:
        if inbound is not None and inbound.gathering:
            message = f"The request's body did not arrive within the {limit.name} of {limit.seconds:g} s."
            raise GatewayError(Reason.REQUEST_TIMEOUT, message) from None
        raise RanOutError(limit) from None


@contextmanager
def lasting(connection: UpstreamConnection, timeout: Timeout, started: float) -> Iterator[None]:
    """Bound the answer that comes on `connection` to a request that came at `started` (of perf_counter)."""
    handle = None
    if timeout.stream_idle is not None:
        connection.bound_silence(timeout.stream_idle)
    if timeout.total is not None:
        error = RanOutError(Limit(_TOTAL, timeout.total))
        left = started + timeout.total - perf_counter()
        handle = asyncio.get_running_loop().call_later(max(left, 0), connection.abandon, error)
    try:
        yield
    finally:
        if handle is not None:
            handle.cancel()
