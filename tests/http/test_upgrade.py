"""Offers of WebSocket byte by byte: when one is passed on, what follows it, and how its tunnel behaves under load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest

from tests.http.calls import in_order
from tests.http.conftest import Connect, Line, StartLine, StartUpstream
from tests.http.wire import TIMEOUT, Script, Upstream, Wire, cut_at, each, until
from tests.ports import free_port
from torana.http import upgrade
from torana.model.backend import Backend, Mirror, Target
from torana.model.config import Limits

_FIELDS = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\nSec-WebSocket-Version: 13\r\n"
_OFFER = b"GET /ws HTTP/1.1\r\nHost: a\r\n" + _FIELDS + b"\r\n"
_TAKEN = (
    b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: cmVwbHk=\r\n\r\n"
)
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

Make = Callable[[Upstream], Script]


def _taking(then: Script, first: bytes = _TAKEN) -> Make:
    """An upstream that takes the offer."""

    def make(up: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await up.take(wire)
            await wire.send(first)
            await then(wire)

        return script

    return make


async def _back(wire: Wire) -> None:
    """Bytes as they came, until there are no more."""
    while data := await wire.some():
        await wire.send(data)


async def _switched(connect: Connect, started: Line, *pieces: bytes, receive_buffer: int | None = None) -> Wire:
    wire = await connect(started.port, receive_buffer)
    await wire.send(*(pieces or (_OFFER,)))
    assert (await wire.head()).status == 101
    return wire


async def test_heads_of_both(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The offer and its acceptance have their fields intact; what is about other protocols stays behind."""
    up = await upstream(_taking(_back))
    started = await line(up.port, plain=True)
    wire = await connect(started.port)
    await wire.send(_OFFER.replace(b"Upgrade: websocket", b"Upgrade: h2c, WebSocket\r\nHTTP2-Settings: x\r\nTE: x"))
    answer = await wire.head()
    assert answer.start == b"HTTP/1.1 101 Web Socket Protocol Handshake"
    assert answer.fields == [
        (b"connection", b"Upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-accept", b"cmVwbHk=")
    ]  # fmt: skip
    (request,) = up.requests
    assert request.start == b"GET /ws HTTP/1.1"
    assert (request.value(b"connection"), request.value(b"upgrade")) == (b"Upgrade", b"websocket")
    assert request.value(b"sec-websocket-key") == b"a2V5"
    assert b"te" not in request.names
    assert b"content-length" not in request.names


async def test_an_offer_that_says_it_is_empty(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An offer with a Content-Length of 0 has no body either; its tunnel counts as a connection to the upstream."""
    up = await upstream(_taking(_back))
    started = await line(up.port, plain=True)
    offer = _OFFER.replace(b"Host: a", b"Host: a\r\nContent-Length: 0")
    wire = await _switched(connect, started, offer)
    assert b"content-length" not in up.requests[0].names
    await wire.send(b"hello")
    assert await wire.exactly(5) == b"hello"
    assert started.worker.state().upstream_open == 1


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_bytes_that_come_early(size: int, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What either end sends together with its head, however it is cut, reaches the other as the first bytes."""

    async def then(wire: Wire) -> None:
        assert await wire.exactly(9) == b"early me!"
        await wire.send(b"done")

    up = await upstream(_taking(then, _TAKEN + b"early up!"))
    data = _OFFER + b"early me!"
    started = await line(up.port, plain=True)
    wire = await _switched(connect, started, *cut_at(data, range(0, len(data), size)))
    assert await wire.exactly(13) == b"early up!done"


async def test_a_burst_and_the_end(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An upstream that says all it has with its 101 and leaves is heard to the end."""

    async def then(_: Wire) -> None:
        """The connection is closed."""

    up = await upstream(_taking(then, _TAKEN + b"x" * 300_000))
    wire = await _switched(connect, await line(up.port, plain=True))
    assert await wire.rest() == b"x" * 300_000


_DECLINED = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "not in Connection": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    "a POST": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + _FIELDS + b"\r\n",
    "with a body": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + _FIELDS + b"\r\nhi",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("name", _DECLINED)
async def test_offers_that_are_not_passed_on(
    name: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """They are served as plain HTTP, and a 101 to one is a fault of the upstream."""
    up = await upstream(each(_PLAIN, _TAKEN))
    started = await line(up.port, plain=True)
    wire = await connect(started.port)
    await wire.send(_DECLINED[name])
    assert (await wire.message()).body == b"ok"
    assert not up.requests[0].names & {b"upgrade", b"sec-websocket-protocol"}
    await wire.send(_DECLINED[name])
    assert (await wire.message()).status == 502


_ANSWERS = {
    "another protocol": b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "no Upgrade": b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
    "no Connection": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("name", _ANSWERS)
async def test_a_101_that_is_none(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A change to what was not offered is a bad answer, and the client's connection goes on."""
    started = await line((await upstream(each(_ANSWERS[name]))).port, plain=True)
    wire = await connect(started.port)
    for _ in range(2):
        await wire.send(_OFFER)
        answer = await wire.message()
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (502, "bad_upstream_answer")


@pytest.mark.parametrize("size", [1, 50, 10_000])
async def test_declined_by_the_upstream(size: int, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Its answer is the answer; requests behind the offer, and further offers, are served in order."""
    up = await upstream(each(_PLAIN))
    started = await line(up.port, plain=True)
    wire = await connect(started.port)
    data = (_GET + _OFFER) * 3 + _GET
    await wire.send(*cut_at(data, range(0, len(data), size)))
    for _ in range(7):
        assert (await wire.message()).body == b"ok"
    assert [request.start.split()[1] for request in up.requests] == [b"/next", b"/ws"] * 3 + [b"/next"]
    assert started.worker.state().received_bytes == len(data)


async def test_connections_are_not_shared(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An offer goes over a fresh connection, and no request over one that an offer was made on."""
    up = await upstream(each(_PLAIN))
    started = await line(up.port, plain=True)
    wire = await connect(started.port)
    for request in (_GET, _OFFER, _GET, _OFFER):
        await wire.send(request)
        await wire.message()
    assert len(up.wires) == 3


async def test_a_half_closed_client(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The end of one direction is passed on, and the other direction goes on to its own end."""

    async def then(wire: Wire) -> None:
        everything = await wire.rest()
        await wire.send(b"%d" % len(everything))

    wire = await _switched(connect, await line((await upstream(_taking(then))).port, plain=True))
    await wire.send(b"x" * 1_000_000)
    wire.end()
    assert await wire.rest() == b"1000000"


async def test_one_end_only(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the one has ended, the other may not stay silent for long."""
    monkeypatch.setattr(upgrade, "_LAST_WORDS", 0.1)

    async def then(wire: Wire) -> None:
        wire.end()
        await wire.rest()

    up = await upstream(_taking(then))
    started = await line(up.port, plain=True)
    wire = await _switched(connect, started)
    assert await wire.rest() == b""
    await up.all_ended()
    await started.logged("http.status=101")
    assert "reason=" not in started.log.read_text()


async def test_a_reset(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A connection that breaks ends the other, and the log says whose it was."""

    async def then(wire: Wire) -> None:
        await wire.exactly(1)
        wire.reset()

    started = await line((await upstream(_taking(then))).port, plain=True)
    wire = await _switched(connect, started)
    await wire.send(b"x")
    assert await wire.rest() == b""
    await started.logged("The connection to the upstream broke")
    assert "reason=UpstreamFailure" in started.log.read_text()


_PIECE = 64 * 1024
_PIECES = 640
_SIZE = _PIECE * _PIECES  # 40 MiB: more than the sockets of two connections take in before anyone reads
_MOST = 24 * 1024 * 1024  # what they may take in: by default 4 MiB at a sender and 6 MiB at a receiver (tcp(7))
_HELD = 1024 * 1024  # what the gateway itself may hold for one session


class _Flood:
    """Sends 40 MiB, and counts what was taken of them."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, wire: Wire) -> None:
        for _ in range(_PIECES):
            wire.writer.write(b"x" * _PIECE)
            await wire.writer.drain()
            self.sent += _PIECE


async def _still(flood: _Flood) -> None:
    """Until no more is taken for a twentieth of a second."""
    before = -1
    while before != flood.sent:
        before = flood.sent
        await asyncio.sleep(0.05)


def _waiting(started: Line) -> int:
    """Bytes that the gateway holds for the ends of its only session."""
    (port,) = started.worker._ports.values()
    (connection,) = port.server.connections
    tunnel = connection._tunnel
    assert tunnel is not None
    return sum(end.transport.get_write_buffer_size() for end in (tunnel._client, tunnel._upstream))


async def test_a_slow_client(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The upstream is read as fast as the client takes, and the other direction is not held up by that."""
    flood = _Flood()
    echoed = asyncio.Event()

    async def then(wire: Wire) -> None:
        sending = asyncio.create_task(flood(wire))
        assert await wire.exactly(1000) == b"y" * 1000
        echoed.set()
        await sending

    started = await line((await upstream(_taking(then))).port, plain=True)
    wire = await _switched(connect, started, receive_buffer=4096)
    await until(lambda: flood.sent)
    await _still(flood)
    assert flood.sent < _MOST
    assert _waiting(started) < _HELD
    await wire.send(b"y" * 1000)
    async with asyncio.timeout(TIMEOUT):
        await echoed.wait()
    received = 0
    while piece := await wire.some(1 << 20):
        received += len(piece)
    assert received == _SIZE


async def test_a_slow_upstream(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The client is read as fast as the upstream takes."""
    go = asyncio.Event()

    async def then(wire: Wire) -> None:
        await go.wait()
        await wire.send(b"%d" % len(await wire.rest()))

    started = await line((await upstream(_taking(then))).port, plain=True)
    wire = await _switched(connect, started)
    flood = _Flood()
    sending = asyncio.create_task(flood(wire))
    await until(lambda: flood.sent)
    await _still(flood)
    assert flood.sent < _MOST
    assert _waiting(started) < _HELD
    go.set()
    await sending
    wire.end()
    assert await wire.rest() == b"%d" % _SIZE


async def test_a_client_that_takes_nothing(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """After `send_timeout` it is cut, and its upstream with it, whatever the client goes on to send."""
    up = await upstream(_taking(_Flood()))
    started = await line(up.port, plain=True, limits=Limits(send_timeout=0.1))
    wire = await _switched(connect, started, receive_buffer=4096)
    async with asyncio.timeout(TIMEOUT):
        while not up.ended[0].is_set():
            wire.writer.write(b"ping")
            await asyncio.sleep(0.02)
    await started.logged("http.status=101")
    assert started.worker.state().open_connections == 0


async def test_the_next_endpoint_before_the_101(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An endpoint that cannot be reached is passed over, as for any other GET."""
    up = await upstream(_taking(_back))
    shares = in_order(*(Backend(f"b{port}", Target("127.0.0.1", port)) for port in (free_port(), up.port)))
    started = await line(shares=shares)
    wire = await _switched(connect, started)
    await wire.send(b"hello")
    assert await wire.exactly(5) == b"hello"
    wire.close()
    await started.logged("retry.attempt=1")


async def test_no_mirror_of_a_session(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A mirror gets no offers: nobody would speak with it."""
    up, copy = await upstream(_taking(_back)), await upstream(_taking(_back))
    started = await line(up.port, plain=True)
    bind = started.config.binds[0]
    (listener,) = bind.listeners
    mirrors = (Mirror(Backend("copy", Target("127.0.0.1", copy.port))),)
    routes = tuple(msgspec.structs.replace(route, mirrors=mirrors) for route in listener.routes)
    listener = msgspec.structs.replace(listener, routes=routes)
    bind = msgspec.structs.replace(bind, listeners=(listener,))
    await started.apply(msgspec.structs.replace(started.config, binds=(bind,)))
    wire = await _switched(connect, started)
    await wire.send(b"hello")
    assert await wire.exactly(5) == b"hello"
    assert not copy.wires
