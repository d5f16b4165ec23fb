"""One worker: a configuration is put into effect as a whole or not at all, and no count is forgotten."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from tests.ports import free_port
from torana.http.server import Server
from torana.model.config import Bind, Config, Limits, Listener, Protocol, ServerTls, Settings
from torana.model.policy import DirectResponse, RoutePolicies
from torana.model.route import Route
from torana.model.secret import Secret
from torana.telemetry.writer import LineWriter
from torana.worker import CannotListenError, Worker

ROUTE = Route("route", policies=RoutePolicies(direct_response=DirectResponse(200, "here")))


def plain(*ports: int) -> Config:
    return Config(tuple(Bind(port, (Listener("listener", routes=(ROUTE,)),)) for port in ports))


async def here(port: int, host: str = "127.0.0.1") -> bool:
    """Whether the port is served."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.endswith(b"here")


@pytest.fixture
def lines() -> Iterator[LineWriter]:
    with Path(os.devnull).open("wb") as file:
        lines = LineWriter(file.fileno())
        yield lines
        lines.close()


@pytest.fixture
async def worker(lines: LineWriter) -> AsyncIterator[Worker]:
    worker = Worker(Settings(ipv6=False), {}, lines, reuse_port=False)
    yield worker
    await worker.drain(0.0)


async def test_counts_of_a_removed_port(worker: Worker) -> None:
    """What a port has counted stays when it is removed, both before its last connection has ended and after."""
    first, second = free_port(), free_port()
    key = (f"bind/{first}", "default", "http")
    await worker.apply(plain(first, second))
    assert await here(first)
    _, writer = await asyncio.open_connection("127.0.0.1", first)
    writer.write(b"GET / HTTP/1.1\r\n")  # under way: the port has not ended yet
    async with asyncio.timeout(20):
        while worker.state().connections[key] < 2:  # noqa: ASYNC110 - accepted in its own time
            await asyncio.sleep(0)
        before = worker.state()
        assert before.sent_bytes > 0
        await worker.apply(plain(second))
        during = worker.state()
        assert during.open_connections == 1
        while worker._ending:  # noqa: ASYNC110 - the port's own time
            await asyncio.sleep(0.01)
    writer.close()
    after = worker.state()
    assert before.connections[key] == during.connections[key] == after.connections[key] == 2
    assert before.received_bytes <= during.received_bytes <= after.received_bytes
    assert before.sent_bytes <= during.sent_bytes <= after.sent_bytes
    assert after.open_connections == 0
    await worker.apply(plain(first, second))
    assert await here(first)
    assert worker.state().connections[key] == 3


async def test_counts_of_a_port_that_turns_to_tls(worker: Worker, tmp_path: Path) -> None:
    """What was accepted in plaintext stays counted as that when the port speaks TLS."""
    port = free_port()
    await worker.apply(plain(port))
    assert await here(port)
    issued = trustme.CA().issue_cert("here.example")
    file = tmp_path / "key"
    issued.private_key_pem.write_to_path(str(file))
    tls = ServerTls(issued.cert_chain_pems[0].bytes().decode(), Secret(file.read_text()))
    listener = Listener("listener", protocol=Protocol.HTTPS, tls=tls, routes=(ROUTE,))
    await worker.apply(Config((Bind(port, (listener,)),)))
    context = ssl._create_unverified_context()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="here.example")
    async with asyncio.timeout(20):
        while worker.state().open_connections == 0:  # noqa: ASYNC110 - its side of the handshake
            await asyncio.sleep(0)
    connections = worker.state().connections
    writer.transport.abort()
    assert connections == {(f"bind/{port}", "default", "http"): 1, (f"bind/{port}", "default", "https"): 1}


async def test_refused_as_a_whole(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a port cannot accept, nothing has changed: no new port is open, the old ones serve what they served."""
    old, *new = (free_port() for _ in range(3))
    await worker.apply(plain(old))
    former = worker._gateway.snapshot
    accept_on = Server.accept_on

    async def fails_for_the_last(server: Server, sock: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
        if server.port == new[-1]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await accept_on(server, sock, tls)

    with monkeypatch.context() as patch:
        patch.setattr(Server, "accept_on", fails_for_the_last)
        with pytest.raises(CannotListenError, match="Too many open files"):
            await worker.apply(plain(*new))
    assert worker._gateway.snapshot is former
    assert [await here(port) for port in (old, *new)] == [True, False, False]
    await worker.apply(plain(*new))
    assert [await here(port) for port in (old, *new)] == [False, True, True]


async def test_addresses(worker: Worker) -> None:
    """A bind's addresses alone are listened on, others when they change, and all when there are none."""
    port, other = free_port(), free_port()

    def on(port: int, *addresses: str) -> Config:
        return Config((Bind(port, (Listener("listener", routes=(ROUTE,)),), addresses),))

    hosts = ("127.0.0.1", "127.0.0.2")
    for addresses in (("127.0.0.1",), ("127.0.0.2",), hosts[:1]):
        await worker.apply(on(port, *addresses))
        assert [await here(port, host) for host in hosts] == [host in addresses for host in hosts]
    await worker.apply(on(other))
    assert [await here(other, host) for host in hosts] == [True, True]


async def test_all_ports_that_fail_are_told(worker: Worker) -> None:
    """Of several ports that cannot be opened each is told, with its address when it has one."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = one.getsockname()[1], two.getsockname()[1]
        free, local = plain(free_port()).binds, Bind(second, addresses=("127.0.0.1",))
        with pytest.raises(CannotListenError) as caught:
            await worker.apply(Config((*free, Bind(first), local)))
    reason = "Address already in use"
    assert caught.value.ports == {
        first: f"cannot listen on port {first}: {reason}",
        second: f"cannot listen on 127.0.0.1:{second}: {reason}",
    }
    assert not await here(free[0].port)


async def test_no_socket_to_be_had(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that cannot even be made is a port that cannot be opened."""

    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", none_left)
        with pytest.raises(CannotListenError, match="Too many open files"):
            await worker.apply(plain(1))
    assert not worker._ports


async def test_limit_of_open_files(lines: LineWriter, caplog: pytest.LogCaptureFixture) -> None:
    """A worker may open as many files as the system lets it, and warns once when maxConnections needs more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    try:
        worker = Worker(Settings(), {}, lines, reuse_port=False)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        with caplog.at_level(logging.WARNING):
            await worker.apply(Config(limits=Limits(max_connections=hard // 2)))
            assert not caplog.records
            for _ in range(2):
                await worker.apply(Config(limits=Limits(max_connections=hard // 2 + 1)))
        await worker.drain(0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (record,) = caplog.records
    assert f"maxConnections is {hard // 2 + 1}" in record.message
