"""Upstreams on Unix sockets: what cannot be reached, and TLS where it is asked for."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.tunnels import ask
from tests.http.wire import each
from torana.model.backend import Backend, Target
from torana.model.policy import BackendTls

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_NAME = "provider.test"


async def test_a_socket_that_is_not_there(tmp_path: Path, line: StartLine, connect: Connect) -> None:
    """A Unix socket has no name to look up: what fails is the connect."""
    backend = Backend("up", Target("localhost", 0, unix=str(tmp_path / "none")))
    asked = await ask((await line(0, backend=backend)).port, connect)
    assert (asked.status, "(phase connect)" in asked.message) == (503, True)


@pytest.mark.parametrize(("name", "status"), [(_NAME, 200), ("other.test", 503)], ids=["its name", "another"])
async def test_tls(
    name: str, status: int, tmp_path: Path, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The policy backendTLS holds for a Unix socket too: the name is sent and checked, and what fails is phase tls."""
    ca, path = trustme.CA(), str(tmp_path / "socket")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    await upstream(each(_OK), unix=path, ssl=context)
    tls = BackendTls(hostname=_NAME, roots=ca.cert_pem.bytes().decode())
    asked = await ask((await line(0, backend=Backend("up", Target("localhost", 0, unix=path), tls=tls))).port, connect)
    assert (asked.status, "(phase tls)" in asked.message) == (status, status != 200), asked
