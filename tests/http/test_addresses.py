"""From a name to a connection: look-ups that hang or fail, and names with several addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence

import msgspec
import pytest

from tests.http.conftest import Connect, StartLine, StartUpstream, changed
from tests.http.tunnels import ask
from tests.http.wire import TIMEOUT, each, until
from tests.ports import free_port
from torana.http import dial
from torana.model.backend import Backend, BackendRef, Connecting, Provider, ProviderKind, Target
from torana.model.config import Bind

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_NAME = "provider.test"


# names


class _SlowResolver:
    """The system's resolver, which for one name answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.asked = 0
        self.answer = threading.Event()
        self._name = name
        self._real = socket.getaddrinfo
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(dial, "_resolve", lambda host, port: loop.run_in_executor(None, self._resolve, host, port))

    def _resolve(self, host: str, port: int) -> Sequence[dial._Info]:
        if host != self._name:
            return self._real(host, port, type=socket.SOCK_STREAM)
        self.asked += 1
        self.answer.wait(TIMEOUT)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def test_a_slow_resolver(
    monkeypatch: pytest.MonkeyPatch, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A name whose look-up hangs is looked up once, ends in 504 in phase dns, and holds no other request up."""
    resolver = _SlowResolver(monkeypatch, _NAME)
    provider = await upstream(each(_OK))
    backend = Backend("up", Target(_NAME, 443), connecting=Connecting(timeout=1.5))
    slow, quick = await line(0, backend=backend), await line(provider.port)
    waiting = [asyncio.create_task(ask(slow.port, connect)) for _ in range(3)]
    await until(lambda: resolver.asked)
    assert (await ask(quick.port, connect)).status == 200
    assert not any(task.done() for task in waiting)
    for asked in await asyncio.gather(*waiting):
        assert (asked.status, "(phase dns): no success within 1.5 s" in asked.message) == (504, True), asked
    assert resolver.asked == 1
    resolver.answer.set()
    dialler = slow.worker._runtime.pool.dialler
    await until(lambda: not dialler._lookups)


async def test_the_next_endpoint_has_a_name(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A call goes to the next endpoint when the name of the first does not resolve."""
    provider = await upstream(each(_OK))
    first, second = (
        Backend(host, Target(host, provider.port), provider=Provider(ProviderKind.OPENAI))
        for host in ("no-such-host.invalid", "127.0.0.1")
    )
    started = await line(provider.port)
    config = changed(started.config, first)
    route = config.binds[0].listeners[0].routes[0]
    shares = (BackendRef(((first,), (second,))),)
    listener = msgspec.structs.replace(
        config.binds[0].listeners[0], routes=(msgspec.structs.replace(route, backends=shares),)
    )
    await started.apply(msgspec.structs.replace(config, binds=(Bind(started.port, (listener,)),)))
    assert (await ask(started.port, connect)).status == 200
    await started.logged(f"no-such-host.invalid:{provider.port} upstream_connect_failed")


# several addresses


async def test_the_next_address_is_tried(upstream: StartUpstream) -> None:
    """An address that refuses gives way to the next at once (RFC 8305)."""
    provider = await upstream(each(_OK))
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in (free_port(), provider.port)]
    sock = await dial._first_that_connects(infos)
    assert sock.getpeername()[1] == provider.port
    sock.close()


async def test_the_last_failure_is_told() -> None:
    """When no address connects, the failure is the system's."""
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", free_port())) for _ in range(2)]
    with pytest.raises(ConnectionRefusedError):
        await dial._first_that_connects(infos)


async def test_a_silent_address_is_overtaken(monkeypatch: pytest.MonkeyPatch, upstream: StartUpstream) -> None:
    """An address that says nothing holds the next up for its head start; the loser is given up."""
    provider = await upstream(each(_OK))
    real = dial._connect
    given_up = asyncio.Event()

    async def connect(info: dial._Info) -> socket.socket:
        if info[4][1] == 1:
            try:
                await asyncio.sleep(60)
            finally:
                given_up.set()
        return await real(info)

    monkeypatch.setattr(dial, "_HEAD_START", 0.02)
    monkeypatch.setattr(dial, "_connect", connect)
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in (1, provider.port)]
    sock = await dial._first_that_connects(infos)
    assert sock.getpeername()[1] == provider.port
    sock.close()
    await asyncio.wait_for(given_up.wait(), TIMEOUT)
