"""maxTotalBufferSize: long bodies that are held together have a bound, however many clients send them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.http.calls import ANSWER, answer, ask, call, llm
from tests.http.conftest import Connect, Line, StartLine, StartUpstream
from tests.http.wire import Script, Upstream, Wire, each, until
from torana.model.backend import Mirror
from torana.model.config import Limits

_LIMITS = Limits(max_total_bytes=1_000_000)


def _body(size: int) -> bytes:
    start, end = b'{"model":"m","messages":[{"role":"user","content":"', b'"}]}'
    return start + b"x" * (size - len(start) - len(end)) + end


LONG, SHORT = _body(600_000), _body(60_000)


def _held(line: Line) -> int:
    return line.worker.state().held_bytes


def _when(opened: asyncio.Event) -> Callable[[Upstream], Script]:
    """Answers to whatever comes, once `opened` is set."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            while True:
                await provider.take(wire)
                await opened.wait()
                await wire.send(answer())

        return script

    return make


def _chunked(body: bytes) -> bytes:
    head = call(fields=b"Transfer-Encoding: chunked\r\n").partition(b"\r\n\r\n")[0]
    head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
    return head + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("framed", [call, _chunked])
async def test_the_body_that_is_too_many(
    framed: Callable[[bytes], bytes], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Over the bound a long body is refused with 503 and a time to try again; short ones go on, and then long ones."""
    opened = asyncio.Event()
    provider = await upstream(_when(opened))
    started = await line(provider.port, limits=_LIMITS)
    first = await connect(started.port)
    await first.send(framed(LONG))
    await until(lambda: provider.requests)
    assert _held(started) >= len(LONG)

    refused = await ask(started, connect, framed(LONG))
    error: dict[str, Any] = json.loads(refused.body)["error"]
    assert (refused.status, error["code"], refused.value(b"retry-after")) == (503, "overloaded", b"1")
    assert "1,000,000" in error["message"]
    assert "maxTotalBufferSize" in error["message"]
    short = await connect(started.port)
    await short.send(framed(SHORT))
    await until(lambda: len(provider.requests) == 2)

    opened.set()
    assert (await first.message()).body == (await short.message()).body == ANSWER
    assert _held(started) == 0
    assert (await ask(started, connect, framed(LONG))).status == 200


async def test_one_that_is_alone(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A body that is longer than the bound, but within that of one, goes on where nothing else is held."""
    provider = await upstream(each(answer()))
    started = await line(provider.port, limits=msgspec.structs.replace(_LIMITS, max_total_bytes=100_000))
    for framed in (call, _chunked):
        assert (await ask(started, connect, framed(LONG))).status == 200
    assert _held(started) == 0


async def test_it_is_held_until_it_cannot_be_needed(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The body of a stream is let go when its answer begins, however long that lasts."""
    more = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(head, b'1c\r\ndata: {"choices":[{"delta":\r\n')
            await more.wait()
            await wire.send(b"0\r\n\r\n")

        return script

    provider = await upstream(make)
    started = await line(provider.port, limits=_LIMITS)
    wire = await connect(started.port)
    await wire.send(call(LONG))
    assert (await wire.head()).status == 200
    assert _held(started) == 0
    more.set()


async def test_whoever_leaves_takes_it_along(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A client that leaves while it sends, and one that leaves while the provider thinks, hold nothing any more."""
    provider = await upstream(_when(asyncio.Event()))
    started = await line(provider.port, limits=_LIMITS)
    sending, waiting = await connect(started.port), await connect(started.port)
    await sending.send(call(LONG)[:-100_000])
    await until(lambda: _held(started) == len(LONG))
    sending.reset()
    await until(lambda: _held(started) == 0)
    await waiting.send(call(LONG))
    await until(lambda: provider.requests)
    waiting.reset()
    await until(lambda: _held(started) == 0)


async def test_a_refused_one_is_not_counted(line: StartLine, connect: Connect) -> None:
    """What is refused for another reason leaves nothing behind."""
    started = await line(limits=_LIMITS)
    assert (await ask(started, connect, call(LONG[:-1]))).status == 400
    assert _held(started) == 0


async def test_a_new_bound_holds_at_once(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A reload changes the bound for what comes; what is held stays."""
    opened = asyncio.Event()
    provider = await upstream(_when(opened))
    started = await line(provider.port, limits=_LIMITS)
    first = await connect(started.port)
    await first.send(call(LONG))
    await until(lambda: provider.requests)
    await started.apply(msgspec.structs.replace(started.config, limits=Limits(max_total_bytes=2_000_000)))
    opened.set()
    assert (await ask(started, connect, call(LONG))).status == 200
    assert (await first.message()).status == 200


async def test_a_mirrored_one(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The copy of a body is bounded by what mirrors may hold, and is not counted here."""
    provider, copy = await upstream(each(answer())), await upstream(_when(asyncio.Event()))
    started = await line(provider.port, limits=_LIMITS)
    bind = started.config.binds[0]
    listener = bind.listeners[0]
    route = msgspec.structs.replace(listener.routes[0], mirrors=(Mirror(llm(copy.port)),))
    listener = msgspec.structs.replace(listener, routes=(route,))
    bind = msgspec.structs.replace(bind, listeners=(listener,))
    await started.apply(msgspec.structs.replace(started.config, binds=(bind,)))
    assert (await ask(started, connect, call(LONG))).status == 200
    await until(lambda: copy.requests)
    assert _held(started) == 0
