"""A call goes from endpoint to endpoint until one answers, before its client has got anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import msgspec
import pytest

from tests.http.calls import ANSWER, BODY, answer, ask, call, closed, idle, in_order, llm, once, silent, vitals
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.streams import END, chunk
from tests.http.wire import Script, Upstream, Wire, each, until
from tests.ports import free_port
from torana.model.backend import Backend, BackendRef, Provider, ProviderKind, Target
from torana.model.policy import (
    Authority,
    AuthorityKind,
    BackendAuth,
    BackendTls,
    PathKind,
    PathRule,
    RoutePolicies,
    Timeout,
)
from torana.model.secret import Secret


class Failing(NamedTuple):
    """An upstream that fails, and why it is said to have failed."""

    make: Callable[[Upstream], Script] | None
    why: str
    tls: bool = False
    host: str = "127.0.0.1"


FAILING = {
    "refused": Failing(None, "upstream_connect_failed"),
    "no such name": Failing(None, "upstream_connect_failed", host="nobody.invalid"),
    "no TLS": Failing(closed, "upstream_connect_failed", tls=True),
    "429": Failing(each(answer(429)), "429"),
    "429 with retry-after": Failing(each(answer(429, fields=b"Retry-After: 7\r\n")), "429"),
    "500": Failing(each(answer(500)), "500"),
    "502": Failing(each(answer(502)), "502"),
    "503": Failing(each(answer(503, fields=b"Retry-After: 7\r\n")), "503"),
    "529": Failing(each(answer(529)), "529"),
    "closed before it answered": Failing(once(), "upstream_closed"),
    "closed within the head": Failing(once(b"HTTP/1.1 200 OK\r\nContent-"), "upstream_closed"),
    "garbage": Failing(once(b"220 mail.test ESMTP\r\n\r\n"), "bad_upstream_answer"),
    "silent": Failing(silent, "upstream_timeout"),
}


@pytest.mark.parametrize("name", FAILING)
async def test_the_next_one_answers(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Whatever goes wrong before an answer begins, the client gets that of the next endpoint; both are told of."""
    failing = FAILING[name]
    good = await upstream(each(answer()))
    port = free_port() if failing.make is None else (await upstream(failing.make)).port
    bad = llm(port, "bad", failing.host, BackendTls() if failing.tls else None)
    if failing.why == "upstream_timeout":
        bad = msgspec.structs.replace(bad, request_timeout=0.5)
    started = await line(shares=in_order(bad, llm(good.port, "good")))
    got = await ask(started, connect)
    assert (got.status, got.body) == (200, ANSWER)
    assert good.requests[0].value(b"x-retry-attempt") == b"1"
    await started.logged(f"endpoint=127.0.0.1:{good.port} src")
    await started.logged(f'retry.attempt=1 attempts="{failing.host}:{port} {failing.why}" duration=')
    state = started.worker.state()
    assert (state.retries, state.failures) == (1, {("bad", f"{failing.host}:{port}", failing.why): 1})
    asked_for_a_pause = name.startswith("429") or name == "503"
    assert state.evictions == ({("bad", f"{failing.host}:{port}"): 1} if asked_for_a_pause else {})
    assert vitals(started)["bad"].health == pytest.approx(0.7)
    await idle(started)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422])
async def test_what_would_be_the_same_elsewhere(
    status: int, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An answer that is about the request is the client's, at once and byte for byte."""
    refusing, other = await upstream(each(answer(status, b'{"no": 1}'))), await upstream(each(answer()))
    started = await line(shares=in_order(llm(refusing.port), llm(other.port)))
    got = await ask(started, connect)
    assert (got.status, got.body, len(refusing.requests)) == (status, b'{"no": 1}', 1)
    assert not other.requests
    assert started.worker.state().failures == {}


async def test_each_gets_what_is_meant_for_it(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Path, host, key and model are the endpoint's own; of the body nothing else changes."""
    first, second = await upstream(each(answer(500))), await upstream(each(answer()))
    started = await line(
        shares=in_order(
            Backend(
                "first",
                Target("127.0.0.1", first.port),
                authority=Authority(AuthorityKind.FULL, "one.test"),
                path=PathRule(PathKind.BASE, "/one/v1"),
                auth=BackendAuth(Secret("sk-1")),
                provider=Provider(ProviderKind.OPENAI, "model-1"),
            ),
            Backend(
                "second",
                Target("127.0.0.1", second.port),
                authority=Authority(AuthorityKind.FULL, "two.test"),
                auth=BackendAuth(Secret("sk-2"), name="api-key", prefix=""),
                provider=Provider(ProviderKind.OPENAI, "model-2"),
            ),
        )
    )
    assert (await ask(started, connect, call(fields=b"Authorization: Bearer client\r\n"))).status == 200
    (one,), (two,) = first.requests, second.requests
    assert one.start == b"POST /one/v1/chat/completions HTTP/1.1"
    assert two.start == b"POST /v1/chat/completions HTTP/1.1"
    assert (one.value(b"host"), one.value(b"authorization"), one.value(b"api-key")) == (
        b"one.test",
        b"Bearer sk-1",
        None,
    )
    assert (two.value(b"host"), two.value(b"authorization"), two.value(b"api-key")) == (b"two.test", None, b"sk-2")
    assert one.value(b"x-retry-attempt") is None
    assert one.body == BODY.replace(b"mine", b"model-1")
    assert two.body == BODY.replace(b"mine", b"model-2")
    await started.logged("gen_ai.request.model=model-2")


async def test_each_is_asked_once(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """When all fail with an answer, the client gets the last one's, with its bytes, and nobody was asked twice."""
    providers = [await upstream(each(answer(500 + number, b'{"n": %d}' % number))) for number in range(4)]
    backends = [llm(provider.port) for provider in providers]
    shares = (BackendRef((tuple(backends[:3]), tuple(backends[3:]))),)
    started = await line(shares=shares)
    got = await ask(started, connect)
    assert (got.status, got.body) == (503, b'{"n": 3}')
    assert [len(provider.requests) for provider in providers] == [1, 1, 1, 1]
    attempts = sorted(int(provider.requests[0].value(b"x-retry-attempt") or 0) for provider in providers)
    assert attempts == [0, 1, 2, 3]
    await idle(started)


async def test_a_request_that_is_wrong_is_wrong_everywhere(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """What is no JSON is refused by the gateway; no endpoint is asked, and none is thought the worse of."""
    provider = await upstream(each(answer()))
    started = await line(shares=in_order(llm(provider.port, "a"), llm(provider.port, "b")))
    assert (await ask(started, connect, call(b"{"))).status == 400
    assert not provider.requests
    assert vitals(started)["a"].health == 1
    await idle(started)


async def test_so_many_are_asked(line: StartLine, connect: Connect) -> None:
    """Ten attempts are enough, however many endpoints there are."""
    port = free_port()
    group = tuple(llm(port, f"number {number}") for number in range(12))
    started = await line(shares=(BackendRef((group,)),))
    assert (await ask(started, connect)).status == 503
    assert sum(started.worker.state().failures.values()) == 10


# connections and clients


async def test_connections_of_those_that_failed(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An answer that was given up frees its connection for the next request, or ends it where more of it would come."""

    def partial(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(answer(500)[:-1])
            assert await wire.some() == b""

        return script

    whole, endless, good = await upstream(each(answer(500))), await upstream(partial), await upstream(each(answer()))
    shares = in_order(llm(whole.port, "whole"), llm(endless.port, "endless"), llm(good.port, "good"))
    started = await line(shares=shares)
    assert (await ask(started, connect)).status == 200
    await endless.all_ended()
    await idle(started)
    endpoints = started.worker._runtime._endpoints
    waiting = {name: len(endpoint.lane.waiting) for (name, _), endpoint in endpoints.items()}
    assert waiting == {"whole": 1, "endless": 0, "good": 1}


@pytest.mark.parametrize("streaming", [False, True], ids=["before the head", "while a stream is held"])
async def test_a_client_that_leaves(
    streaming: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """It ends the attempt under way: no further endpoint is asked, and the one that was is free for the next probe."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            if streaming:
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: wait\n\n")
            await wire.rest()

        return script

    failing, slow, other = await upstream(each(answer(500))), await upstream(make), await upstream(each(answer()))
    shares = in_order(llm(failing.port), llm(slow.port, "slow"), llm(other.port))
    started = await line(shares=shares)
    vitals(started)["slow"].evicted_until = 0.0
    wire = await connect(started.port)
    await wire.send(call(b'{"model":"m","stream":true,"messages":[]}'))
    await until(lambda: slow.requests)
    assert vitals(started)["slow"].probe is not None
    wire.reset()
    await slow.all_ended()
    await started.logged("reason=ClientClosed")
    await idle(started)
    assert not other.requests
    assert vitals(started)["slow"].health == 1


async def test_pending_lasts_as_long_as_the_answer(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A request is under way until its answer has ended: what still streams is work too."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(answer()[:-1])
            await wire.some()

        return script

    provider = await upstream(make)
    started = await line(shares=in_order(llm(provider.port, "a"), llm(free_port(), "b")))
    wire = await connect(started.port)
    await wire.send(call())
    await until(lambda: vitals(started)["a"].pending == 1)
    wire.reset()
    await idle(started)


async def test_a_whole_answer_that_breaks_off(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An answer that is no stream goes out when it is complete, so that the next endpoint can take over before."""
    bad, good = await upstream(once(answer()[:-5])), await upstream(each(answer()))
    started = await line(shares=in_order(llm(bad.port, "bad"), llm(good.port)))
    got = await ask(started, connect)
    assert (got.status, got.body) == (200, ANSWER)
    await idle(started)


async def test_a_long_answer_goes_out_as_it_comes(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too long to be held is passed on, and breaks off when its upstream does."""
    monkeypatch.setattr("torana.proxy.failover._MOST_WHOLE", 16)
    bad, good = await upstream(once(answer()[:-5])), await upstream(each(answer()))
    started = await line(shares=in_order(llm(bad.port), llm(good.port)))
    wire = await connect(started.port)
    await wire.send(call())
    assert (await wire.head()).status == 200
    assert good.requests == []


async def test_white_space_before_an_answer(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a provider sends to keep its client waiting gets there, though after the longest hold only."""
    monkeypatch.setattr("torana.proxy.failover._MOST_HELD", 0.1)
    seen = asyncio.Event()

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not seen.is_set():
                await wire.send(chunk(b"\n"))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(seen.wait(), 0.02)
            await wire.send(chunk(ANSWER), END)

        return script

    slow, other = await upstream(make), await upstream(each(answer()))
    started = await line(shares=in_order(llm(slow.port), llm(other.port)))
    wire = await connect(started.port)
    begun = perf_counter()
    await wire.send(call())
    assert (await wire.head()).status == 200
    assert perf_counter() - begun >= 0.1
    seen.set()
    got = b""
    while not got.endswith(END):
        got += await wire.exactly(1)
    assert got.startswith(chunk(b"\n"))
    assert got.endswith(chunk(ANSWER) + END)
    assert not other.requests
    await started.logged("gen_ai.usage.input_tokens=5")
    await idle(started)


async def test_an_answer_that_falls_silent(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of which nothing more comes is held for longer: its client has nothing of it, and another may take over."""
    monkeypatch.setattr("torana.proxy.failover._MOST_HELD", 0.05)
    policies = RoutePolicies(timeout=Timeout(stream_idle=0.2))

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(answer()[:-5])
            await wire.rest()

        return script

    mute, good = await upstream(make), await upstream(each(answer()))
    started = await line(shares=in_order(llm(mute.port), llm(good.port)), policies=policies)
    got = await ask(started, connect)
    assert (got.status, got.body) == (200, ANSWER)
    await started.logged("upstream_timeout")
    await idle(started)
