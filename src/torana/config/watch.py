"""Tells when any of some files has changed, by whatever way it was written.

They are looked at five times a second: that is cheap for the few files of a configuration, and needs no limit raised,
where network file systems and mounts of a container's host tell of no changes. A change is anything that changes what a
path leads to: its inode, size or time of modification. Editors replace files, and Kubernetes swaps a symbolic link two
levels up; both are seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TypeAlias

Stamp: TypeAlias = tuple[int, int, int]
Stamps: TypeAlias = dict[Path, Stamp | None]

_INTERVAL = 0.2  # seconds between two looks
_DEBOUNCE = 0.05  # seconds without a further change: one save is often several, and half a file is often YAML, too
_PATIENCE = 40  # times: a file that is never at rest is read all the same, after 2 seconds


def stamps(paths: Iterable[Path]) -> Stamps:
    """What `paths` lead to now. Taken before the files are read, it tells later whether they have changed since."""
    return {path: _stamp(path) for path in paths}


async def changes(seen: Stamps, stop: asyncio.Event) -> AsyncIterator[None]:
    """Yields each time one of the paths is no longer as it was `seen`, or was last, until `stop` is set."""
    while not await _is_set_within(stop, _INTERVAL):
        # In a thread, as all that follow: a network file system may keep a look waiting.
        now = await asyncio.to_thread(stamps, seen)
        if now != seen:
            seen = await _at_rest(now, stop)
            if not stop.is_set():
                yield


async def _at_rest(now: Stamps, stop: asyncio.Event) -> Stamps:
    """What the paths are when nothing changes any more, at the end of all patience, or when `stop` is set."""
    for _ in range(_PATIENCE):
        if await _is_set_within(stop, _DEBOUNCE):
            break
        before, now = now, await asyncio.to_thread(stamps, now)
        if now == before:
            break
    return now


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a NUL, which is no file's
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
