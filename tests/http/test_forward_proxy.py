"""Upstreams behind a forward proxy that is a real one, proxy.py."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.tunnels import ask, roots, server_tls, through, tunnel
from tests.http.wire import TIMEOUT, each, until
from tests.ports import free_port
from torana.model.policy import BackendAuth
from torana.model.secret import Secret

_GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
_BIG = b"x" * 3_000_000
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_NAME = "provider.test"
_PASSWORD = "pa55-w0rd"
_BASIC = BackendAuth(
    Secret(base64.b64encode(f"user:{_PASSWORD}".encode()).decode()), name="proxy-authorization", prefix="Basic "
)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


class StartProxy(Protocol):
    async def __call__(self, *options: str) -> int: ...


@pytest.fixture
async def forward_proxy(tmp_path: Path) -> AsyncIterator[StartProxy]:
    """Starts forward proxies (proxy.py, in a process of its own) and gives their ports."""
    async with AsyncExitStack() as stack:

        async def start(*options: str) -> int:
            port_file = tmp_path / "proxy-port"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"),
                *("--port-file", str(port_file), "--data-dir", str(tmp_path / "proxy"), "--log-level", "e"),
                *("--num-acceptors", "1", "--num-workers", "1", *options),
                cwd=tmp_path,
            )

            async def stop() -> None:
                process.terminate()
                await asyncio.wait_for(process.wait(), TIMEOUT)

            stack.push_async_callback(stop)
            await until(lambda: port_file.exists() and port_file.read_text().strip())
            return int(port_file.read_text())

        yield start


def _pair(ca: trustme.CA, folder: Path, *names: str) -> tuple[str, ...]:
    """proxy.py's options for serving TLS."""
    pair = ca.issue_cert(*names)
    pair.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(pair.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)
    return ("--cert-file", str(folder / "cert.pem"), "--key-file", str(folder / "key.pem"))


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("proxy_tls", [True, False])
async def test_a_real_proxy(
    tls: bool,
    proxy_tls: bool,
    ca: trustme.CA,
    tmp_path: Path,
    forward_proxy: StartProxy,
    line: StartLine,
    upstream: StartUpstream,
    connect: Connect,
) -> None:
    """Requests reach an upstream through a proxy that wants credentials, with TLS to either, both or neither."""
    options = _pair(ca, tmp_path, "127.0.0.1") if proxy_tls else ()
    proxy = await forward_proxy("--basic-auth", f"user:{_PASSWORD}", *options)
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_BIG) + _BIG
    provider = await upstream(each(_OK, big), ssl=server_tls(ca, "127.0.0.1") if tls else None)
    way = tunnel(proxy, _BASIC, roots(ca) if proxy_tls else None)
    backend = through(way, provider.port, tls=roots(ca) if tls else None)
    started = await line(0, backend=backend)
    wire = await connect(started.port)
    await wire.send(_GET)
    assert (await wire.message()).body == b"{}"
    await wire.send(b"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(_BIG), _BIG)
    answer = await wire.message()
    assert answer.body == _BIG
    assert provider.requests[1].body == _BIG
    assert b"proxy-authorization" not in provider.requests[0].names
    assert len(provider.wires) == 2  # an upload that is streamed has a connection of its own
    await until(lambda: started.worker._runtime.pool.idle_count == 2)
    await started.worker.drain(0)
    for ended in provider.ended:
        await asyncio.wait_for(ended.wait(), TIMEOUT)


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        (None, "it wants credentials"),
        (BackendAuth(Secret(f"{_PASSWORD}x")), "it does not accept the credentials it was sent"),
    ],
)
async def test_a_real_proxy_and_wrong_credentials(
    auth: BackendAuth | None, words: str, forward_proxy: StartProxy, line: StartLine, connect: Connect
) -> None:
    """A proxy's 407 is 503 in phase tunnel and says what is wrong with the credentials, without them."""
    proxy = await forward_proxy("--basic-auth", f"user:{_PASSWORD}")
    started = await line(0, backend=through(tunnel(proxy, auth), 443, host=_NAME))
    asked = await ask(started.port, connect)
    assert asked.status == 503
    way = f"Cannot connect to {_NAME}:443 through the proxy 127.0.0.1:{proxy} (phase tunnel): "
    assert asked.message.startswith(f"{way}the proxy answered 407 Proxy Authentication Required: {words} after ")
    await started.logged("(phase tunnel)")
    assert _PASSWORD not in asked.message + started.log.read_text()


async def test_a_real_proxy_that_cannot_reach_the_target(
    forward_proxy: StartProxy, line: StartLine, connect: Connect
) -> None:
    """A proxy that finds nobody at the target says so, and we repeat it."""
    proxy = await forward_proxy()
    asked = await ask((await line(0, backend=through(tunnel(proxy), free_port()))).port, connect)
    assert (asked.status, "(phase tunnel): the proxy answered 502" in asked.message) == (503, True), asked
