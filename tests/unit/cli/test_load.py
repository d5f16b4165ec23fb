"""The load of `torana bench`: reading answers, however they are cut."""

from __future__ import annotations

import asyncio

import pytest

from torana.cli import load
from torana.cli.load import Connection, Place

EVENT = b"a5\r\ndata: 1\n\n\r\n"
ANSWERS = {
    "sized": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", False, 0),
    "empty": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", False, 0),
    "stream": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + EVENT * 3 + b"0\r\n\r\n", False, 3),
    "refused": (b"HTTP/1.1 429 Too Many\r\ncontent-length: 2\r\n\r\n{}", True, 0),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_answers_in_pieces(name: str, size: int) -> None:
    """An answer ends once, with the same verdict and the same number of events, wherever it is cut."""
    octets, failed, events = ANSWERS[name]
    over: list[Connection] = []
    connection = Connection(over.append)
    connection.transport = _Sink()
    connection.ask(b"")
    for start in range(0, len(octets), size):
        assert not over
        connection.data_received(octets[start : start + size])
    assert over == [connection]
    assert (connection.failed, connection.events) == (failed, events)


def test_closed_early() -> None:
    """A connection that is closed before the end of an answer has failed; one that is idle has not."""
    over: list[Connection] = []
    connection = Connection(over.append)
    connection.transport = _Sink()
    connection.ask(b"")
    connection.connection_lost(None)
    connection.connection_lost(None)
    assert over == [connection]
    assert connection.failed


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are never answered have failed, and what is told of them says why."""
    monkeypatch.setattr(load, "_PATIENCE", 0.05)
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    found = await load.at_rate(Place("127.0.0.1", server.sockets[0].getsockname()[1]), b"GET", 100, 2, 0.02)
    assert (found.times, found.failed) == ([], 2)
    assert found.complaint.startswith("no answer")
    for writer in writers:
        writer.close()
    server.close()


class _Sink(asyncio.WriteTransport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""
