"""Lines to a descriptor: in batches, whole, and never at the cost of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from torana.model.config import LogFormat, LogLevel
from torana.telemetry import log, writer
from torana.telemetry.writer import LineWriter


class Pipe(NamedTuple):
    read_end: int
    write_end: int

    def stuff(self) -> bytes:
        """Fill it, so that whoever writes waits for a reader; what it holds then."""
        size = 0
        os.set_blocking(self.write_end, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                size += os.write(self.write_end, b"." * 65536)
        os.set_blocking(self.write_end, True)
        return b"." * size

    def read(self) -> bytes:
        """All of it; the write end is closed first."""
        os.close(self.write_end)
        with open(self.read_end, "rb", closefd=False) as file:
            return file.read()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe(*os.pipe())
    yield made
    for end in made:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch, pipe: Pipe) -> list[int]:
    """The sizes of the writes to the pipe."""
    seen: list[int] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        count = real(descriptor, data)
        if descriptor == pipe.write_end:
            seen.append(count)
        return count

    monkeypatch.setattr(writer.os, "write", write)  # type: ignore[attr-defined]  # the module's own import
    return seen


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.001)


def test_before_there_is_a_loop(pipe: Pipe, sizes: list[int]) -> None:
    """Before a loop is attached, every line is written for itself."""
    lines = LineWriter(pipe.write_end)
    lines.write("one\n")
    lines.write("two\n")
    lines.close()
    assert sizes == [4, 4]
    assert pipe.read() == b"one\ntwo\n"


async def test_batches(pipe: Pipe, sizes: list[int]) -> None:
    """With a loop, the lines of a tenth of a second are one write."""
    lines = LineWriter(pipe.write_end)
    lines.attach(asyncio.get_running_loop())
    for number in range(5):
        lines.write(f"line {number}\n")
    assert sizes == []
    await asyncio.to_thread(select.select, [pipe.read_end], [], [], 10)
    assert os.read(pipe.read_end, 1000) == b"".join(b"line %d\n" % number for number in range(5))
    lines.write("later\n")
    await asyncio.to_thread(select.select, [pipe.read_end], [], [], 10)
    lines.close()
    assert sizes == [35, 6]


async def test_close_writes_what_is_left(pipe: Pipe) -> None:
    """Lines that wait for their batch are written when the writer is closed."""
    lines = LineWriter(pipe.write_end)
    lines.attach(asyncio.get_running_loop())
    lines.write("last words\n")
    lines.close()
    assert pipe.read() == b"last words\n"


async def test_pieces_of_a_pipe(pipe: Pipe, sizes: list[int]) -> None:
    """Into a pipe go whole lines, PIPE_BUF bytes at most at once, so that workers do not write into each other's."""
    lines = LineWriter(pipe.write_end)
    lines.attach(asyncio.get_running_loop())
    written = [f"{number} {'x' * (number * 37 % 900)}\n" for number in range(80)]
    for line in written:
        lines.write(line)
    lines.close()
    content = pipe.read()
    assert content == "".join(written).encode()
    assert max(sizes) <= select.PIPE_BUF
    assert len(sizes) < len(written) / 4, "lines are put together where there is room"
    at = 0
    for size in sizes:
        at += size
        assert content[at - 1 : at] == b"\n", "a piece ends with a line"


def test_a_line_longer_than_a_piece(pipe: Pipe) -> None:
    """A line that is longer than PIPE_BUF is written all the same."""
    lines = LineWriter(pipe.write_end)
    lines.write("x" * 3 * select.PIPE_BUF + "\n")
    lines.close()
    assert pipe.read() == b"x" * 3 * select.PIPE_BUF + b"\n"


def test_a_file_gets_its_batch_whole(tmp_path: Path) -> None:
    """What is no pipe needs no pieces; a text that no encoding can write is escaped."""
    file = tmp_path / "log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    lines = LineWriter(descriptor)
    lines.write("é \ud800\n" + "y" * 100_000 + "\n")
    lines.close()
    os.close(descriptor)
    assert file.read_bytes() == b"\xc3\xa9 \\ud800\n" + b"y" * 100_000 + b"\n"


def test_a_non_blocking_pipe(pipe: Pipe) -> None:
    """A descriptor that another process made non-blocking gets every line all the same."""
    fcntl.fcntl(pipe.write_end, fcntl.F_SETFL, fcntl.fcntl(pipe.write_end, fcntl.F_GETFL) | os.O_NONBLOCK)
    lines = LineWriter(pipe.write_end)
    content: list[bytes] = []
    size = 300_000  # several times what a pipe holds

    def read() -> None:
        while sum(map(len, content)) < size:
            content.append(os.read(pipe.read_end, 65536))

    for _ in range(size // 1000):
        lines.write("z" * 999 + "\n")
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    lines.close()
    assert b"".join(content) == (b"z" * 999 + b"\n") * (size // 1000)
    assert lines.dropped == 0


@pytest.mark.parametrize("form", LogFormat)
def test_a_reader_that_pauses(pipe: Pipe, monkeypatch: pytest.MonkeyPatch, form: LogFormat) -> None:
    """Lines nobody reads are dropped, counted for good, and told of, in the log's form, when there is room again."""
    monkeypatch.setattr(writer, "MOST_WAITING", 100_000)
    lines = LineWriter(pipe.write_end)
    root = logging.getLogger()
    former = root.handlers[:], root.level, logging.getLogger("torana").level
    try:
        log.configure(lines, LogLevel.INFO, form)
    finally:
        root.handlers[:], root.level = former[:2]
        logging.getLogger("torana").setLevel(former[2])
    line = "w" * 9999 + "\n"
    stuffing = pipe.stuff()
    sent = 0
    while lines.dropped < 3:
        lines.write(line)
        sent += 1
        assert sent < 100, "nothing is ever dropped"
    kept = sent - 3
    read = b""
    while read.count(b"\n") < kept:
        read += os.read(pipe.read_end, 65536)
    until(lambda: lines._done == lines._handed)
    lines.write("again\n")
    lines.close()
    assert lines.dropped == 3
    assert read == stuffing + line.encode() * kept
    again, notice = pipe.read().decode().splitlines()
    assert again == "again"
    if form is LogFormat.JSON:
        entry = json.loads(notice)
        assert (entry["level"], entry["scope"]) == ("warn", "log")
        notice = entry["message"]
    assert "3 lines were dropped" in notice


def test_a_reader_that_never_reads(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that never reads holds up neither `write` nor, for long, `close`."""
    monkeypatch.setattr(writer, "MOST_WAITING", 100_000)
    monkeypatch.setattr(writer, "_CLOSING", 0.05)
    lines = LineWriter(pipe.write_end)
    for _ in range(100):
        lines.write("w" * 9999 + "\n")
    assert lines.dropped > 50
    lines.close()
    assert lines._thread.is_alive(), "the case must be one in which the writing thread is stuck"
    os.close(pipe.read_end)
    lines._thread.join(10)
    assert not lines._thread.is_alive()


def test_a_reader_that_left(pipe: Pipe) -> None:
    """When nobody reads any more, lines are lost and counted, and nothing else happens."""
    lines = LineWriter(pipe.write_end)
    os.close(pipe.read_end)
    for _ in range(20):
        lines.write("one\ntwo\n")
    lines.close()
    assert lines.dropped == 40
