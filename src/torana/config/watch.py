"""Tells when any of some files has changed, by whatever way it was written.

The folders are watched, not the files: editors replace files, and Kubernetes swaps a symbolic link two levels up. A
change is anything that changes what a watched path leads to: its inode, size or time of modification.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TypeAlias

from watchfiles import awatch

Stamp: TypeAlias = tuple[int, int, int]
Stamps: TypeAlias = dict[Path, Stamp | None]

_DEBOUNCE = 50  # milliseconds to wait for further changes: one save is often several
_AT_LEAST = 1000  # milliseconds between two looks, for what changed before the folders were watched, or unseen


def stamps(paths: Iterable[Path]) -> Stamps:
    """What `paths` lead to now. Taken before the files are read, it tells later whether they have changed since."""
    return {path: _stamp(path) for path in paths}


async def changes(seen: Stamps, stop: asyncio.Event) -> AsyncIterator[None]:
    """Yields each time one of the paths is no longer as it was `seen`, or was last, until `stop` is set.

    Folders that are not there are passed over.
    """
    folders = {path.absolute().parent for path in seen} | {path.resolve().parent for path in seen}
    present = [folder for folder in folders if os.access(folder, os.R_OK)]
    async for _ in awatch(
        *present,
        stop_event=stop,
        debounce=_DEBOUNCE,
        step=10,
        recursive=False,
        rust_timeout=_AT_LEAST,
        yield_on_timeout=True,
    ):
        now = stamps(seen)
        if now != seen:
            seen = now
            yield


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
