"""A client's connection: its requests in order, its limits in time and size, and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme

from tests.http.conftest import Connect, Serve, StartLine, StartUpstream
from tests.http.wire import TIMEOUT, Script, Upstream, Wire, each, until
from torana.http import connection
from torana.http.message import Framing
from torana.http.request import Request
from torana.http.server import ServerConnection
from torana.http.sweep import intervals
from torana.model.config import Limits

_GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
_CHAT = b'{"model":"m","messages":[]}'
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def _post(body: bytes, fields: bytes = b"", path: bytes = b"/v1/chat/completions") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (path, len(body), fields, body)


def _silent(reached: asyncio.Event) -> Callable[[Upstream], Script]:
    """An upstream that takes a request, says so, and then only waits for its connection to end."""

    def make(upstream: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await upstream.take(wire)
            reached.set()
            await wire.rest()

        return script

    return make


# in order


async def test_pipelined_requests_are_answered_in_order(serve: Serve, connect: Connect) -> None:
    """Answers come in the order of the requests, however much faster a later one is."""

    async def slower_first(request: Request, client: ServerConnection) -> None:
        await asyncio.sleep(0.02 if request.path == b"/0" else 0)
        body = await request.body.gather(100)
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % (len(body) + 2)], request.path + body)

    wire = await connect((await serve(handler=slower_first)).port)
    await wire.send(b"".join(_post(b"body%d" % i, path=b"/%d" % i) for i in range(9)))
    assert [(await wire.message()).body for _ in range(9)] == [b"/%dbody%d" % (i, i) for i in range(9)]


async def test_an_error_among_pipelined_requests_has_its_turn(serve: Serve, connect: Connect) -> None:
    """What cannot be read is answered after all that came before it, and nothing behind it is."""
    served = await serve()
    wire = await connect(served.port)
    await wire.send(_GET + _post(b"hello") + b"GET /bad HTTP/1.1\r\nHost : a\r\n\r\n" + _GET)
    answers = [await wire.message() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert await wire.rest() == b""
    assert len(served.seen) == 2


async def test_nothing_is_read_behind_connection_close(serve: Serve, connect: Connect) -> None:
    """A request that says `close` is the last one."""
    served = await serve()
    wire = await connect(served.port)
    await wire.send(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + _GET)
    assert (await wire.message()).value(b"connection") == b"close"
    assert await wire.rest() == b""
    assert served.seen == [b"GET /last "]


@pytest.mark.parametrize(
    ("version", "offer", "kept", "said"),
    [
        (b"1.1", b"", True, None),
        (b"1.1", b"Connection: keep-alive\r\n", True, None),
        (b"1.1", b"Connection: close\r\n", False, b"close"),
        (b"1.1", b"Connection: x, Close\r\n", False, b"close"),
        (b"1.0", b"", False, b"close"),
        (b"1.0", b"Connection: keep-alive\r\n", True, b"keep-alive"),
        (b"1.0", b"Connection: Keep-Alive\r\n", True, b"keep-alive"),
    ],
)
async def test_keep_alive(
    version: bytes, offer: bytes, kept: bool, said: bytes | None, serve: Serve, connect: Connect
) -> None:
    """HTTP/1.1 stays open unless told otherwise, HTTP/1.0 only when asked to (RFC 9112, 9.3)."""
    wire = await connect((await serve()).port)
    request = b"GET /x HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, offer)
    await wire.send(request)
    assert (await wire.message()).value(b"connection") == said
    if kept:
        await wire.send(request)
        assert (await wire.message()).status == 200
    else:
        assert await wire.rest() == b""


async def test_an_answer_without_length_to_http_10_ends_with_the_connection(serve: Serve, connect: Connect) -> None:
    """HTTP/1.0 knows no chunks: the connection's end is the body's."""

    async def stream(_: Request, client: ServerConnection) -> None:
        head = [b"HTTP/1.1 200 OK\r\n"]
        client.start(head, Framing.CHUNKED)
        client.write([b"a", b"", b"b"], head)
        client.finish(None, [b"c"])

    wire = await connect((await serve(handler=stream)).port)
    await wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = await wire.message()
    assert (answer.body, answer.value(b"connection"), answer.value(b"transfer-encoding")) == (b"abc", b"close", None)


async def test_a_body_nobody_takes_does_not_stop_the_connection(serve: Serve, connect: Connect) -> None:
    """A body that was received in full and left alone by the handler is thrown away, and the next request read."""
    release = asyncio.Event()

    async def ignore(request: Request, client: ServerConnection) -> None:
        if request.has_body:
            await release.wait()
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"], b"")

    served = await serve(handler=ignore)
    wire = await connect(served.port)
    wire.writer.write(_post(b"x" * 300_000))
    await until(lambda: served.server.received_bytes > 300_000)
    release.set()
    assert (await wire.message()).value(b"connection") is None
    await wire.send(_GET)
    assert (await wire.message()).status == 200


# in time


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nHos", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"])
async def test_a_head_that_does_not_end(start: bytes, serve: Serve, connect: Connect) -> None:
    """A head has header_timeout to arrive in, however steadily its bytes drip: 408."""
    wire = await connect((await serve(Limits(header_timeout=0.1))).port)
    await wire.send(start)

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.01)
            await wire.send(b"x")

    async with asyncio.TaskGroup() as group:
        dripping = group.create_task(drip())
        answer = await wire.message()
        dripping.cancel()
    assert answer.status == 408
    assert await wire.rest() == b""


async def test_a_body_that_stops_coming(line: StartLine, connect: Connect) -> None:
    """A body may take its time as long as something comes every header_timeout; silence is answered 408."""
    started = await line(1, limits=Limits(header_timeout=0.1))
    wire = await connect(started.port)
    await wire.send(_post(_CHAT)[:-20])
    for _ in range(12):  # 0.24 seconds in all
        await asyncio.sleep(0.02)
        await wire.send(b" ")
    answer = await wire.message()
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (408, "request_timeout")
    assert await wire.rest() == b""


async def test_an_idle_connection_is_closed(serve: Serve, connect: Connect) -> None:
    """A connection with nothing under way lives for idle_timeout, counted from its last answer."""
    wire = await connect((await serve(Limits(idle_timeout=0.1))).port)
    for _ in range(3):
        await asyncio.sleep(0.05)
        await wire.send(_GET)
        assert (await wire.message()).status == 200
    began = asyncio.get_running_loop().time()
    assert await wire.rest() == b""
    assert asyncio.get_running_loop().time() - began > 0.07


async def test_an_old_connection_is_closed_with_an_answer(serve: Serve, connect: Connect) -> None:
    """After max_connection_age the next answer is the last."""
    served = await serve(Limits(max_connection_age=TIMEOUT))
    wire = await connect(served.port)
    await wire.send(_GET)
    assert (await wire.message()).value(b"connection") is None
    (old,) = served.server.connections
    for _ in range(intervals(TIMEOUT)):
        old.swept()
    await wire.send(_GET)
    assert (await wire.message()).value(b"connection") == b"close"
    assert await wire.rest() == b""


# in number and size


async def test_one_connection_too_many(serve: Serve, connect: Connect) -> None:
    """Over max_connections a new connection is answered 503 and closed; when one has left, there is room again."""
    served = await serve(Limits(max_connections=2))
    first, second, third = [await connect(served.port) for _ in range(3)]
    assert (await third.message()).status == 503
    assert await third.rest() == b""
    third.close()
    first.close()
    await until(lambda: len(served.server.connections) == 1)
    for wire in (second, await connect(served.port)):
        await wire.send(_GET)
        assert (await wire.message()).status == 200


_CHUNKS = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "closes"),
    [
        (_post(b"x" * 2000), False),
        (_post(b"x" * 2000)[:-1], True),
        (_CHUNKS + b"3e9\r\n%b\r\n0\r\n\r\n" % (b"x" * 1001), False),
        (_CHUNKS + b"64\r\n%b\r\n" % (b"x" * 100) * 20, True),
        (_post(b"").replace(b": 0", b": 9999999999999"), True),
    ],
    ids=["length", "length, unfinished", "chunks", "chunks, unfinished", "announced only"],
)
async def test_a_body_over_the_limit(request_: bytes, closes: bool, line: StartLine, connect: Connect) -> None:
    """A body larger than max_body_bytes is refused with 413, and what is left of it is not waited for."""
    started = await line(1, limits=Limits(max_body_bytes=1000))
    wire = await connect(started.port)
    await wire.send(request_)
    answer = await wire.message()
    assert (answer.status, answer.value(b"connection")) == (413, b"close" if closes else None)
    assert "1,000 bytes" in json.loads(answer.body)["error"]["message"]
    if closes:
        assert await wire.rest() == b""


async def test_a_refusal_is_read_by_a_client_that_is_still_sending(
    line: StartLine, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection lingers, so that a large body on its way does not turn the answer into a reset (RFC 9112, 9.6)."""
    monkeypatch.setattr(connection, "_LINGER", TIMEOUT)
    started = await line(1, limits=Limits(max_body_bytes=1000))
    wire = await connect(started.port)
    wire.writer.write(_post(b"x" * 4_000_000))
    await wire.writer.drain()
    assert (await wire.message()).status == 413


# Expect


async def test_a_client_that_waits_is_told_to_continue(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """`100 Continue` comes when the body is wanted, and once."""
    wire = await connect((await line((await upstream(each(_OK))).port)).port)
    head, _, body = _post(_CHAT, b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    await wire.send(head + b"\r\n\r\n")
    assert (await wire.head()).status == 100
    await wire.send(body)
    assert (await wire.message()).status == 200


async def test_a_client_that_does_not_wait_is_not_told(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """When the body is there already, `100 Continue` is left out (RFC 9110, 10.1.1)."""
    wire = await connect((await line((await upstream(each(_OK))).port)).port)
    await wire.send(_post(_CHAT, b"Expect: 100-continue\r\n"))
    assert (await wire.head()).status == 200


async def test_a_client_that_waits_is_refused_before_its_body(line: StartLine, connect: Connect) -> None:
    """A body that is too large by its announced length is refused without `100 Continue`."""
    wire = await connect((await line(1, limits=Limits(max_body_bytes=10))).port)
    await wire.send(_post(_CHAT, b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert (await wire.message()).status == 413


async def test_http_10_is_not_told_to_continue(serve: Serve, connect: Connect) -> None:
    """HTTP/1.0 has no interim answers: its expectation is ignored."""
    wire = await connect((await serve()).port)
    await wire.send(b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    await asyncio.sleep(0.01)
    await wire.send(b"hi")
    assert (await wire.message()).body == b"POST /x hi"


# the end


@pytest.mark.parametrize("how", [Wire.close, Wire.reset, Wire.end], ids=["closes", "resets", "ends its side"])
async def test_a_client_that_leaves(
    how: Callable[[Wire], None], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Its upstream connection is closed at once, and the request is accounted as left by its client."""
    reached = asyncio.Event()
    provider = await upstream(_silent(reached))
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(_post(_CHAT))
    await asyncio.wait_for(reached.wait(), TIMEOUT)
    how(wire)
    await provider.all_ended()
    await started.logged("reason=ClientClosed")


async def test_an_answer_that_outlasts_the_drain(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A request that is under way when the time to drain is over is accounted as cut by the gateway, not its client."""
    reached = asyncio.Event()
    provider = await upstream(_silent(reached))
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(_post(_CHAT))
    await asyncio.wait_for(reached.wait(), TIMEOUT)
    await started.worker.drain(0.0)
    await provider.all_ended()
    await started.logged("http.status=503 ")
    await started.logged("reason=Internal")
    assert "ClientClosed" not in started.log.read_text()


async def test_a_client_that_leaves_in_its_body(serve: Serve, connect: Connect) -> None:
    """The handler that waits for the body is cancelled, whatever it is doing."""
    cancelled = asyncio.Event()

    async def wait(request: Request, _: ServerConnection) -> None:
        try:
            await request.body.gather(1000)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    served = await serve(handler=wait)
    wire = await connect(served.port)
    await wire.send(_post(b"hello")[:-3])
    await until(lambda: served.server.received_bytes)
    wire.close()
    await asyncio.wait_for(cancelled.wait(), TIMEOUT)
    await until(lambda: not served.server.connections)


async def test_draining(serve: Serve, connect: Connect) -> None:
    """Idle connections close at once, busy ones after their answer, which says so."""
    release = asyncio.Event()

    async def wait(_: Request, client: ServerConnection) -> None:
        await release.wait()
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"], b"")

    served = await serve(handler=wait)
    idle, busy = await connect(served.port), await connect(served.port)
    await busy.send(_GET)
    await until(lambda: any(connection.active for connection in served.server.connections))
    served.server.drain()
    assert await idle.rest() == b""
    release.set()
    assert (await busy.message()).value(b"connection") == b"close"
    assert await busy.rest() == b""
    assert await served.server.drained(TIMEOUT)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_a_peer_of_ipv6(serve: Serve) -> None:
    """An IPv6 client's address stands in brackets before its port, as in a URL."""
    server = (await serve()).server
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as bound:
        listening = await server.accept_on(bound.dup(), None)
        _, writer = await asyncio.open_connection("::1", bound.getsockname()[1])
        await until(lambda: server.connections)
        (connection,) = server.connections
        assert connection.peer == f"[::1]:{writer.get_extra_info('sockname')[1]}"
        writer.close()
        listening.close()


async def test_draining_over_tls(serve: Serve) -> None:
    """A client that keeps an idle connection for later does not read the end of TLS: it is waited for but shortly."""
    ca = trustme.CA()
    there, here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("a.test").configure_cert(there)
    ca.configure_trust(here)
    server = (await serve()).server
    listening = await server.accept_on(bound := socket.create_server(("127.0.0.1", 0)), there)
    port = bound.getsockname()[1]

    def ask() -> tuple[ssl.SSLSocket, bytes]:
        keeping = here.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="a.test")
        keeping.sendall(_GET)
        return keeping, keeping.recv(15)

    keeping, answer = await asyncio.to_thread(ask)
    with keeping:
        assert answer == b"HTTP/1.1 200 OK"
        listening.close()
        server.drain()
        assert await server.drained(5)


async def test_a_handler_that_fails_ends_its_connection_only(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault in a handler cuts that connection, is logged, and other connections go on."""

    async def fail(request: Request, client: ServerConnection) -> None:
        if request.path == b"/bad":
            raise RuntimeError("on purpose")
        client.respond([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"], b"")

    served = await serve(handler=fail)
    bad, good = await connect(served.port), await connect(served.port)
    await bad.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await bad.rest() == b""
    await good.send(_GET)
    assert (await good.message()).status == 200
    assert "on purpose" in caplog.text
