"""Upstream connections between requests: used again while they are good for it, and never when they are not."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.http.conftest import Connect, StartLine, StartUpstream, changed
from tests.http.wire import Script, Upstream, Wire, each, until
from torana.http.client import UpstreamConnection
from torana.http.connection import ServerConnection
from torana.model.backend import Backend, Provider, ProviderKind, Target
from torana.model.config import Settings

_CHAT = b'{"model":"m","messages":[]}'
_POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(_CHAT) + _CHAT
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


async def _ask(wire: Wire, request: bytes = _POST) -> bytes:
    await wire.send(request)
    answer = await wire.message()
    return b"%d %b" % (answer.status, answer.body)


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (_OK, 1),
        (_CHUNKED, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", 1),
        (_OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 3),
        (_OK.replace(b"1.1", b"1.0"), 3),
        (_OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond", 3),  # two answers to one request
        (_CHUNKED + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond", 3),
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond", 3),
        (_OK + b"more than it said", 3),
    ],
    ids=["length", "chunks", "204", "error", "close", "HTTP/1.0", "two", "two, chunked", "two, 204", "too long"],
)
async def test_reuse(
    answer: bytes, connections: int, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A connection is used again exactly when its answer was whole, one, and did not say it would close."""
    provider = await upstream(each(answer))
    started = await line(provider.port)
    wire = await connect(started.port)
    answers = {await _ask(wire) for _ in range(3)}
    assert len(answers) == 1
    assert b"second" not in answers.pop()
    assert len(provider.wires) == connections
    await asyncio.sleep(0)
    wire.writer.write_eof()
    assert await wire.rest() == b""


async def test_bytes_on_an_idle_connection_end_it(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What nobody asked for must not be taken for the next request's answer."""
    provider = await upstream(each(_OK))
    started = await line(provider.port)
    wire = await connect(started.port)
    assert await _ask(wire) == b"200 {}"
    await provider.wires[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    await provider.all_ended()
    assert await _ask(wire) == b"200 {}"
    assert len(provider.wires) == 2


async def test_a_connection_closed_while_idle_is_forgotten(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """When the upstream ends an idle connection it leaves the pool."""
    provider = await upstream(each(_OK))
    started = await line(provider.port)
    wire = await connect(started.port)
    await _ask(wire)
    pool = started.worker._runtime.pool
    assert pool.idle_count == 1
    provider.wires[0].close()
    await until(lambda: pool.idle_count == 0)


def _closing_on(answered: int, partly: bytes) -> object:
    """Each connection answers `answered` requests; at the next one it sends `partly` and closes."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            for _ in range(answered):
                await provider.take(wire)
                await wire.send(_OK)
            await provider.take(wire)
            await wire.send(partly)

        return script

    return make


async def test_a_stale_connection_is_replaced_once(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A request whose pooled connection closes before any byte of an answer is sent again on a fresh one."""
    provider = await upstream(_closing_on(1, b""))  # type: ignore[arg-type]
    started = await line(provider.port)
    wire = await connect(started.port)
    for number in (1, 2, 3):
        assert await _ask(wire) == b"200 {}"
        assert len(provider.wires) == number


_PLAIN = b"%b /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"POST", b"PATCH"])
async def test_what_may_have_been_done_is_not_done_again(
    method: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Of a backend that is no language model's, a POST or PATCH may have been acted on (RFC 9112, 9.3.1): 502."""
    provider = await upstream(_closing_on(1, b""))  # type: ignore[arg-type]
    wire = await connect((await line(provider.port, plain=True)).port)
    assert await _ask(wire, _PLAIN % method) == b"200 {}"
    once = method in (b"POST", b"PATCH")
    assert (await _ask(wire, _PLAIN % method))[:4] == (b"502 " if once else b"200 ")
    assert len(provider.requests) == (2 if once else 3)


async def test_a_fresh_connection_that_closes_is_not_replaced(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Only a pooled connection can be stale: a request on a fresh one may have been acted on. The log says it once."""
    provider = await upstream(_closing_on(0, b""))  # type: ignore[arg-type]
    started = await line(provider.port)
    assert (await _ask(await connect(started.port))).startswith(b"502 ")
    assert len(provider.wires) == 1
    await started.logged('error="The upstream closed the connection before it answered."')


async def test_a_pooled_connection_that_began_to_answer_is_not_replaced(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """One byte of an answer is enough: the request was read, and is not sent twice."""
    provider = await upstream(_closing_on(1, b"H"))  # type: ignore[arg-type]
    started = await line(provider.port)
    wire = await connect(started.port)
    assert await _ask(wire) == b"200 {}"
    assert (await _ask(wire)).startswith(b"502 ")
    assert len(provider.wires) == 1


async def test_idle_connections_grow_old(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """After pool_idle_timeout without a request a connection is closed."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, settings=Settings(ipv6=False, pool_idle_timeout=0.1))
    wire = await connect(started.port)
    for _ in range(4):
        await _ask(wire)
        await asyncio.sleep(0.05)
    assert len(provider.wires) == 1
    await provider.all_ended()


async def test_the_pool_has_a_size(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """No more than pool_max_idle connections wait for one address."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, settings=Settings(ipv6=False, pool_max_idle=2))
    wires = [await connect(started.port) for _ in range(4)]
    for wire in wires:
        await wire.send(_POST)
    for wire in wires:
        await wire.message()
    assert len(provider.wires) == 4
    await until(lambda: sum(ended.is_set() for ended in provider.ended) == 2)
    assert started.worker._runtime.pool.idle_count == 2


async def test_a_reload_retires_what_it_no_longer_uses(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Idle connections to an address that is gone close at once, busy ones after their answer; others stay."""
    release = asyncio.Event()

    def slow_second(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            while True:
                await provider.take(wire)
                if len(provider.requests) == 3:
                    await release.wait()
                await wire.send(_OK)

        return script

    old, new = await upstream(slow_second), await upstream(each(_OK))
    started = await line(old.port)
    busy, idle = await connect(started.port), await connect(started.port)
    await busy.send(_POST)
    await idle.send(_POST)
    await busy.message()
    await idle.message()
    await busy.send(_POST)
    await until(lambda: len(old.requests) == 3)
    backend = Backend("up", Target("127.0.0.1", new.port), provider=Provider(ProviderKind.OPENAI))
    await started.apply(started.config)
    assert not any(ended.is_set() for ended in old.ended)
    await started.apply(changed(started.config, backend))
    await until(lambda: sum(ended.is_set() for ended in old.ended) == 1)
    assert await _ask(idle) == b"200 {}"
    assert len(new.requests) == 1
    release.set()
    assert (await busy.message()).status == 200
    await until(lambda: all(ended.is_set() for ended in old.ended))


async def test_an_idle_connection_holds_on_to_no_answer(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """What an answer brought is let go when it has ended, not when its connection is used again."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    provider = await upstream(each(head + b" " * 1_000_000))
    started = await line(provider.port)
    wire = await connect(started.port)
    assert len(await _ask(wire)) > 1_000_000
    pool = started.worker._runtime.pool
    (waiting,) = [idle for lane in pool._lanes.values() for idle in lane.waiting]
    assert waiting.connection.body._sink is None
    assert not waiting.connection.body._chunks


async def test_what_is_lost_is_let_go_at_once(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A connection that is lost, on either side, is held by no circle that would wait for the garbage collector."""
    provider = await upstream(each(_OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    started = await line(provider.port)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            wire = await connect(started.port)
            assert await _ask(wire) == b"200 {}"
            wire.writer.transport.abort()
            for unfinished in (_POST[:20], _POST[:-2]):  # in its head, and in its body
                leaving = await connect(started.port)
                enough = started.worker.state().received_bytes + len(unfinished)
                await leaving.send(unfinished)
                await until(lambda enough=enough: started.worker.state().received_bytes >= enough)  # type: ignore[misc]
                leaving.writer.transport.abort()
        await until(lambda: started.worker.state().open_connections == 0)
        await until(lambda: started.worker.state().upstream_open == 0)
        await asyncio.sleep(0)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        held = [each for each in gc.garbage if isinstance(each, ServerConnection | UpstreamConnection)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not held
