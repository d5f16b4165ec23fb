"""Neither end runs ahead of the other: what waits in the gateway is bounded, and who never reads is cut off."""

from __future__ import annotations

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import torana
from tests.http.calls import call, in_order, llm
from tests.http.conftest import Connect, Line, Serve, StartLine, StartUpstream, served_by
from tests.http.wire import Script, Upstream, Wire, until
from tests.ports import free_port
from torana.http.body import HIGH_WATER, Body
from torana.http.client import UpstreamConnection
from torana.http.request import Request
from torana.http.server import ServerConnection
from torana.model.backend import alone
from torana.model.config import Limits
from torana.model.route import ModelRoute, Route
from torana.proxy.inbound import Inbound

_PIECE = 64 * 1024
_PIECES = 640
_SIZE = _PIECE * _PIECES  # 40 MiB: more than the sockets of two connections take in before anyone reads
_MOST = 24 * 1024 * 1024  # what they may take in: by default 4 MiB at a sender and 6 MiB at a receiver (tcp(7))
_HELD = 1024 * 1024  # what the gateway itself may hold for one connection
_TINY = 4096  # a client's receive buffer
_OURS = tracemalloc.Filter(inclusive=True, filename_pattern=f"{Path(torana.__file__).parent}/*")


class Flood:
    """An upstream that answers with 40 MiB, and counts what it could send."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0

    def __call__(self, upstream: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await upstream.take(wire)
            wire.writer.write(self.head + b"x" * 16 * _PIECE)  # the first write downstream is to be a large one
            for _ in range(_PIECES - 16):
                wire.writer.write(b"x" * _PIECE)
                await wire.writer.drain()
                self.sent += _PIECE

        return script


_HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (_SIZE),
    "until the end": b"HTTP/1.1 200 OK\r\n\r\n",
    "events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ",
}


async def _still(number: Callable[[], int]) -> None:
    """Until `number` has not grown for a twentieth of a second."""
    before = -1
    while before != number():
        before = number()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("head", _HEADS.values(), ids=_HEADS)
async def test_a_client_that_stops_reading_pauses_its_upstream(
    head: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The upstream is read only as fast as the client takes; going on, the client gets all of it."""
    flood = Flood(head)
    started = await line((await upstream(flood)).port, plain=True)
    wire = await connect(started.port, receive_buffer=_TINY)
    await until(lambda: _clients(started))
    _send_little(_clients(started)[0])
    await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await until(lambda: flood.sent)
    await _still(lambda: flood.sent)
    assert flood.sent < _MOST
    assert _held(started) < _HELD
    received = 0
    while piece := await wire.some(1 << 20):
        received += len(piece)
    assert received > _SIZE


@pytest.mark.parametrize("providers", [0, 1, 2], ids=["by the model", "one", "two"])
async def test_a_body_that_was_sent_is_not_kept(
    providers: int, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """While an answer is passed on, which may last, the gateway holds nothing of a call's body any more."""
    body = b'{"model":"a","input":"' + b"x" * 1_000_000 + b'"}'

    def lasting(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(_HEADS["events"] + b'{"choices":[{"delta":{"content":"a"}}]}\n\n')
            await wire.rest()

        return script

    provider = await upstream(lasting)
    backends = (llm(provider.port, "first"), llm(free_port(), "second"))[:providers]
    if backends:
        started = await line(shares=in_order(*backends))
    else:
        started = await served_by(line, Route("r", models=(ModelRoute("a", (alone(llm(provider.port)),)),)))
    wire = await connect(started.port)
    tracemalloc.start()
    try:
        await wire.send(call(body))
        await wire.head()
        ours = tracemalloc.take_snapshot().filter_traces([_OURS])
    finally:
        tracemalloc.stop()
    kept = [each for each in gc.get_objects() if isinstance(each, Inbound) and each.request.body.size == len(body)]
    assert {each.content for each in kept} == {None}
    assert sum(each.size for each in ours.statistics("filename")) < len(body) / 2
    assert provider.requests[0].body == body


async def test_a_client_that_never_reads_is_cut(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """After send_timeout without taking anything the client is cut off, and with it its upstream."""
    flood = Flood(_HEADS["length"])
    provider = await upstream(flood)
    started = await line(provider.port, plain=True, limits=Limits(send_timeout=0.1))
    wire = await connect(started.port, receive_buffer=_TINY)
    await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await provider.all_ended()
    assert flood.sent < _MOST
    assert not _clients(started)


async def test_a_slow_client_is_not_cut(serve: Serve, connect: Connect) -> None:
    """send_timeout is about taking nothing: a client that takes a little now and then gets everything."""
    size = 1024 * 1024

    async def answer(_: Request, client: ServerConnection) -> None:
        _send_little(client)
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % size], b"x" * size)

    served = await serve(Limits(send_timeout=0.1), answer)
    wire = await connect(served.port, receive_buffer=_TINY)
    await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    received = 0
    while received < size // 2:  # 64 times 5 ms, far longer than a tenth of a second
        received += len(await wire.exactly(8192))
        await asyncio.sleep(0.005)
    while piece := await wire.some(1 << 20):
        received += len(piece)
    assert received > size


async def test_a_closing_connection_does_not_wait_for_ever(serve: Serve, connect: Connect) -> None:
    """A last answer that is never taken holds the connection for send_timeout, however small what is left of it."""

    async def answer(_: Request, client: ServerConnection) -> None:
        await client.server.fill(client)  # type: ignore[attr-defined]
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n"], b"x" * 10_000)

    async def fill(client: ServerConnection) -> None:
        """Write until the kernel takes no more and a little is left, less than what pauses anyone."""
        while client._transport.get_write_buffer_size() == 0:
            client._transport.write(b"x" * 16_384)
            await asyncio.sleep(0)

    served = await serve(Limits(send_timeout=0.1), answer)
    served.server.fill = fill  # type: ignore[attr-defined]
    wire = await connect(served.port, receive_buffer=_TINY)
    await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await until(lambda: any(connection.closing for connection in served.server.connections))
    assert not any(connection._write_paused for connection in served.server.connections)
    await until(lambda: not served.server.connections)


@pytest.mark.parametrize(
    ("size", "at_once", "most"),
    [(100_000, True, 10), (100_000, False, 10), (10_000, True, 60)],
    ids=["large, at once", "large, one by one", "small, at once"],
)
async def test_answers_wait_for_the_client(size: int, at_once: bool, most: int, serve: Serve, connect: Connect) -> None:
    """A client that sends requests and reads no answer gets no further answers made."""
    made = 0

    async def answer(_: Request, client: ServerConnection) -> None:
        nonlocal made
        made += 1
        _send_little(client)
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % size], b"x" * size)

    wire = await connect((await serve(handler=answer)).port, receive_buffer=_TINY)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for number in range(1 if at_once else 100):
        await wire.send(request * 100 if at_once else request)
        await until(lambda: made)
        await asyncio.sleep(0.002 if number < 20 else 0)  # a request that comes alone
    await _still(lambda: made)
    assert made < most
    for _ in range(100):
        await wire.exactly(len(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size) + size)
    assert made == 100


async def test_a_sink_that_is_full_stays_so() -> None:
    """What a body has buffered may be too much for the sink at once: attaching it must not undo its pause."""
    flow: list[str] = []

    class Tap:
        def pause(self) -> None:
            flow.append("pause")

        def resume(self) -> None:
            flow.append("resume")

    body = Body(asyncio.get_running_loop(), Tap())
    body.feed([b"x" * (HIGH_WATER + 1)], HIGH_WATER + 1)
    body.attach(lambda _: flow.append("full"))
    waiting = asyncio.ensure_future(body.finished())
    await asyncio.sleep(0)
    assert flow == ["pause", "resume", "full"]
    body.end()
    await waiting


async def test_an_upstream_that_stops_reading_pauses_its_client(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A streamed request body is read only as fast as the upstream takes it; going on, it gets all of it."""
    go_on = asyncio.Event()
    received = 0

    def make(_: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            nonlocal received
            await wire.head()
            await go_on.wait()
            while received < _SIZE:
                received += len(await wire.some(1 << 20))
            await wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")

        return script

    started = await line((await upstream(make)).port, plain=True)
    wire = await connect(started.port)
    await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (_SIZE))
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(_PIECES):
            await wire.send(b"x" * _PIECE)
            sent += _PIECE

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        await until(lambda: sent)
        await _still(lambda: sent)
        assert sent < _MOST
        assert _held(started) < _HELD
        go_on.set()
        assert (await wire.message()).status == 204
    assert received == _SIZE


def _clients(line: Line) -> list[ServerConnection]:
    return [member for member in line.worker._sweep.members if isinstance(member, ServerConnection)]


def _send_little(client: ServerConnection) -> None:
    """Keep the kernel from taking megabytes at a time for this client."""
    client._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)


def _held(line: Line) -> int:
    """Bytes that wait to be sent on any connection of the gateway, upstream or down."""
    members = line.worker._sweep.members
    connections = [member for member in members if isinstance(member, ServerConnection | UpstreamConnection)]
    assert len(connections) == 2
    return max(connection._transport.get_write_buffer_size() for connection in connections)
