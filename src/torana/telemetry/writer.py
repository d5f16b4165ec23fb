"""Lines to a file descriptor without making the event loop wait for whoever reads them.

Lines are collected and handed over in batches, ten times a second, to one thread that writes them. When the reader is
so slow that MOST_WAITING bytes are waiting, further lines are dropped and counted, and the count is written when there
is room. Each number is written by one thread only: `+=` is no single step between threads.
"""

from __future__ import annotations

import asyncio
import os
import queue
import select
import stat
import threading
from collections.abc import Callable

_INTERVAL = 0.1  # seconds a line may wait for others
MOST_WAITING = 8 * 1024 * 1024
_CLOSING = 2.0  # seconds that `close` waits for a slow reader


class LineWriter:
    """Give it lines with `write`; `close` writes what is left, waiting for a slow reader two seconds at most.

    `notice` makes the line that tells how many were dropped, in the form of the others.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._handed = 0  # bytes, by the loop's thread
        self._done = 0  # bytes written or lost, by the writing thread
        self._refused = 0  # lines dropped by the loop's thread, because too much was waiting
        self._told = 0  # of those, the ones a notice has been written of
        self._lost = 0  # lines dropped by the writing thread, because nobody reads any more
        self.notice: Callable[[int], str] = _notice
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were never read, since the start."""
        return self._refused + self._lost

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
        if self._handed - self._done > MOST_WAITING:
            self._refused += len(self._lines)
            self._lines.clear()
            return
        if self._refused > self._told:
            self._lines.append(self.notice(self._refused - self._told))
            self._told = self._refused
        batch = "".join(self._lines).encode("utf-8", "backslashreplace")
        self._lines.clear()
        self._handed += len(batch)
        self._batches.put(batch)

    def close(self) -> None:
        self._loop = None
        self.flush()
        self._batches.put(None)
        self._thread.join(timeout=_CLOSING)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            for piece in self._pieces(batch):
                try:
                    self._put(piece)
                except OSError:
                    self._lost += piece.count(b"\n")  # nobody reads any more: serving goes on without a log
            self._done += len(batch)

    def _put(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # another process that has this terminal or pipe too made it non-blocking
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()

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


def _notice(count: int) -> str:
    return f"warn log {count} lines were dropped: the reader of the log is too slow\n"
