"""Tells when any of some files has changed, by whatever way it was written.

The folders are watched, not the files: editors replace files, and Kubernetes swaps a symbolic link two levels up. A
change is anything that changes what a watched path leads to: its inode, size or time of modification.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from watchfiles import awatch

_DEBOUNCE = 50  # milliseconds to wait for further changes: one save is often several


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


async def changes(paths: Iterable[Path], stop: asyncio.Event) -> AsyncIterator[None]:
    """Yields each time one of `paths` has changed, until `stop` is set. Folders that are not there are passed over."""
    files = sorted(set(paths))
    folders = {path.absolute().parent for path in files} | {path.resolve().parent for path in files}
    present = [folder for folder in folders if os.access(folder, os.R_OK)]
    stamps = [_stamp(path) for path in files]
    async for _ in awatch(*present, stop_event=stop, debounce=_DEBOUNCE, step=10, recursive=False):
        now = [_stamp(path) for path in files]
        if now != stamps:
            stamps = now
            yield
