"""requestMirror: copies go out beside requests, and never in their way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
import pytest

from tests.http.calls import ANSWER, answer, ask, call, closed, llm, once, silent
from tests.http.conftest import Connect, Line, StartLine, StartUpstream
from tests.http.wire import Script, Upstream, Wire, each, until
from tests.ports import free_port
from torana.model.backend import Backend, Mirror, Provider, ProviderKind, Target
from torana.model.config import Limits
from torana.model.policy import BackendAuth, DirectResponse, HeaderModifier, RoutePolicies
from torana.model.secret import Secret
from torana.proxy import mirror as mirror_module

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_POST = b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: Bearer mine\r\nx-a: 1\r\n\r\nhello"


def _mirror(port: int, name: str = "copy") -> Mirror:
    return Mirror(Backend(name, Target("127.0.0.1", port)))


async def _mirrored(line: Line, *mirrors: Mirror) -> Line:
    """The same gateway, with these mirrors on its route."""
    bind = line.config.binds[0]
    listener = bind.listeners[0]
    route = msgspec.structs.replace(listener.routes[0], mirrors=mirrors)
    listener = msgspec.structs.replace(listener, routes=(route,))
    await line.apply(
        msgspec.structs.replace(line.config, binds=(msgspec.structs.replace(bind, listeners=(listener,)),))
    )
    return line


def _counted(line: Line) -> dict[tuple[str, str], int]:
    return dict(line.worker.state().mirrored)


async def test_a_copy_goes_out_body_and_all(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The mirror gets method, target, headers and body as the route's policies left them; its answer goes nowhere."""
    provider, copy = await upstream(each(_OK)), await upstream(each(answer(500)))
    rules = RoutePolicies(request_headers=HeaderModifier(set=(("x-a", "2"),)))
    started = await _mirrored(await line(provider.port, plain=True, policies=rules), _mirror(copy.port))
    assert (await ask(started, connect, _POST)).body == b"ok"
    await until(lambda: copy.requests)
    (request,) = copy.requests
    assert (request.start, request.body) == (b"POST /a?b=c HTTP/1.1", b"hello")
    assert (request.value(b"x-a"), request.value(b"authorization")) == (b"2", b"Bearer mine")
    assert provider.requests[0].body == b"hello"
    await until(lambda: _counted(started) == {("copy", "answered"): 1})


async def test_a_mirror_of_a_model_gets_what_its_own_backend_says(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A copy of a call has the mirror's model and credential, and leaves the record of the request alone."""
    provider, copy = await upstream(each(answer())), await upstream(each(answer()))
    backend = Backend(
        "copy",
        Target("127.0.0.1", copy.port),
        provider=Provider(ProviderKind.OPENAI, "next"),
        auth=BackendAuth(Secret("theirs")),
    )
    started = await _mirrored(await line(backend=llm(provider.port, "first")), Mirror(backend))
    got = await ask(started, connect, call(fields=b"Authorization: Bearer mine\r\n"))
    assert got.body == ANSWER
    await until(lambda: copy.requests)
    assert b'"model":"next"' in copy.requests[0].body
    assert copy.requests[0].value(b"authorization") == b"Bearer theirs"
    assert b'"model":"mine"' in provider.requests[0].body
    await started.logged(f"endpoint=127.0.0.1:{provider.port}")
    assert started.log.read_text().count("\n") == 1


@pytest.mark.parametrize("make", [silent, closed, once(b"garbage\r\n\r\n"), None])
async def test_a_mirror_is_in_nobodys_way(
    make: Callable[[Upstream], Script] | None, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Whatever a mirror does, the client has its answer, and the next request goes on."""
    provider = await upstream(each(_OK))
    port = free_port() if make is None else (await upstream(make)).port
    started = await _mirrored(await line(provider.port, plain=True), _mirror(port))
    for _ in range(2):
        assert (await ask(started, connect, _POST)).body == b"ok"


async def test_what_fails_is_counted(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A copy that got no answer is a number, and no line at the usual level of the log."""
    provider = await upstream(each(_OK))
    started = await _mirrored(await line(provider.port, plain=True), _mirror(free_port()))
    assert (await ask(started, connect, _POST)).status == 200
    await until(lambda: _counted(started) == {("copy", "failed"): 1})


async def test_a_copy_outlives_its_client(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A client that is answered, or leaves, does not end the copy."""
    answering = asyncio.Event()

    def late(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await answering.wait()
            await wire.send(_OK)

        return script

    provider, copy = await upstream(each(_OK)), await upstream(late)
    started = await _mirrored(await line(provider.port, plain=True), _mirror(copy.port))
    wire = await connect(started.port)
    await wire.send(_POST)
    await wire.message()
    wire.reset()
    await until(lambda: copy.requests)
    answering.set()
    await until(lambda: _counted(started) == {("copy", "answered"): 1})


async def test_connections_of_copies_are_kept(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The answer to a copy is read to its end, and its connection takes the next one."""
    provider, copy = await upstream(each(_OK)), await upstream(each(answer(200, b"x" * 300_000)))
    started = await _mirrored(await line(provider.port, plain=True), _mirror(copy.port))
    for _ in range(3):
        await ask(started, connect, _POST)
        await until(lambda: _counted(started).get(("copy", "answered")) == len(copy.requests) == len(provider.requests))
    assert len(copy.wires) == 1


async def test_a_crowd_is_not_mirrored(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many copies under way as may be, further ones are dropped and counted."""
    monkeypatch.setattr(mirror_module, "_MOST", 1)
    provider, copy = await upstream(each(_OK)), await upstream(silent)
    started = await _mirrored(await line(provider.port, plain=True), _mirror(copy.port))
    for _ in range(3):
        assert (await ask(started, connect, _POST)).body == b"ok"
    assert _counted(started) == {("copy", "dropped"): 2}


async def test_bodies_of_copies_are_bounded_together(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies whose bodies would hold more memory than they may are dropped and counted, until others are over."""
    monkeypatch.setattr(mirror_module, "_MOST_HELD", 9)
    answering = asyncio.Event()

    def late(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await answering.wait()
            await wire.send(_OK)

        return script

    provider, copy = await upstream(each(_OK)), await upstream(late)
    started = await _mirrored(await line(provider.port, plain=True), _mirror(copy.port))
    for _ in range(2):
        assert (await ask(started, connect, _POST)).body == b"ok"
    assert _counted(started) == {("copy", "dropped"): 1}
    answering.set()
    await until(lambda: _counted(started).get(("copy", "answered")) == 1)
    assert (await ask(started, connect, _POST)).body == b"ok"
    await until(lambda: len(copy.requests) == 2)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_is_not_mirrored(
    chunked: bool, line: StartLine, upstream: StartUpstream, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """A body over the limit goes to the backend alone, and the log says so once."""
    provider, copy = await upstream(each(_OK)), await upstream(each(_OK))
    limits = Limits(max_body_bytes=4)
    started = await _mirrored(await line(provider.port, plain=True, limits=limits), _mirror(copy.port))
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (await ask(started, connect, request if chunked else _POST)).body == b"ok"
    assert [one.body for one in provider.requests] == [b"hello", b"hello"]
    assert not copy.wires
    assert _counted(started) == {("copy", "too_large"): 2}
    assert caplog.messages == ["route route: requests with bodies over 4 bytes are not mirrored"]


async def test_a_share_of_none_copies_nothing(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A mirror gets its share of the requests; every mirror of a route draws for itself."""
    provider, copy, other = [await upstream(each(_OK)) for _ in range(3)]
    none = Mirror(Backend("none", Target("127.0.0.1", other.port)), 0.0)
    started = await _mirrored(await line(provider.port, plain=True), none, _mirror(copy.port))
    assert (await ask(started, connect, _POST)).status == 200
    await until(lambda: _counted(started) == {("copy", "answered"): 1})
    assert not other.wires


async def test_what_no_backend_gets_is_not_mirrored(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A request that a policy answers has no copy."""
    copy = await upstream(each(_OK))
    started = await _mirrored(
        await line(policies=RoutePolicies(direct_response=DirectResponse(200))), _mirror(copy.port)
    )
    assert (await ask(started, connect, _POST)).status == 200
    assert _counted(started) == {}
    assert not copy.wires
