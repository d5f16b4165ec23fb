"""Upstreams behind a forward proxy: what goes in, what comes through, and which of the two failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import trustme

from tests.http.conftest import Connect, StartLine, StartUpstream, changed
from tests.http.tunnels import ask, relay, roots, server_tls, through, tunnel
from tests.http.wire import TIMEOUT, Script, Upstream, Wire, each
from tests.ports import free_port
from torana.http.dial import Override
from torana.model.backend import Backend, Connecting, Provider, ProviderKind, Target, Tunnel
from torana.model.config import Proxies, Settings
from torana.model.policy import BackendAuth, BackendTls, CredentialPlace
from torana.model.secret import Secret

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_NAME = "provider.test"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def _answering(*pieces: bytes, stay: bool = False) -> Callable[[Upstream], Script]:
    """Answers CONNECT with these bytes, and closes or waits."""

    def make(proxy: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await proxy.take(wire)
            await wire.send(*pieces)
            if stay:
                await wire.rest()

        return script

    return make


async def test_what_the_proxy_is_asked(
    ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """CONNECT has the target's name, which the proxy looks up, and one connection serves many requests."""
    provider = await upstream(each(_OK), ssl=server_tls(ca, _NAME))
    proxy = await upstream(relay)
    backend = through(tunnel(proxy.port, BackendAuth(Secret("k"))), provider.port, host=_NAME, tls=roots(ca))
    started = await line(0, backend=backend)
    for _ in range(2):
        assert (await ask(started.port, connect)).status == 200
    (asked,) = proxy.requests
    authority = f"{_NAME}:{provider.port}".encode()
    assert asked.start == b"CONNECT %b HTTP/1.1" % authority
    assert asked.fields == [(b"host", authority), (b"proxy-authorization", b"Bearer k")]
    assert provider.requests[0].value(b"host") == authority


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (BackendAuth(Secret("k"), name="X-Proxy-Key", prefix=""), (b"x-proxy-key", b"k")),
        (BackendAuth(Secret("k"), CredentialPlace.QUERY, "key", ""), (b"proxy-authorization", b"k")),
    ],
)
async def test_where_the_credential_goes(
    auth: BackendAuth, field: tuple[bytes, bytes], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A proxy's credential goes in the header that is named, and else in Proxy-Authorization."""
    proxy = await upstream(_answering(b"HTTP/1.1 403 No\r\n\r\n"))
    started = await line(0, backend=through(tunnel(proxy.port, auth), 443, host=_NAME))
    await ask(started.port, connect)
    assert [(name.lower(), value) for name, value in proxy.requests[0].fields][1:] == [field]


async def test_overrides_lead_the_proxy_and_the_tunnel(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """--resolve says where the proxy is, and for the upstream what the proxy is asked for."""
    provider = await upstream(each(_OK))
    proxy = await upstream(relay)
    way = Tunnel(Target("proxy.test", 3128))
    overrides = {
        ("proxy.test", 3128): Override("127.0.0.1", proxy.port),
        (_NAME, 80): Override("::1", provider.port),
    }
    started = await line(0, backend=through(way, 80, host=_NAME), overrides=overrides)
    assert (await ask(started.port, connect)).status == 200
    assert proxy.requests[0].start == b"CONNECT [::1]:%d HTTP/1.1" % provider.port
    assert provider.requests[0].value(b"host") == _NAME.encode()


_FAULTS = {
    "403": (b"HTTP/1.1 403 Filtered\x07\r\nContent-Length: 2\r\n\r\nno", "the proxy answered 403 Filtered to CONNECT "),
    "302": (b"HTTP/1.1 302\r\n\r\n", "the proxy answered 302 to CONNECT "),
    "long words": (b"HTTP/1.1 500 %b\r\n\r\n" % (b"y" * 300), "the proxy answered 500 " + "y" * 80 + " to CONNECT "),
    "closes": (b"", "the proxy closed the connection without an answer"),
    "closes within": (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection without an answer"),
    "junk": (b"SSH-2.0-OpenSSH_9.2\r\n", "the proxy's answer is not valid HTTP"),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", "the proxy's answer is not valid HTTP"),
    "endless": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000, "the head of the proxy's answer is over 16384 bytes"),
    "surplus": (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "more came from the proxy than its answer"),
}


@pytest.mark.parametrize("name", _FAULTS)
async def test_a_proxy_that_makes_no_tunnel(
    name: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Whatever a proxy does but open a tunnel is 503 in phase tunnel, in words; the connection is closed."""
    answer, words = _FAULTS[name]
    proxy = await upstream(_answering(answer, stay=name not in {"closes", "closes within"}))
    started = await line(0, backend=through(tunnel(proxy.port), 443, host=_NAME))
    asked = await ask(started.port, connect)
    assert asked.status == 503
    assert f"(phase tunnel): {words}" in asked.message
    await proxy.all_ended()


async def test_an_answer_byte_by_byte(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A proxy's answer may come in any pieces."""
    provider = await upstream(each(_OK))

    def make(proxy: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await proxy.take(wire)
            for byte in b"HTTP/1.1 103 Early Hints\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n":
                await wire.send(bytes([byte]))
                await asyncio.sleep(0)
            await provider.script(wire)

        return script

    proxy = await upstream(make)
    started = await line(0, backend=through(tunnel(proxy.port), 80, host=_NAME))
    assert (await ask(started.port, connect)).status == 200


async def test_a_proxy_that_cannot_be_reached(line: StartLine, connect: Connect) -> None:
    """What fails on the way to the proxy says that it is the proxy's connection."""
    port = free_port()
    asked = await ask((await line(0, backend=through(tunnel(port), 443, host=_NAME))).port, connect)
    start = f"Cannot connect to {_NAME}:443 through the proxy 127.0.0.1:{port} (phase connect): connection refused"
    assert (asked.status, asked.message.startswith(start)) == (503, True), asked
    way = Tunnel(Target("no-such-proxy.invalid", 3128))
    asked = await ask((await line(0, backend=through(way, 443, host=_NAME))).port, connect)
    assert (asked.status, "through the proxy no-such-proxy.invalid:3128 (phase dns)" in asked.message) == (503, True)


async def test_a_target_that_is_no_name(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A host that cannot be a name is told before the proxy is asked."""
    proxy = await upstream(relay)
    asked = await ask((await line(0, backend=through(tunnel(proxy.port), 443, host="a..b"))).port, connect)
    assert (asked.status, "the name is not one that can be looked up" in asked.message) == (503, True), asked
    assert not proxy.requests


@pytest.mark.parametrize(
    ("phase", "answer"), [("proxy tls", None), ("tunnel", b""), ("tls", b"HTTP/1.1 200 OK\r\n\r\n")]
)
async def test_a_phase_that_never_ends(
    phase: str, answer: bytes | None, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The connect timeout of the backend is for all phases together: 504 names the one it ended in."""

    def make(proxy: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            if answer is not None:
                await proxy.take(wire)
                await wire.send(answer)
            await wire.rest()

        return script

    proxy = await upstream(make)
    way = tunnel(proxy.port, tls=BackendTls() if answer is None else None)
    connecting = Connecting(timeout=1.0, tunnel=way)
    backend = Backend("up", Target(_NAME, 443), tls=BackendTls(), connecting=connecting)
    asked = await ask((await line(0, backend=backend)).port, connect)
    assert (asked.status, f"(phase {phase}): no success within 1 s" in asked.message) == (504, True), asked
    await proxy.all_ended()


@pytest.mark.parametrize("where", ["proxy", "target"])
async def test_whose_certificate_is_wrong(
    where: str, ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Both certificates are checked, each by its own rules, and the phase says which was not accepted."""
    right, wrong = server_tls(ca, "127.0.0.1", _NAME), server_tls(ca, "other.test")
    provider = await upstream(each(_OK), ssl=wrong if where == "target" else right)
    proxy = await upstream(relay, ssl=wrong if where == "proxy" else right)
    backend = through(tunnel(proxy.port, tls=roots(ca)), provider.port, host=_NAME, tls=roots(ca))
    asked = await ask((await line(0, backend=backend)).port, connect)
    phase = "proxy tls" if where == "proxy" else "tls"
    assert f"(phase {phase}): the certificate is not accepted" in asked.message


async def test_names_of_a_certificate_within_a_tunnel(
    ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """backendTLS.subjectAltNames are compared through a proxy too."""
    provider = await upstream(each(_OK), ssl=server_tls(ca, "other.test"))
    proxy = await upstream(relay)
    for names, status in ((("other.test",), 200), (("x.test",), 503)):
        tls = BackendTls(roots=ca.cert_pem.bytes().decode(), subject_alt_names=names)
        started = await line(0, backend=through(tunnel(proxy.port), provider.port, host=_NAME, tls=tls))
        assert (await ask(started.port, connect)).status == status


async def test_a_proxy_that_speaks_no_tls(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """https:// before a proxy that speaks plaintext is told as the likely slip it is."""

    def make(_: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await wire.some()
            await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        return script

    proxy = await upstream(make)
    asked = await ask((await line(0, backend=through(tunnel(proxy.port, tls=BackendTls()), 443))).port, connect)
    assert "(phase proxy tls): TLS handshake failed (WRONG_VERSION_NUMBER)" in asked.message
    assert "write http:// for the proxy" in asked.message


async def test_a_change_of_proxy_takes_no_former_connection(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Connections made through one proxy are never used for a backend that has another, or none."""
    provider = await upstream(each(_OK))
    first, second = await upstream(relay), await upstream(relay)
    started = await line(0, backend=through(tunnel(first.port), provider.port))
    for proxy in (first, second):
        config = changed(started.config, through(tunnel(proxy.port), provider.port))
        await started.apply(config)
        assert (await ask(started.port, connect)).status == 200
        assert len(proxy.requests) == 1
    await first.all_ended()


async def test_the_environments_proxies(
    ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An upstream goes by the proxy for its kind, or its own, unless NO_PROXY or --resolve names it."""
    secure, plain, own = await upstream(relay), await upstream(relay), await upstream(relay)
    providers = await upstream(each(_OK)), await upstream(each(_OK), ssl=server_tls(ca, _NAME))
    proxies = Proxies(tunnel(secure.port), tunnel(plain.port), ("direct.test",))
    settings = Settings(ipv6=False, proxies=proxies, connect_timeout=2.0)
    resolved = {("resolved.test", providers[0].port): Override("127.0.0.1", providers[0].port)}
    tls = roots(ca)

    async def ways(backend: Backend) -> list[int]:
        before = [len(proxy.requests) for proxy in (secure, plain, own)]
        started = await line(0, backend=backend, settings=settings, overrides=resolved)
        asked = await ask(started.port, connect)
        assert asked.status == 200 or "direct.test" in asked.message, asked
        return [len(proxy.requests) - had for proxy, had in zip((secure, plain, own), before, strict=True)]

    assert await ways(Backend("up", Target(_NAME, providers[1].port), tls=tls)) == [1, 0, 0]
    assert await ways(Backend("up", Target(_NAME, providers[0].port))) == [0, 1, 0]
    assert await ways(through(tunnel(own.port), providers[0].port, host=_NAME)) == [0, 0, 1]
    assert await ways(Backend("up", Target("127.0.0.1", providers[0].port))) == [0, 0, 0]
    assert await ways(Backend("up", Target("resolved.test", providers[0].port))) == [0, 0, 0]
    assert await ways(Backend("up", Target("sub.direct.test", providers[0].port))) == [0, 0, 0]


async def test_a_language_models_stream_through_a_tunnel(
    ca: trustme.CA, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Events pass through TLS in TLS as they come, and a stream cut off within is never completed."""
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    go_on = asyncio.Event()

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            await wire.send(head + b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.wait_for(go_on.wait(), TIMEOUT)

        return script

    provider = await upstream(make, ssl=server_tls(ca, _NAME))
    proxy = await upstream(relay, ssl=server_tls(ca, "127.0.0.1"))
    connecting = Connecting(tunnel=tunnel(proxy.port, tls=roots(ca)))
    backend = Backend(
        "up", Target(_NAME, provider.port), roots(ca), provider=Provider(ProviderKind.OPENAI), connecting=connecting
    )
    started = await line(0, backend=backend)
    wire = await connect(started.port)
    body = b'{"model":"m","stream":true,"messages":[]}'
    await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(TIMEOUT):
        await wire.reader.readuntil(b'"content":"a"')
    go_on.set()
    assert not (await wire.rest()).endswith(b"0\r\n\r\n")
