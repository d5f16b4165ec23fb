"""Connecting upstream: which phase failed, whom TLS trusts, and where a connection really goes."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.http.conftest import Connect, Line, StartLine, StartUpstream
from tests.http.wire import TIMEOUT, Script, Upstream, Wire, each
from tests.ports import free_port
from torana.errors import GatewayError, Reason
from torana.http import dial
from torana.http.client import UpstreamConnection
from torana.http.dial import Address, Dialler, Override
from torana.http.sweep import Sweep
from torana.model.backend import Backend, Connecting, Target
from torana.model.config import Settings
from torana.model.policy import BackendTls, Keepalive
from torana.model.secret import Secret

_GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_NAME = "provider.test"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def other_ca() -> trustme.CA:
    return trustme.CA()


def _pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def _server_tls(ca: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _identified(ca: trustme.CA, uri: str) -> ssl.SSLContext:
    """A server whose certificate names no host: a URI, as SPIFFE has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    signer = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    unsigned = x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), x509.random_serial_number())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    dated = unsigned.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    certificate = dated.add_extension(names, critical=True).sign(signer, hashes.SHA256())
    unencrypted = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, unencrypted)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.LeafCert(private, certificate.public_bytes(serialization.Encoding.PEM), []).configure_cert(context)
    return context


class Asked(NamedTuple):
    status: int
    message: str


async def _ask(line: Line, connect: Connect) -> Asked:
    wire = await connect(line.port)
    await wire.send(_GET)
    answer = await wire.message()
    return Asked(answer.status, json.loads(answer.body)["error"]["message"] if answer.status != 200 else "")


def _to(port: int, host: str = _NAME, tls: BackendTls | None = None) -> Backend:
    return Backend("up", Target(host, port), tls=tls)


def _resolve(port: int, host: str = _NAME) -> dict[tuple[str, int], Override]:
    return {(host, port): Override("127.0.0.1", port)}


# phases


async def test_nobody_listens(line: StartLine, connect: Connect) -> None:
    """A refused connection is 503 and says address, phase and time; the log says it once."""
    port = free_port()
    started = await line(0, backend=_to(port, "127.0.0.1"))
    asked = await _ask(started, connect)
    assert asked.status == 503
    expected = rf"Cannot connect to 127\.0\.0\.1:{port} \(phase connect\): connection refused after \d+ ms\."
    assert re.fullmatch(expected, asked.message)
    await started.logged(f'error="{asked.message}"')


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".test", "a..b"])
async def test_no_such_name(host: str, line: StartLine, connect: Connect) -> None:
    """A name that does not resolve, or cannot be one, is 503 in phase dns."""
    asked = await _ask(await line(0, backend=_to(443, host)), connect)
    assert (asked.status, "(phase dns)" in asked.message) == (503, True), asked


async def test_a_handshake_that_never_ends(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """connect_timeout covers every phase: 504, and the connection is closed."""

    def make(_: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await wire.rest()

        return script

    provider = await upstream(make)
    settings = Settings(ipv6=False, connect_timeout=1.0)
    asked = await _ask(await line(0, backend=_to(provider.port, "127.0.0.1", BackendTls()), settings=settings), connect)
    assert asked.status == 504
    assert "(phase tls): no success within 1 s" in asked.message
    await provider.all_ended()


async def test_given_up_as_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is given up in the very turn in which it is made leaves nothing behind."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    sweep = Sweep()
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1])
    dialling = asyncio.create_task(Dialler(sweep, {}, 5.0, 5.0).dial(Address(target)))
    connected = UpstreamConnection.connection_made

    def give_up(connection: UpstreamConnection, transport: asyncio.BaseTransport) -> None:
        connected(connection, transport)
        dialling.cancel()

    monkeypatch.setattr(UpstreamConnection, "connection_made", give_up)
    with pytest.raises(asyncio.CancelledError):
        await dialling
    async with asyncio.timeout(TIMEOUT):
        while sweep.members:  # noqa: ASYNC110 - it may be told of its end in a later turn
            await asyncio.sleep(0)
    server.close()


async def test_a_connect_that_never_ends(monkeypatch: pytest.MonkeyPatch, line: StartLine, connect: Connect) -> None:
    """An address that does not answer at all is 504 in phase connect."""

    async def never(_: object) -> socket.socket:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    monkeypatch.setattr(dial, "_connect", never)  # a full backlog or a dropping firewall cannot be had on loopback
    settings = Settings(ipv6=False, connect_timeout=1.0)
    asked = await _ask(await line(0, backend=_to(1, "127.0.0.1"), settings=settings), connect)
    assert (asked.status, "(phase connect)" in asked.message) == (504, True)


async def test_a_connect_that_the_system_gives_up(
    monkeypatch: pytest.MonkeyPatch, line: StartLine, connect: Connect
) -> None:
    """Where the system's patience ends before ours, what is told is its time and not ours."""

    async def gives_up(_: object) -> socket.socket:
        raise TimeoutError(errno.ETIMEDOUT, "")

    monkeypatch.setattr(dial, "_connect", gives_up)
    asked = await _ask(await line(0, backend=_to(1, "127.0.0.1")), connect)
    assert asked.status == 504
    assert re.search(r"\(phase connect\): connection timed out after \d+ ms\.", asked.message)


# TLS


class Case(NamedTuple):
    """A server's certificate, the rules it is met with, and what the failure says; empty when it is accepted."""

    names: tuple[str, ...]
    tls: BackendTls
    failure: str = ""


@pytest.fixture
def cases(ca: trustme.CA, other_ca: trustme.CA) -> dict[str, Case]:
    right, wrong = (_NAME,), ("other.test",)
    roots, others = _pem(ca), _pem(other_ca)
    return {
        "right name": Case(right, BackendTls(roots=roots)),
        "wrong name": Case(wrong, BackendTls(roots=roots), "certificate is not accepted (Hostname mismatch"),
        "unknown CA": Case(right, BackendTls(roots=others), "unable to get local issuer certificate"),
        "system's CAs": Case(right, BackendTls(), "unable to get local issuer certificate"),
        "hostname": Case(wrong, BackendTls(roots=roots, hostname="other.test")),
        "hostname, wrong": Case(right, BackendTls(roots=roots, hostname="other.test"), "Hostname mismatch"),
        "insecure": Case(wrong, BackendTls(roots=others, insecure=True)),
        "insecureHost": Case(wrong, BackendTls(roots=roots, insecure_host=True)),
        "insecureHost, unknown CA": Case(wrong, BackendTls(roots=others, insecure_host=True), "local issuer"),
        "SAN": Case(wrong, BackendTls(roots=roots, subject_alt_names=("x.test", "other.test"))),
        "SAN, none fits": Case(right, BackendTls(roots=roots, subject_alt_names=("x.test",)), "not x.test"),
        "SAN, unknown CA": Case(wrong, BackendTls(roots=others, subject_alt_names=("other.test",)), "local issuer"),
    }


_CASES = (
    "right name", "wrong name", "unknown CA", "system's CAs", "hostname", "hostname, wrong", "insecure", "insecureHost",
    "insecureHost, unknown CA", "SAN", "SAN, none fits", "SAN, unknown CA",
)  # fmt: skip


@pytest.mark.parametrize("name", _CASES)
async def test_whom_tls_trusts(
    name: str, cases: dict[str, Case], ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A certificate is accepted by the rules of backendTLS; else 503 in phase tls, which says why."""
    case = cases[name]
    provider = await upstream(each(_OK), ssl=_server_tls(ca, *case.names))
    port = provider.port
    asked = await _ask(await line(0, backend=_to(port, tls=case.tls), overrides=_resolve(port)), connect)
    if case.failure:
        assert asked.status == 503
        assert f"Cannot connect to {_NAME}:{port} (phase tls): " in asked.message
        assert case.failure in asked.message
    else:
        assert asked.status == 200
    assert len(provider.requests) == (0 if case.failure else 1)


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (("spiffe://example.com/model",), 200),
        (("none.test", "spiffe://example.com/model"), 200),
        (("spiffe://example.com/other",), 503),
        ((_NAME,), 503),
    ],
)
async def test_a_uri_is_accepted(
    names: tuple[str, ...], status: int, ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """One of the accepted names may be a URI, which must stand in the certificate as it is written."""
    provider = await upstream(each(_OK), ssl=_identified(ca, "spiffe://example.com/model"))
    tls = BackendTls(roots=_pem(ca), hostname="other.test", subject_alt_names=names)
    started = await line(0, backend=_to(provider.port, tls=tls), overrides=_resolve(provider.port))
    assert (await _ask(started, connect)).status == status
    assert len(provider.requests) == (status == 200)


async def test_the_name_sent_is_the_one_checked(
    ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """SNI is backendTLS.hostname, or else the host connected to; where --resolve leads makes no difference."""
    names: list[str | None] = []
    context = _server_tls(ca, _NAME, "other.test")
    context.sni_callback = lambda _, name, __: names.append(name)
    provider = await upstream(each(_OK), ssl=context)
    for tls in (BackendTls(roots=_pem(ca)), BackendTls(roots=_pem(ca), hostname="other.test")):
        started = await line(0, backend=_to(provider.port, tls=tls), overrides=_resolve(provider.port))
        assert (await _ask(started, connect)).status == 200
    assert names == [_NAME, "other.test"]
    assert provider.requests[0].value(b"host") == b"%b:%d" % (_NAME.encode(), provider.port)


async def test_tls_to_a_plaintext_port(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The likely slip is named: the port does not speak TLS."""

    def make(_: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await wire.some()
            await wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        return script

    provider = await upstream(make)
    asked = await _ask(await line(0, backend=_to(provider.port, "127.0.0.1", BackendTls())), connect)
    assert asked.status == 503
    assert "(phase tls): TLS handshake failed (WRONG_VERSION_NUMBER)" in asked.message
    assert "does not seem to speak TLS" in asked.message


@pytest.mark.parametrize("shown", [True, False])
async def test_a_client_certificate(
    shown: bool, ca: trustme.CA, other_ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """backendTLS.cert and key are shown to an upstream that asks for them; without, it ends the connection."""
    provider = await upstream(each(_OK), ssl=_server_tls(ca, _NAME, clients=other_ca))
    pair = other_ca.issue_cert("gateway.test")
    cert = "".join(blob.bytes().decode() for blob in pair.cert_chain_pems)
    key = Secret(pair.private_key_pem.bytes().decode())
    tls = BackendTls(roots=_pem(ca), cert=cert, key=key) if shown else BackendTls(roots=_pem(ca))
    started = await line(0, backend=_to(provider.port, tls=tls), overrides=_resolve(provider.port))
    assert ((await _ask(started, connect)).status == 200) is shown


async def test_an_upstream_that_ends_a_tls_stream_early(
    ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Over TLS too a broken body is never completed."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

        return script

    provider = await upstream(make, ssl=_server_tls(ca, _NAME))
    tls = BackendTls(roots=_pem(ca))
    started = await line(0, backend=_to(provider.port, tls=tls), overrides=_resolve(provider.port))
    wire = await connect(started.port)
    await wire.send(_GET)
    answer = await wire.message()
    assert (answer.body, answer.complete) == (b"hello", False)


async def test_a_key_with_a_password_is_an_error(ca: trustme.CA, upstream: StartUpstream) -> None:
    """OpenSSL is kept from asking for the password of an encrypted key on the terminal."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - trustme brings it
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    provider = await upstream(each(_OK))
    pair = ca.issue_cert("gateway.test")
    key = load_pem_private_key(pair.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()
    tls = BackendTls(cert=pair.cert_chain_pems[0].bytes().decode(), key=Secret(locked))
    with pytest.raises(GatewayError) as raised:
        await Dialler(Sweep(), {}, 2, 2).dial(Address(Target("127.0.0.1", provider.port), tls))
    assert raised.value.reason is Reason.CONNECT_FAILED


# how a backend wants it


async def test_a_backends_own_timeout(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """tcp.connectTimeout of a backend wins over that of the process."""

    def make(_: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await wire.rest()

        return script

    provider = await upstream(make)
    target = Target("127.0.0.1", provider.port)
    backend = Backend("up", target, tls=BackendTls(), connecting=Connecting(timeout=1.0))
    asked = await _ask(await line(0, backend=backend), connect)
    assert (asked.status, "(phase tls): no success within 1 s" in asked.message) == (504, True), asked


@pytest.mark.parametrize(
    ("connecting", "expected"), [(None, (180, 180, 9)), (Connecting(keepalive=Keepalive(7, 5, 3)), (7, 5, 3))]
)
async def test_keepalive(
    connecting: Connecting | None,
    expected: tuple[int, int, int],
    line: StartLine,
    upstream: StartUpstream,
    connect: Connect,
) -> None:
    """Connections are probed by the backend's rule, else after 180 s, every 180 s, 9 times."""
    provider = await upstream(each(_OK))
    started = await line(0, backend=Backend("up", Target("127.0.0.1", provider.port), connecting=connecting))
    assert (await _ask(started, connect)).status == 200
    (lane,) = started.worker._runtime.pool._lanes.values()
    sock = lane.waiting[0].connection._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    assert tuple(sock.getsockopt(socket.IPPROTO_TCP, name) for name in names) == expected


async def test_no_keepalive(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Connections of a backend whose keepalives are off are not probed."""
    provider = await upstream(each(_OK))
    backend = Backend("up", Target("127.0.0.1", provider.port), connecting=Connecting(keepalive=None))
    started = await line(0, backend=backend)
    assert (await _ask(started, connect)).status == 200
    (lane,) = started.worker._runtime.pool._lanes.values()
    sock = lane.waiting[0].connection._transport.get_extra_info("socket")
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
