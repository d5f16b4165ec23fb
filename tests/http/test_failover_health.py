"""What is learned of an endpoint from the attempts at it: what speaks against it, and what does not."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from tests.http.calls import ANSWER, answer, ask, call, idle, in_order, late, llm, silent, vitals
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.streams import CONTENT, DONE, END, ERROR, ROLE, STOP, STREAM, chunk, stream, waiting
from tests.http.wire import Script, Upstream, Wire, each
from torana.model.policy import (
    Eviction,
    Health,
    Retry,
    RoutePolicies,
    Timeout,
)
from torana.proxy import failover


async def test_eviction_and_probe(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """One that said for how long gets nothing until then, and the first request after it finds out."""
    throttled = await upstream(each(answer(429, fields=b"retry-after-ms: 60000\r\n"), answer(200, b'{"back":1}')))
    good = await upstream(each(answer()))
    started = await line(shares=in_order(llm(throttled.port, "first"), llm(good.port)))
    assert (await ask(started, connect)).body == ANSWER
    assert (await ask(started, connect)).body == ANSWER
    assert len(throttled.requests) == 1
    vitals(started)["first"].evicted_until = 0.0
    assert (await ask(started, connect)).body == b'{"back":1}'
    assert vitals(started)["first"].evicted_until is None
    await idle(started)


async def test_the_whole_time_is_over(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """`requestTimeout` holds for all attempts together: the error names it, and who was tried."""
    failing, mute, other = await upstream(each(answer(500))), await upstream(silent), await upstream(each(answer()))
    started = await line(
        shares=in_order(llm(failing.port, "failing"), llm(mute.port, "mute"), llm(other.port)),
        policies=RoutePolicies(timeout=Timeout(request=2.0)),
    )
    got = await ask(started, connect)
    message = json.loads(got.body)["error"]["message"]
    assert got.status == 504
    assert "timeout.requestTimeout of 2 s" in message
    assert "failing (500), mute (upstream_timeout)" in message
    assert not other.requests
    assert {backend for backend, _, _ in started.worker.state().failures} == {"failing", "mute"}
    assert vitals(started)["mute"].failures == 1
    await idle(started)


@pytest.mark.parametrize("endpoints", [1, 2])
async def test_a_slow_client_is_not_its_endpoints_fault(
    endpoints: int, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A time that ends while the client's body is waited for is its client's, and tells nothing of an endpoint."""
    provider = await upstream(each(answer()))
    started = await line(
        shares=in_order(*[llm(provider.port, name) for name in "ab"[:endpoints]]),
        policies=RoutePolicies(timeout=Timeout(request=0.2)),
    )
    wire = await connect(started.port)
    await wire.send(call()[:-1])
    got = await wire.message()
    assert got.status == 408
    assert b"body did not arrive within the timeout.requestTimeout of 0.2 s" in got.body
    assert not provider.requests
    assert (vitals(started)["a"].failures, vitals(started)["a"].health) == (0, 1.0)
    await started.logged("http.status=408")
    assert "attempts=" not in started.log.read_text()
    assert started.worker.state().failures == {}
    await idle(started)


async def test_the_end_of_a_time_that_others_had(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Where `requestTimeout` ends an attempt that had less than half of it, that tells nothing of its endpoint."""
    dawdling, mute = await upstream(late(1.1)), await upstream(silent)
    started = await line(
        shares=in_order(llm(dawdling.port, "dawdling"), llm(mute.port, "mute")),
        policies=RoutePolicies(timeout=Timeout(request=2.0)),
    )
    assert (await ask(started, connect)).status == 504
    assert vitals(started)["dawdling"].failures == 1
    assert (vitals(started)["mute"].failures, vitals(started)["mute"].health) == (0, 1.0)
    state = started.worker.state()
    assert state.failures[("mute", f"127.0.0.1:{mute.port}", "upstream_timeout")] == 1
    await idle(started)


async def test_the_end_of_its_own_time(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A limit of one attempt is held against the endpoint that let it pass, however much of the whole was over."""
    dawdling, mute = await upstream(late(0.05)), await upstream(silent)
    started = await line(
        shares=in_order(
            llm(dawdling.port, "dawdling"), msgspec.structs.replace(llm(mute.port, "mute"), request_timeout=0.1)
        ),
        policies=RoutePolicies(timeout=Timeout(request=10.0)),
    )
    assert (await ask(started, connect)).status == 504
    assert vitals(started)["mute"].failures == 1
    await idle(started)


async def test_what_is_only_asked_for_again(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A code of `retry` leads elsewhere, and speaks against its endpoint only where the code does by itself."""
    missing, good = await upstream(each(answer(404))), await upstream(each(answer()))
    retry = RoutePolicies(retry=Retry(attempts=1, backoff=0.001, codes=(404, 503)))
    started = await line(shares=in_order(llm(missing.port, "missing"), llm(good.port, "good")), policies=retry)
    for _ in range(4):
        assert (await ask(started, connect)).status == 200
    assert len(missing.requests) == 4
    assert (vitals(started)["missing"].failures, vitals(started)["missing"].health) == (0, 1.0)
    assert started.worker.state().failures == {("missing", f"127.0.0.1:{missing.port}", "404"): 4}
    down = await upstream(each(answer(503)))
    started = await line(shares=in_order(llm(down.port, "down"), llm(good.port, "good")), policies=retry)
    for _ in range(4):
        assert (await ask(started, connect)).status == 200
    assert len(down.requests) == 3


LET_GO = {
    "content": (chunk(CONTENT) + chunk(DONE) + END, True),
    "its regular end": (chunk(STOP) + END, True),
    "an error": (chunk(ERROR) + END, False),
    "no more": (END, False),
    "dead": (b"", False),
}


@pytest.mark.parametrize("name", LET_GO)
async def test_what_was_let_go(
    name: str, line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that goes out before its first content tells of its endpoint what becomes of it, and not before."""
    monkeypatch.setattr(failover, "_MOST_HELD", 0.05)
    last, well = LET_GO[name]
    let_go = asyncio.Event()

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(stream(ROLE, end=b""))
            await let_go.wait()
            await wire.send(last)

        return script

    slow, other = await upstream(make), await upstream(each(answer()))
    once = Health(eviction=Eviction(consecutive_failures=1))
    backend = msgspec.structs.replace(llm(slow.port, "slow"), health=once)
    started = await line(shares=in_order(backend, llm(other.port, "other")))
    endpoint = vitals(started)["slow"]
    wire = await connect(started.port)
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    assert (endpoint.answered_at, endpoint.failed_at) == (0, 0)
    let_go.set()
    await idle(started)
    assert (endpoint.latency > 0.04, endpoint.evicted_until is None, endpoint.health) == (well, well, well or 0.7)


async def test_who_leaves_what_was_let_go(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that leaves before the first content has learned nothing of the endpoint."""
    monkeypatch.setattr(failover, "_MOST_HELD", 0.05)
    slow = await upstream(waiting(ROLE))
    started = await line(shares=in_order(llm(slow.port, "slow"), llm(slow.port, "other")))
    endpoint = vitals(started)["slow"]
    wire = await connect(started.port)
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    wire.reset()
    await idle(started)
    assert (endpoint.answered_at, endpoint.failed_at) == (0, 0)
