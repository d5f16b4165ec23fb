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
_DEBOUNCE = 0.05  # seconds to wait for further changes: one save is often several


def stamps(paths: Iterable[Path]) -> Stamps:
    """What `paths` lead to now. Taken before the files are read, it tells later whether they have changed since."""
    return {path: _stamp(path) for path in paths}


async def changes(seen: Stamps, stop: asyncio.Event) -> AsyncIterator[None]:
    """Yields each time one of the paths is no longer as it was `seen`, or was last, until `stop` is set."""
    while not await _is_set_within(stop, _INTERVAL):
        # In a thread: a network file system may keep a look waiting.
        if await asyncio.to_thread(stamps, seen) != seen and not await _is_set_within(stop, _DEBOUNCE):
            seen = await asyncio.to_thread(stamps, seen)
            yield


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
