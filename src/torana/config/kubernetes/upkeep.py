"""Upkeep: what is to run for as long as the process does is begun again when it fails in a way nobody foresaw."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from torana.telemetry.trouble import Trouble

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0  # seconds before it is begun again; doubled each time
_STEADY = 30.0  # seconds; what has run for so long is well again


class Upkeep:
    """`kind` is that of the resource it is about. `stale`: what runs may be old while it fails (Trouble)."""

    def __init__(self, kind: str, what: str, run: Callable[[], Awaitable[None]], *, stale: bool = True) -> None:
        self.trouble: Trouble | None = None
        self._kind = kind
        self._what = what
        self._run = run
        self._stale = stale
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            well = asyncio.get_running_loop().call_later(_STEADY, self._well)
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - logged with its traceback, and begun again
                _log.exception("%s failed, which is a fault of Torana, and is begun again", self._what)
                words = f"{self._what} failed with {type(error).__name__} and is begun again, see the log"
                self.trouble = Trouble(self._kind, "failed", words, self._stale)
                self._failures += 1
            finally:
                well.cancel()
            await asyncio.sleep(min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10)))

    def _well(self) -> None:
        self.trouble, self._failures = None, 0
