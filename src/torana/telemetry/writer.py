"""Lines to a file descriptor without making the event loop wait for whoever reads them.

Lines are collected and handed over in batches, ten times a second, to one thread that writes them. When the reader is
so slow that MOST_WAITING bytes are waiting, further lines are dropped and counted, and the count is written when there
is room.
"""

from __future__ import annotations

import asyncio
import os
import queue
import select
import stat
import threading

_INTERVAL = 0.1  # seconds a line may wait for others
MOST_WAITING = 8 * 1024 * 1024


class LineWriter:
    """Give it lines with `write`; `close` writes what is left, waiting for a slow reader two seconds at most."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0  # bytes handed over and not written yet
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Batch by this loop's clock from now on; before, every line is a batch."""
        self._loop = loop

    def write(self, line: str) -> None:
        """One line with its line end. Called from the loop's thread only."""
        self._lines.append(line)
        if not self._scheduled:
            if self._loop is None:
                self.flush()
            else:
                self._scheduled = True
                self._loop.call_later(_INTERVAL, self.flush)

    def flush(self) -> None:
        self._scheduled = False
        if not self._lines:
            return
        if self._waiting > MOST_WAITING:
            self.dropped += len(self._lines)
            self._lines.clear()
            return
        if self.dropped:
            self._lines.append(f"warn log {self.dropped} lines were dropped: the reader of the log is too slow\n")
            self.dropped = 0
        batch = "".join(self._lines).encode("utf-8", "backslashreplace")
        self._lines.clear()
        self._waiting += len(batch)
        self._batches.put(batch)

    def close(self) -> None:
        self._loop = None
        self.flush()
        self._batches.put(None)
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                for piece in self._pieces(batch):
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(self._descriptor, view) :]
            except OSError:
                self.dropped += batch.count(b"\n")  # nobody reads any more: serving goes on without a log
            self._waiting -= len(batch)

    def _pieces(self, batch: bytes) -> list[bytes]:
        """Whole lines each: on a pipe that several workers write to, PIPE_BUF bytes stay together (POSIX write())."""
        if not self._is_pipe:
            return [batch]
        pieces = [b""]
        for line in batch.splitlines(keepends=True):
            if len(pieces[-1]) + len(line) > select.PIPE_BUF:
                pieces.append(b"")
            pieces[-1] += line
        return pieces
