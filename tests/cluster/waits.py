"""Waits of the tests on a cluster: as long as a loaded machine may need, for each ends as soon as it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tests.e2e import harness

PATIENCE = 60.0  # seconds

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """The first true value of `condition`."""
    return harness.until(condition, what, timeout)


def seconds_until(condition: Callable[[], object], what: str) -> float:
    """How long it took for `condition` to hold."""
    started = time.monotonic()
    until(condition, what)
    return time.monotonic() - started


async def soon(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """As `until`, without holding up what is waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not condition():
        assert loop.time() < deadline, f"waited {timeout:g} s for {what}"
        await asyncio.sleep(0.01)
