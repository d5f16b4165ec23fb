"""Forward proxies for tests: how a backend comes to be behind one, and one that leads to this machine."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import NamedTuple

import trustme

from tests.http.conftest import Connect
from tests.http.wire import Script, Upstream, Wire
from torana.model.backend import Backend, Connecting, Target, Tunnel
from torana.model.policy import BackendAuth, BackendTls

_GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def roots(ca: trustme.CA) -> BackendTls:
    return BackendTls(roots=ca.cert_pem.bytes().decode())


def server_tls(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    return context


def through(proxy: Tunnel, port: int, *, host: str = "127.0.0.1", tls: BackendTls | None = None) -> Backend:
    return Backend("up", Target(host, port), tls=tls, connecting=Connecting(tunnel=proxy))


def tunnel(port: int, auth: BackendAuth | None = None, tls: BackendTls | None = None) -> Tunnel:
    return Tunnel(Target("127.0.0.1", port), tls, auth)


class Asked(NamedTuple):
    status: int
    message: str


async def ask(port: int, connect: Connect) -> Asked:
    wire = await connect(port)
    await wire.send(_GET)
    answer = await wire.message()
    return Asked(answer.status, json.loads(answer.body)["error"]["message"] if answer.status != 200 else "")


def relay(proxy: Upstream) -> Script:
    """CONNECT to whatever name leads to that port of this machine."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def script(wire: Wire) -> None:
        request = await proxy.take(wire)
        port = int(request.start.split(b" ")[1].rpartition(b":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await wire.send(b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.0 200 Established\r\nContent-Length: 99\r\n\r\n")
            await asyncio.gather(pump(wire.reader, writer), pump(reader, wire.writer))
        finally:
            writer.transport.abort()

    return script
