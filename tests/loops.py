"""uvloop's event loops, in which a test that hangs is ended by its timeout, at the line at which it waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop that gives up what it runs when pytest-timeout's signal comes; uvloop alone only logs what is raised."""
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_handle)
    return loop


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    loop.default_exception_handler(context)
    error = context.get("exception")
    if isinstance(error, pytest.fail.Exception):
        for task in asyncio.all_tasks(loop):
            task.cancel(str(error))
