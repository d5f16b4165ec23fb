"""Requests that are right: the same however their bytes are split."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.conftest import Connect, Serve
from tests.http.wire import Pipe, cut_at, feed
from tests.loops import new_loop
from torana.http.request import Request
from torana.http.server import Server, ServerConnection
from torana.http.sweep import Sweep
from torana.model.config import Limits


class Seen(NamedTuple):
    """A request as its handler gets it; fields with their names in lower case."""

    method: bytes
    path: bytes
    query: bytes | None = None
    host: bytes = b"a"
    fields: tuple[tuple[bytes, bytes], ...] = ((b"host", b"a"),)
    body: bytes = b""


_H = (b"host", b"a")
_GET = b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"
_AFTER = Seen(b"GET", b"/after")
_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
_H2C_FIELDS = ((b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c"), (b"http2-settings", b"AAEAAEAA"))

_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_TE = (b"transfer-encoding", b"chunked")

GOOD: dict[str, tuple[bytes, list[Seen]]] = {
    "plain": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [Seen(b"GET", b"/")]),
    "query": (b"GET /x?y=1?&z HTTP/1.1\r\nHost: a\r\n\r\n", [Seen(b"GET", b"/x", b"y=1?&z")]),
    "empty query": (b"GET /x? HTTP/1.1\r\nHost: a\r\n\r\n", [Seen(b"GET", b"/x", b"")]),
    "fragment, dropped": (b"GET /x?y#z HTTP/1.1\r\nHost: a\r\n\r\n", [Seen(b"GET", b"/x", b"y")]),
    "leading CRLF": (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [Seen(b"GET", b"/")]),
    "absolute form, its authority replaces Host": (
        b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen(b"GET", b"/x", b"y", b"b:81")],
    ),
    "absolute form without a path": (
        b"GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen(b"GET", b"/", b"y", b"b")],
    ),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [Seen(b"OPTIONS", b"*")]),
    "IPv6 host": (
        b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        [Seen(b"GET", b"/", None, b"[::1]:80", ((b"host", b"[::1]:80"),))],
    ),
    "empty host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", [Seen(b"GET", b"/", None, b"", ((b"host", b""),))]),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", [Seen(b"GET", b"/", None, b"", ())]),
    "fields: spaces around, empty, repeated, obs-text": (
        b"GET / HTTP/1.1\r\nHost:a\r\nX-A: \t b c \t\r\nx-empty:\r\nX_A: d\r\nx-a: \xe9\r\n\r\n",
        [Seen(b"GET", b"/", None, b"a", (_H, (b"x-a", b"b c"), (b"x-empty", b""), (b"x_a", b"d"), (b"x-a", b"\xe9")))],
    ),
    "length": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        [Seen(b"POST", b"/", None, b"a", (_H, (b"content-length", b"5")), b"hello")],
    ),
    "length zero, then another": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + _GET,
        [Seen(b"POST", b"/", None, b"a", (_H, (b"content-length", b"0"))), _AFTER],
    ),
    "a GET with a body": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + _GET,
        [Seen(b"GET", b"/", None, b"a", (_H, (b"content-length", b"2")), b"hi"), _AFTER],
    ),
    "chunks with extensions and trailers, then another": (
        b"POST / HTTP/1.1\r\nHost: a\r\n"
        + _CHUNKED
        + b'5;a="b"\r\nhello\r\n006\r\n world\r\n0\r\nX-T: 1\r\n\r\n'
        + _GET,
        [Seen(b"POST", b"/", None, b"a", (_H, _TE), b"hello world"), _AFTER],
    ),
    "no chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\n" + _CHUNKED + b"0\r\n\r\n" + _GET,
        [Seen(b"POST", b"/", None, b"a", (_H, _TE)), _AFTER],
    ),
    "an upgrade offer": (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + _H2C + b"\r\n" + _GET,
        [Seen(b"GET", b"/", None, b"a", (_H, *_H2C_FIELDS)), _AFTER],
    ),
    "an upgrade offer with a length, whose body looks like a request": (
        b"POST / HTTP/1.1\r\nHost: a\r\n" + _H2C + b"Content-Length: %d\r\n\r\n" % len(_GET) + _GET + _GET,
        [Seen(b"POST", b"/", None, b"a", (_H, *_H2C_FIELDS, (b"content-length", b"%d" % len(_GET))), _GET), _AFTER],
    ),
    "an upgrade offer with chunks and trailers": (
        b"POST / HTTP/1.1\r\nHost: a\r\n" + _H2C + _CHUNKED + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" + _GET,
        [Seen(b"POST", b"/", None, b"a", (_H, *_H2C_FIELDS, _TE), b"hello"), _AFTER],
    ),
    "many upgrade offers": (
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + _H2C + b"\r\n") * 40,
        [Seen(b"GET", b"/", None, b"a", (_H, *_H2C_FIELDS))] * 40,
    ),
    "pipelined": (
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + _GET,
        [Seen(b"GET", b"/1"), Seen(b"POST", b"/2", None, b"a", (_H, (b"content-length", b"2")), b"hi"), _AFTER],
    ),
}


async def received(pieces: list[bytes], count: int) -> list[Seen]:
    """What a handler sees of `pieces`, until it has seen `count` requests or the connection is closed."""
    seen: list[Seen] = []

    async def handle(request: Request, client: ServerConnection) -> None:
        body = await request.body.gather(1000)
        fields = tuple((lower, value) for lower, _, value in request.fields)
        seen.append(Seen(request.method, request.path, request.query, request.host, fields, body))
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"], b"")

    connection = ServerConnection(Server(handle, lambda error, _: error.message.encode(), Limits(), Sweep()))
    pipe = Pipe()
    connection.connection_made(pipe)
    await feed(connection, pipe, pieces)
    for _ in range(count * 4):
        await asyncio.sleep(0)
    assert pipe.out.count(b"HTTP/1.1 200 OK") == len(seen), pipe.out
    return seen


def _run(pieces: list[bytes], count: int) -> list[Seen]:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(received(pieces, count))


@pytest.mark.parametrize("name", GOOD)
def test_a_request_is_read(name: str) -> None:
    """A request means what RFC 9112 says, in one piece."""
    data, expected = GOOD[name]
    assert _run([data], len(expected)) == expected


@pytest.mark.parametrize("name", GOOD)
def test_a_request_is_read_byte_by_byte(name: str) -> None:
    """It means the same when every byte comes alone."""
    data, expected = GOOD[name]
    assert _run([data[i : i + 1] for i in range(len(data))], len(expected)) == expected


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(0, 10_000), max_size=6))
@settings(deadline=None, max_examples=200)
def test_a_request_is_read_however_it_is_split(name: str, places: list[int]) -> None:
    """It means the same wherever it is cut."""
    data, expected = GOOD[name]
    assert _run(cut_at(data, places), len(expected)) == expected


async def test_thousands_of_offers_in_one_piece(serve: Serve, connect: Connect) -> None:
    """Declining an offer costs no stack: any number of them may be pipelined."""
    served = await serve()
    wire = await connect(served.port)
    request = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    await wire.send(request * 3000)
    for _ in range(3000):
        assert (await wire.message()).body == b"GET /x "
