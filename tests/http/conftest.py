"""What the HTTP tests share: servers, whole gateways and scripted upstreams on loopback, over uvloop as always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import pytest

from tests.http.wire import Script, Upstream, Wire, open_wire, until
from tests.loops import new_loop
from tests.ports import free_port
from torana.errors import GatewayError
from torana.http import client, connection, sweep
from torana.http.dial import Override
from torana.http.request import Request
from torana.http.server import Handler, Server, ServerConnection
from torana.http.sweep import Sweep
from torana.model.backend import Backend, BackendRef, Provider, ProviderKind, Target, alone
from torana.model.config import Bind, Config, Limits, Listener, Settings
from torana.model.policy import RoutePolicies
from torana.model.route import Route
from torana.proxy.reply import error_reply, refuse, render_reply
from torana.telemetry.writer import LineWriter
from torana.worker import Worker

INTERVAL = 0.01
"""Seconds between two sweeps here, so that a limit of seconds can be one of hundredths."""

_LIMITS = Limits()
_SETTINGS = Settings(ipv6=False)
_POLICIES = RoutePolicies()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": new_loop}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timed rules run the same, only faster."""
    monkeypatch.setattr(sweep, "INTERVAL", INTERVAL)
    monkeypatch.setattr(client, "INTERVAL", INTERVAL)
    monkeypatch.setattr(connection, "_LINGER", 0.3)


class Connect(Protocol):
    async def __call__(self, port: int, receive_buffer: int | None = None) -> Wire: ...


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens client connections, which end with the test."""
    wires: list[Wire] = []

    async def open_one(port: int, receive_buffer: int | None = None) -> Wire:
        wires.append(await open_wire(port, receive_buffer))
        return wires[-1]

    yield open_one
    for wire in wires:
        wire.writer.transport.abort()


class Served(NamedTuple):
    server: Server
    port: int
    seen: list[bytes]
    """Method, path and body of every request that got to the handler of `echo`."""


class Serve(Protocol):
    async def __call__(self, limits: Limits = ..., handler: Handler | None = None) -> Served: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers. Their handler, if a test brings none, answers with the method, path and body it was sent."""
    async with AsyncExitStack() as stack:

        async def start(limits: Limits = _LIMITS, handler: Handler | None = None) -> Served:
            seen: list[bytes] = []

            async def echo(request: Request, client: ServerConnection) -> None:
                try:
                    body = await request.body.gather(limits.max_body_bytes)
                except GatewayError as error:
                    reply = error_reply(error, "x")
                    client.respond(render_reply(reply), reply.body)
                    return
                seen.append(b"%b %b %b" % (request.method, request.path, body))
                head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(seen[-1])
                client.respond([head], b"" if request.method == b"HEAD" else seen[-1])

            timer = Sweep()
            timer.start()
            stack.callback(timer.stop)
            server = Server(handler or echo, refuse, limits, timer)
            port = free_port()
            listening = await asyncio.get_running_loop().create_server(
                lambda: ServerConnection(server), "127.0.0.1", port
            )
            stack.push_async_callback(_end, server, listening)
            return Served(server, port, seen)

        yield start


async def _end(server: Server, listening: asyncio.Server) -> None:
    listening.close()
    server.drain()
    await server.drained(0.0)


class StartUpstream(Protocol):
    async def __call__(
        self, make: Callable[[Upstream], Script], unix: str | None = None, **options: object
    ) -> Upstream: ...


@pytest.fixture
async def upstream() -> AsyncIterator[StartUpstream]:
    """Starts upstreams; `options` are asyncio.start_server's."""
    started: list[Upstream] = []

    async def idle(_: Wire) -> None:
        """Replaced at once."""

    async def start(make: Callable[[Upstream], Script], unix: str | None = None, **options: object) -> Upstream:
        one = Upstream(idle)
        one.script = make(one)
        await one.start(unix, **options)
        started.append(one)
        return one

    yield start
    for one in started:
        await one.stop()


class Line(NamedTuple):
    """A gateway in this process: one port, one route, one backend."""

    worker: Worker
    port: int
    config: Config
    log: Path

    async def logged(self, text: str) -> None:
        """Until the access log has a line with `text`, which is written soon after a request's end."""
        await until(lambda: text in self.log.read_text())

    async def apply(self, config: Config) -> None:
        await self.worker.apply(config)


class StartLine(Protocol):
    async def __call__(
        self,
        upstream_port: int = 0,
        *,
        plain: bool = False,
        backend: Backend | None = None,
        shares: tuple[BackendRef, ...] = (),
        limits: Limits = ...,
        settings: Settings = ...,
        policies: RoutePolicies = ...,
        overrides: Mapping[tuple[str, int], Override] | None = None,
    ) -> Line: ...


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[StartLine]:
    """Starts gateways. The backend is an OpenAI-compatible one, or with `plain` one whose bodies nobody reads.

    `shares` are the route's, where it is to have others than that one backend alone.
    """
    ends: list[Callable[[], Awaitable[object]]] = []
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = LineWriter(file.fileno())

        async def start(
            upstream_port: int = 0,
            *,
            plain: bool = False,
            backend: Backend | None = None,
            shares: tuple[BackendRef, ...] = (),
            limits: Limits = _LIMITS,
            settings: Settings = _SETTINGS,
            policies: RoutePolicies = _POLICIES,
            overrides: Mapping[tuple[str, int], Override] | None = None,
        ) -> Line:
            provider = None if plain else Provider(ProviderKind.OPENAI)
            backend = backend or Backend("up", Target("127.0.0.1", upstream_port), provider=provider)
            route = Route("route", backends=shares or (alone(backend),), policies=policies)
            port = free_port()
            config = Config((Bind(port, (Listener("listener", routes=(route,)),)),), limits, settings)
            worker = Worker(settings, overrides or {}, writer, reuse_port=False)
            await worker.apply(config)
            ends.append(lambda: worker.drain(0.0))
            return Line(worker, port, config, path)

        yield start
        for end in ends:
            await end()
        writer.close()


def changed(config: Config, backend: Backend) -> Config:
    """The same configuration with another backend."""
    route = config.binds[0].listeners[0].routes[0]
    return routed(config, msgspec.structs.replace(route, backends=(alone(backend),)))


def routed(config: Config, route: Route) -> Config:
    """The same configuration with another route."""
    bind = config.binds[0]
    listener = msgspec.structs.replace(bind.listeners[0], routes=(route,))
    return msgspec.structs.replace(config, binds=(msgspec.structs.replace(bind, listeners=(listener,)),))


async def served_by(line: StartLine, only: Route) -> Line:
    """A gateway with this route and no other."""
    started = await line()
    await started.apply(routed(started.config, only))
    return started
