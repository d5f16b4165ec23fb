"""What is no request, or could be two: refused with the right status, and nothing behind it is ever read."""

from __future__ import annotations

import json

import pytest

from tests.http.conftest import Connect, Serve
from tests.http.wire import until
from torana.model.config import Limits

_H = b"Host: a\r\n"
_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def _get(target: bytes = b"/", fields: bytes = _H, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + fields + b"\r\n"


def _post(fields: bytes, body: bytes = b"hello") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


REFUSED: dict[str, tuple[bytes, int]] = {
    # lengths
    "CL and TE": (_post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "TE and CL": (_post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), 400),
    "two CLs, same": (_post(b"Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
    "two CLs, different": (_post(b"Content-Length: 5\r\nContent-Length: 0\r\n"), 400),
    "CL list": (_post(b"Content-Length: 5, 5\r\n"), 400),
    "CL with a plus": (_post(b"Content-Length: +5\r\n"), 400),
    "CL negative": (_post(b"Content-Length: -1\r\n"), 400),
    "CL hexadecimal": (_post(b"Content-Length: 0x5\r\n"), 400),
    "CL empty": (_post(b"Content-Length:\r\n"), 400),
    "CL with an underscore": (_post(b"Content-Length: 1_0\r\n"), 400),
    "CL beyond 64 bits": (_post(b"Content-Length: 99999999999999999999\r\n"), 400),
    "CL with an inner space": (_post(b"Content-Length: 5 5\r\n"), 400),
    # transfer codings
    "TE chunked, identity": (_post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), 400),
    "TE identity, chunked": (_post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"), 400),
    "TE gzip, chunked": (_post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 400),
    "TE chunked, chunked": (_post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), 400),
    "TE identity": (_post(b"Transfer-Encoding: identity\r\n"), 400),
    "TE xchunked": (_post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 400),
    "TE quoted": (_post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), 400),
    "TE empty": (_post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), 400),
    "TE with a vertical tab": (_post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    "two TE lines": (_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "two TE lines, one unknown": (_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n"), 400),
    "TE on HTTP/1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE with a space before the colon": (_post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    # chunks
    "chunk size with 0x": (_CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size negative": (_CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with a plus": (_CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size overflowing": (_CHUNKED + b"ffffffffffffffff3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size empty": (_CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with a space behind": (_CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "chunks with LF only": (_CHUNKED + b"3\nabc\n0\n\n", 400),
    "chunk longer than its size": (_CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk extension with LF": (_CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    # lines
    "LF only": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "LF only after a field": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "LF only at the end of the head": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "CR only": (_get(fields=_H + b"X: a\rY: b\r\n"), 400),
    "CR CR LF": (_get(fields=_H + b"X: a\r\r\n"), 400),
    "obs-fold": (_get(fields=_H + b"X: a\r\n b\r\n"), 400),
    "obs-fold in front of the first field": (b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400),
    "space before the colon": (_get(fields=b"Host : a\r\n"), 400),
    "NUL in a value": (_get(fields=_H + b"X: a\0b\r\n"), 400),
    "NUL in a name": (_get(fields=_H + b"X\0: a\r\n"), 400),
    "no colon": (_get(fields=_H + b"nonsense\r\n"), 400),
    "no name": (_get(fields=_H + b": a\r\n"), 400),
    "a parenthesis in a name": (_get(fields=_H + b"a(b): c\r\n"), 400),
    "UTF-8 in a name": (_get(fields=_H + "naïve: a\r\n".encode()), 400),
    # request line
    "no Host": (_get(fields=b""), 400),
    "two Hosts, same": (_get(fields=_H + _H), 400),
    "two Hosts, different": (_get(fields=b"Host: a\r\nHost: b\r\n"), 400),
    "Host with userinfo": (_get(fields=b"Host: user@a\r\n"), 400),
    "Host with a path": (_get(fields=b"Host: a/b\r\n"), 400),
    "Host with a space": (_get(fields=b"Host: a b\r\n"), 400),
    "Host with a port that is none": (_get(fields=b"Host: a:x\r\n"), 400),
    "Host with a comma and a space": (_get(fields=b"Host: a, b\r\n"), 400),
    "absolute form without Host": (_get(b"http://a/", b""), 400),
    "absolute form with userinfo": (_get(b"http://user@a/"), 400),
    "absolute form without authority": (_get(b"http:///x"), 400),
    "absolute form with another scheme": (_get(b"ftp://a/"), 400),
    "asterisk for GET": (_get(b"*"), 400),
    "authority form for GET": (_get(b"a:80"), 400),
    "relative target": (_get(b"x/y"), 400),
    "space in the target": (_get(b"/a b"), 400),
    "UTF-8 in the target": (_get("/é".encode()), 400),
    "NUL in the target": (_get(b"/a\0"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/1.9": (_get(version=b"HTTP/1.9"), 400),
    "HTTP/2.0": (_get(version=b"HTTP/2.0"), 505),
    "http/1.1 in lower case": (_get(version=b"http/1.1"), 400),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an unknown method": (b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "TLS on a plaintext port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    # sizes
    "target of 20,000 bytes": (_get(b"/" + b"x" * 20_000), 414),
    "target of a million bytes": (_get(b"/" + b"x" * 1_000_000), 414),
    "10,000 fields": (_get(fields=_H + b"X: y\r\n" * 10_000), 431),
    "a field of 100,000 bytes": (_get(fields=_H + b"X: " + b"y" * 100_000 + b"\r\n"), 431),
    "80 fields of 1,000 bytes": (_get(fields=_H + (b"X: " + b"y" * 1000 + b"\r\n") * 80), 431),
    "a trailer without end": (_CHUNKED + b"1\r\nx\r\n0\r\nX: " + b"y" * 2_000_000, 431),
    "trailers without end": (_CHUNKED + b"1\r\nx\r\n0\r\n" + b"X: y\r\n" * 300_000, 431),
    "a chunk extension without end": (_CHUNKED + b"1;" + b"y" * 2_000_000, 431),
    "another expectation": (_post(b"Content-Length: 5\r\nExpect: something\r\n"), 417),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(name: str, serve: Serve, connect: Connect) -> None:
    """One answer in OpenAI's form, `connection: close`, the end; what is sent behind never becomes a request."""
    data, status = REFUSED[name]
    served = await serve()
    wire = await connect(served.port)
    wire.writer.write(data + b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await wire.message()
    assert answer.status == status, answer
    assert answer.complete
    assert answer.value(b"connection") == b"close"
    assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}
    assert answer.value(b"x-request-id")
    assert await wire.rest() == b""
    assert not [seen for seen in served.seen if b"smuggled" in seen]


@pytest.mark.parametrize("name", ["CL and TE", "obs-fold", "chunk size with 0x", "another expectation", "HTTP/2.0"])
async def test_refused_byte_by_byte(name: str, serve: Serve, connect: Connect) -> None:
    """The same when every byte comes alone."""
    data, status = REFUSED[name]
    wire = await connect((await serve()).port)
    await wire.send(*(data[i : i + 1] for i in range(len(data))))
    assert (await wire.message()).status == status
    assert await wire.rest() == b""


async def test_a_bad_chunk_behind_a_good_one(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A body that goes wrong in the middle of a receive is refused once, and what follows is thrown away quietly."""
    wire = await connect((await serve()).port)
    await wire.send(_CHUNKED + b"5\r\nhello\r\nZZ\r\n")
    await wire.send(b"x" * 100)
    assert (await wire.message()).status == 400
    assert await wire.rest() == b""
    assert not caplog.records


async def test_the_limits_are_the_configured_ones(serve: Serve, connect: Connect) -> None:
    """Header bytes and counts just within their limits pass."""
    served = await serve(Limits(max_header_bytes=1000, max_headers=3))
    wire = await connect(served.port)
    await wire.send(_get(fields=_H + b"X: " + b"y" * 900 + b"\r\nZ: 1\r\n"))
    assert (await wire.message()).status == 200
    await wire.send(_get(fields=_H + b"X: 1\r\nY: 1\r\nZ: 1\r\n"))
    assert (await wire.message()).status == 431


async def test_a_long_target_has_no_part_in_a_trailer(serve: Serve, connect: Connect) -> None:
    """A trailer over the limit is 431, however long the target was that has been taken."""
    served = await serve(Limits(max_header_bytes=1000))
    wire = await connect(served.port)
    await wire.send(head := _CHUNKED.replace(b"POST /", b"POST /" + b"x" * 600))
    await until(lambda: served.server.received_bytes == len(head))
    await wire.send(b"0\r\nX: " + b"y" * 2000)
    answer = await wire.message()
    assert (answer.status, b"http.maxHeaderBytes" in answer.body) == (431, True)


async def test_many_small_chunks_are_a_body(serve: Serve, connect: Connect) -> None:
    """The limit on what is not body is for what comes without body: chunks of one byte pass, however many."""
    wire = await connect((await serve()).port)
    await wire.send(_CHUNKED)
    for _ in range(20):
        await wire.send(b"1\r\nx\r\n" * 2000)
    await wire.send(b"0\r\n\r\n")
    assert (await wire.message()).body == b"POST / " + b"x" * 40_000
