"""WebSockets through the gateway, with a client and a server that know nothing of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import msgspec
import pytest
import trustme
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.http.conftest import Connect, Line, StartLine
from tests.http.tunnels import roots, server_tls
from tests.http.wire import TIMEOUT, until
from tests.ports import free_port
from torana.model.backend import Backend, Provider, ProviderKind, Target
from torana.model.config import Bind, Config, Limits, Listener, ServerTls
from torana.model.config import Protocol as Speaks
from torana.model.policy import BackendAuth, HeaderModifier, RoutePolicies, Timeout
from torana.model.secret import Secret

Talk = Callable[[ServerConnection], Awaitable[None]]


class Provided(NamedTuple):
    """A WebSocket server: its port, and the requests it took."""

    port: int
    seen: list[Request]


class Provide(Protocol):
    async def __call__(
        self, talk: Talk = ..., refusal: HTTPStatus | None = None, tls: ssl.SSLContext | None = None, **options: Any
    ) -> Provided: ...


async def _echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@pytest.fixture
async def provide() -> AsyncIterator[Provide]:
    """Starts servers that echo, or talk as the test says."""
    async with AsyncExitStack() as stack:

        async def start(
            talk: Talk = _echo, refusal: HTTPStatus | None = None, tls: ssl.SSLContext | None = None, **options: Any
        ) -> Provided:
            seen: list[Request] = []

            def note(socket: ServerConnection, request: Request) -> Response | None:
                seen.append(request)
                return socket.respond(refusal, "no key\n") if refusal is not None else None

            server = await stack.enter_async_context(
                serve(talk, "127.0.0.1", 0, process_request=note, ssl=tls, close_timeout=TIMEOUT, **options)
            )
            return Provided(next(iter(server.sockets)).getsockname()[1], seen)

        yield start


class Dial(Protocol):
    async def __call__(self, line: Line, path: str = "/ws", **options: Any) -> ClientConnection: ...


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Opens WebSockets through a gateway, which end with the test."""
    async with AsyncExitStack() as stack:

        async def start(line: Line, path: str = "/ws", **options: Any) -> ClientConnection:
            scheme = "wss" if "ssl" in options else "ws"
            dialled = open_websocket(
                f"{scheme}://localhost:{line.port}{path}",
                proxy=None,
                close_timeout=TIMEOUT,
                open_timeout=TIMEOUT,
                **options,
            )
            return await stack.enter_async_context(dialled)

        yield start


async def _next(socket: ClientConnection | ServerConnection) -> websockets.Data:
    async with asyncio.timeout(TIMEOUT):
        return await socket.recv()


async def _closed(socket: ClientConnection | ServerConnection) -> tuple[int | None, str | None]:
    """Code and reason, once it is closed."""
    async with asyncio.timeout(TIMEOUT):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def test_messages_both_ways(line: StartLine, provide: Provide, dial: Dial) -> None:
    """Texts, bytes, empty and large messages come back as they went, compressed as client and server agreed."""
    server = await provide(max_size=None)
    started = await line(server.port, plain=True)
    socket = await dial(started, max_size=None)
    assert socket.response is not None
    assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
    for message in ("hello", "", "\u00fc" * 70_000, b"\0\xff", b"", bytes(range(256)) * 40_000):
        await socket.send(message)
        assert await _next(socket) == message


async def test_the_request_is_one_like_any_other(line: StartLine, provide: Provide, dial: Dial) -> None:
    """Path, query, subprotocol and fields go on; the credential, the host and header rules are applied, both ways."""
    server = await provide(subprotocols=["realtime"])
    backend = Backend("up", Target("127.0.0.1", server.port), auth=BackendAuth(Secret("sk-ours")))
    policies = RoutePolicies(
        request_headers=HeaderModifier(set=(("x-team", "a"),)), response_headers=HeaderModifier(set=(("x-by", "us"),))
    )
    started = await line(backend=backend, policies=policies)
    fields = {"Authorization": "Bearer sk-theirs", "X-Kept": "1"}
    socket = await dial(started, "/deep/ws?a=b", subprotocols=["realtime"], additional_headers=fields)
    (request,) = server.seen
    assert request.path == "/deep/ws?a=b"
    assert request.headers["Authorization"] == "Bearer sk-ours"
    assert (request.headers["X-Kept"], request.headers["x-team"]) == ("1", "a")
    assert request.headers["Host"] == f"127.0.0.1:{server.port}"
    assert socket.subprotocol == "realtime"
    assert socket.response is not None
    assert (socket.response.status_code, socket.response.headers["x-by"]) == (101, "us")


KEY = "openai-insecure-api-key.sk-client"


@pytest.mark.parametrize("auth", [None, BackendAuth(Secret("own"))], ids=["none", "own"])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    ("offered", "kept"), [(["realtime", KEY, "beta"], "realtime, beta"), ([KEY], None), (["realtime"], "realtime")]
)
async def test_a_key_among_the_subprotocols(
    auth: BackendAuth | None,
    plain: bool,
    offered: list[str],
    kept: str | None,
    line: StartLine,
    provide: Provide,
    connect: Connect,
) -> None:
    """The key that browsers send as a subprotocol goes to no backend that has its own; without one it goes on."""
    server = await provide(select_subprotocol=lambda *_: None)
    provider = None if plain else Provider(ProviderKind.OPENAI)
    started = await line(backend=Backend("up", Target("127.0.0.1", server.port), provider=provider, auth=auth))
    wire = await connect(started.port)
    await wire.send(
        b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: " + ",".join(offered).encode() + b"\r\n\r\n"
    )
    assert (await wire.head()).start == b"HTTP/1.1 101 Switching Protocols"
    assert server.seen[0].headers.get("Sec-WebSocket-Protocol") == (",".join(offered) if auth is None else kept)


async def test_it_is_accounted_for_when_it_ends(line: StartLine, provide: Provide, dial: Dial) -> None:
    """The log has one line, at the end: status 101, the endpoint, no failure; the metrics count what was sent."""
    server = await provide()
    started = await line(server.port, plain=True)
    socket = await dial(started, compression=None)
    await socket.send("x" * 1000)
    await _next(socket)
    assert started.log.read_text() == ""
    await socket.close()
    await started.logged("http.status=101")
    (text,) = started.log.read_text().splitlines()
    assert f"endpoint=127.0.0.1:{server.port}" in text
    assert "http.path=/ws" in text
    assert "reason=" not in text
    (series,) = started.worker.state().http
    # The echo with its head of 4 bytes, and the close frame of 4 that answers the client's (RFC 6455, 5.2 and 5.5.1).
    assert (series.requests, series.answer_bytes) == (1, 1008)


@pytest.mark.parametrize("who", ["client", "server"])
async def test_close_codes(who: str, line: StartLine, provide: Provide, dial: Dial) -> None:
    """The code and reason of whoever closes reach the other end, and both connections end."""
    taken: list[ServerConnection] = []

    async def talk(socket: ServerConnection) -> None:
        taken.append(socket)
        if who == "server":
            await socket.close(4001, "session expired")
        await socket.wait_closed()

    server = await provide(talk)
    started = await line(server.port, plain=True)
    socket = await dial(started)
    if who == "client":
        await socket.close(4001, "session expired")
    assert await _closed(socket) == (4001, "session expired")
    assert await _closed(taken[0]) == (4001, "session expired")
    await started.logged("http.status=101")
    assert "reason=" not in started.log.read_text()


async def test_pings(line: StartLine, provide: Provide, dial: Dial) -> None:
    """A ping of either end is answered by the other, not by the gateway."""

    async def talk(socket: ServerConnection) -> None:
        await (await socket.ping(b"from the server"))
        await socket.send("got a pong")
        await socket.wait_closed()

    started = await line((await provide(talk, ping_interval=None)).port, plain=True)
    socket = await dial(started, ping_interval=None)
    assert await _next(socket) == "got a pong"
    async with asyncio.timeout(TIMEOUT):
        await (await socket.ping(b"from the client"))


async def test_an_upstream_that_refuses(line: StartLine, provide: Provide, dial: Dial) -> None:
    """What is no 101 is an answer like any other, body and all."""
    server = await provide(refusal=HTTPStatus.UNAUTHORIZED)
    started = await line(server.port, plain=True)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await dial(started)
    assert (refused.value.response.status_code, refused.value.response.body) == (401, b"no key\n")
    await started.logged("http.status=401")


async def test_an_upstream_that_dies(line: StartLine, provide: Provide, dial: Dial) -> None:
    """Its client's connection ends without a close frame, as the upstream's did."""

    async def talk(socket: ServerConnection) -> None:
        socket.transport.abort()

    started = await line((await provide(talk)).port, plain=True)
    assert (await _closed(await dial(started)))[0] == 1006
    await started.logged("http.status=101")


async def test_a_client_that_dies(line: StartLine, provide: Provide, dial: Dial) -> None:
    """The upstream's connection ends at once."""
    gone: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def talk(socket: ServerConnection) -> None:
        await socket.wait_closed()
        gone.set_result(socket.close_code)

    started = await line((await provide(talk)).port, plain=True)
    socket = await dial(started)
    socket.transport.abort()
    async with asyncio.timeout(TIMEOUT):
        assert await gone == 1006
    await started.logged("http.status=101")


async def test_an_upstream_that_is_not_there(line: StartLine, dial: Dial) -> None:
    """Before the 101 a failure is told in the usual words."""
    started = await line(free_port(), plain=True)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await dial(started)
    assert refused.value.response.status_code == 503


async def test_draining(line: StartLine, provide: Provide, dial: Dial) -> None:
    """A session may go on while the gateway drains, and is cut when the time for that is over; the log has it."""
    started = await line((await provide()).port, plain=True)
    socket = await dial(started)
    draining = asyncio.create_task(started.worker.drain(0.3))
    await asyncio.sleep(0)
    await socket.send("still here")
    assert await _next(socket) == "still here"
    assert (await _closed(socket))[0] == 1006
    async with asyncio.timeout(TIMEOUT):
        assert not await draining
    await started.logged("http.status=101")


async def test_silence_ends_it(line: StartLine, provide: Provide, dial: Dial) -> None:
    """Without a byte either way for `idle_timeout` both connections are closed, and the log says why."""
    started = await line((await provide(ping_interval=None)).port, plain=True, limits=Limits(idle_timeout=0.2))
    socket = await dial(started, ping_interval=None)
    assert (await _closed(socket))[0] == 1006
    await started.logged("Nothing came from either end of the WebSocket within 0.2 seconds.")


async def test_pings_are_no_silence(line: StartLine, provide: Provide, dial: Dial) -> None:
    """A session of nothing but pings stays open."""
    started = await line((await provide(ping_interval=None)).port, plain=True, limits=Limits(idle_timeout=0.4))
    socket = await dial(started, ping_interval=0.05)
    for _ in range(20):  # a second, of pings every twentieth
        await asyncio.sleep(0.05)
    await socket.send("x")
    assert await _next(socket) == "x"


async def test_the_total_timeout_ends_it(line: StartLine, provide: Provide, dial: Dial) -> None:
    """`totalTimeout` is for sessions too, however busy."""
    policies = RoutePolicies(timeout=Timeout(total=1.5))
    started = await line((await provide()).port, plain=True, policies=policies)
    assert (await _closed(await dial(started, ping_interval=0.02)))[0] == 1006
    await started.logged("timeout.totalTimeout of 1.5 s")


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


async def test_tls_on_both_sides(ca: trustme.CA, line: StartLine, provide: Provide, dial: Dial) -> None:
    """wss:// in, wss:// out: messages, large ones too, and the close code pass."""
    taken: list[ServerConnection] = []

    async def talk(socket: ServerConnection) -> None:
        taken.append(socket)
        await _echo(socket)

    server = await provide(talk, tls=server_tls(ca, "provider.test"), max_size=None)
    theirs = msgspec.structs.replace(roots(ca), hostname="provider.test")
    backend = Backend("up", Target("127.0.0.1", server.port), tls=theirs)
    started = await line(backend=backend)
    own = ca.issue_cert("localhost")
    tls = ServerTls(own.cert_chain_pems[0].bytes().decode(), Secret(own.private_key_pem.bytes().decode()))
    (listener,) = started.config.binds[0].listeners
    listener = Listener("listener", protocol=Speaks.HTTPS, tls=tls, routes=listener.routes)
    await started.apply(Config((Bind(started.port, (listener,)),), started.config.limits, started.config.settings))
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    socket = await dial(started, ssl=trusting, max_size=None)
    for message in ("hello", b"\0\xff" * 2_000_000):
        await socket.send(message)
        assert await _next(socket) == message
    await socket.close(4002, "enough")
    assert await _closed(taken[0]) == (4002, "enough")
    await started.logged("http.status=101")


async def test_the_configured_model_of_realtime(line: StartLine, provide: Provide, dial: Dial) -> None:
    """The query of a realtime session has the configured model, whatever the client wrote; the log knows it."""
    server = await provide()
    backend = Backend("up", Target("127.0.0.1", server.port), provider=Provider(ProviderKind.OPENAI, "gpt-realtime"))
    started = await line(backend=backend)
    socket = await dial(started, "/v1/realtime?model=mine&x=%20y")
    await socket.close()
    assert server.seen[0].path == "/v1/realtime?model=gpt-realtime&x=%20y"
    await started.logged("gen_ai.operation.name=realtime")
    assert "gen_ai.request.model=gpt-realtime" in started.log.read_text()


async def test_connections_of_sessions_are_counted(
    line: StartLine, provide: Provide, dial: Dial, connect: Connect
) -> None:
    """An open session is an open connection, for the limit and the metrics, until it ends."""
    started = await line((await provide()).port, plain=True, limits=Limits(max_connections=1))
    socket = await dial(started)
    assert started.worker.state().open_connections == 1
    assert (await (await connect(started.port)).message()).status == 503
    await socket.close()
    await until(lambda: started.worker.state().open_connections == 0)
    again = await dial(started)
    await again.send("x")
    assert await _next(again) == "x"
