"""buffer: a body is whole before it goes on, or is refused, or streamed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.http.calls import ask, once
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import Script, Upstream, Wire, each
from torana.model.policy import BodyBuffer, Buffer, RoutePolicies

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def _of_requests(max_bytes: int, *, fail_open: bool = False) -> RoutePolicies:
    return RoutePolicies(buffer=Buffer(request=BodyBuffer(max_bytes, fail_open)))


def _of_answers(max_bytes: int, *, fail_open: bool = False) -> RoutePolicies:
    return RoutePolicies(buffer=Buffer(response=BodyBuffer(max_bytes, fail_open)))


async def test_a_request_goes_on_whole(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The upstream hears of a request when all of its body is there, and gets it with its length."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, plain=True, policies=_of_requests(10))
    wire = await connect(started.port)
    await wire.send(_CHUNKED, b"5\r\nhello\r\n")
    await asyncio.sleep(0.05)
    assert not provider.wires
    await wire.send(b"5\r\nworld\r\n0\r\n\r\n")
    assert (await wire.message()).body == b"ok"
    (request,) = provider.requests
    assert (request.body, request.value(b"content-length")) == (b"helloworld", b"10")
    assert b"transfer-encoding" not in request.names


@pytest.mark.parametrize(
    "request_bytes",
    [
        _CHUNKED + b"b\r\nhello world\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    ],
    ids=["chunked", "length"],
)
@pytest.mark.parametrize("fail_open", [False, True])
async def test_a_request_over_the_limit(
    request_bytes: bytes, fail_open: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A longer one is refused with 413, or with failOpen streamed as it comes."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, plain=True, policies=_of_requests(10, fail_open=fail_open))
    got = await ask(started, connect, request_bytes)
    if fail_open:
        assert (got.body, provider.requests[0].body) == (b"ok", b"hello world")
        return
    error = json.loads(got.body)["error"]
    assert (got.status, error["code"]) == (413, "request_body_too_large")
    assert "10 bytes" in error["message"]
    assert "buffer.request.maxBytes" in error["message"]
    assert not provider.wires


async def test_a_request_without_a_body_is_whole(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A request that has no body goes on as it is."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, plain=True, policies=_of_requests(1))
    assert (await ask(started, connect, _GET)).body == b"ok"
    assert not {b"content-length", b"transfer-encoding"} & provider.requests[0].names


@pytest.mark.parametrize("size", [0, 10])
async def test_an_answer_goes_out_whole(size: int, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An answer within the limit has its length, however the upstream framed it."""
    body = b"x" * size
    chunks = b"%x\r\n%b\r\n" % (size, body) if size else b""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    provider = await upstream(each(head + chunks + b"0\r\n\r\n"))
    started = await line(provider.port, plain=True, policies=_of_answers(10))
    for _ in range(2):  # on one connection upstream, which is kept
        got = await ask(started, connect, _GET)
        assert (got.body, got.value(b"content-length")) == (body, str(size).encode())
        assert b"transfer-encoding" not in got.names
    assert len(provider.wires) == 1


async def test_an_answer_until_the_end_of_its_connection(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An answer that ends with its connection is given a length too."""
    provider = await upstream(once(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"))
    started = await line(provider.port, plain=True, policies=_of_answers(10))
    got = await ask(started, connect, _GET)
    assert (got.body, got.value(b"content-length")) == (b"hello", b"5")


_LONG = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("framing", _LONG)
@pytest.mark.parametrize("fail_open", [False, True])
async def test_an_answer_over_the_limit(
    framing: str, fail_open: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A longer one is refused with 502, or with failOpen passed on as it comes."""
    provider = await upstream(each(_LONG[framing]))
    started = await line(provider.port, plain=True, policies=_of_answers(10, fail_open=fail_open))
    got = await ask(started, connect, _GET)
    if fail_open:
        assert (got.status, got.body) == (200, b"hello world")
    else:
        assert (got.status, json.loads(got.body)["error"]["code"]) == (502, "upstream_answer_too_large")
        assert b"buffer.response.maxBytes" in got.body


async def test_half_an_answer_is_none(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Of an answer that breaks off its client sees nothing but the error."""
    provider = await upstream(once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    started = await line(provider.port, plain=True, policies=_of_answers(10))
    got = await ask(started, connect, _GET)
    assert (got.status, got.complete) == (502, True)
    assert b"hello" not in got.body


async def test_the_answer_to_head_has_no_body_to_gather(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The length that HEAD is answered with is of no body, and over no limit."""
    provider = await upstream(each(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"))
    started = await line(provider.port, plain=True, policies=_of_answers(10))
    wire = await connect(started.port)
    await wire.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    got = await wire.message(bodiless=True)
    assert (got.status, got.value(b"content-length")) == (200, b"11")


def _events(provider: Upstream) -> Script:
    async def script(wire: Wire) -> None:
        await provider.take(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await wire.rest()

    return script


async def test_a_stream_of_events_is_not_gathered(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Events are for whom waits for each: they go out as they come, whatever the limit."""
    started = await line((await upstream(_events)).port, plain=True, policies=_of_answers(1))
    wire = await connect(started.port)
    await wire.send(_GET)
    assert (await wire.head()).status == 200
    assert b"data: 1" in await wire.some()
