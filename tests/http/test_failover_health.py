"""What is learned of an endpoint from the attempts at it: what speaks against it, and what does not."""

from __future__ import annotations

import json

import msgspec

from tests.http.calls import ANSWER, answer, ask, call, idle, in_order, late, llm, silent, vitals
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import each
from torana.model.policy import (
    Retry,
    RoutePolicies,
    Timeout,
)


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


async def test_a_slow_client_is_not_its_endpoints_fault(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Time that passes until the client's body is here tells nothing of an endpoint."""
    provider = await upstream(each(answer()))
    started = await line(
        shares=in_order(llm(provider.port, "a"), llm(provider.port, "b")),
        policies=RoutePolicies(timeout=Timeout(request=0.2)),
    )
    wire = await connect(started.port)
    await wire.send(call()[:-1])
    assert (await wire.message()).status == 504
    assert not provider.requests
    assert (vitals(started)["a"].failures, vitals(started)["a"].health) == (0, 1.0)
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
