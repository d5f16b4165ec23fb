"""What is no call may not be safe to repeat; and what a `retry` policy sends once more."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from tests.http.calls import answer, ask, call, idle, in_order, llm, once, vitals
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import EARLY, Script, Upstream, Wire, each, until
from tests.ports import free_port
from torana.model.backend import Backend, BackendRef, Target
from torana.model.config import Limits
from torana.model.policy import Eviction, Health, Retry, RoutePolicies, Timeout

OK = answer(200, b"fine")
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEVER = Health(eviction=Eviction(consecutive_failures=None))


def plain(port: int, name: str = "", health: Health | None = None) -> Backend:
    return Backend(name or f"up{port}", Target("127.0.0.1", port), health=health)


def retry(attempts: int = 1, *codes: int, backoff: float = 0.001, budget: float = 0.2) -> RoutePolicies:
    return RoutePolicies(retry=Retry(attempts, backoff, codes, budget=budget))


# without a policy


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"])
@pytest.mark.parametrize("arrived", [False, True], ids=["refused", "closed before it answered"])
async def test_what_may_be_repeated(
    arrived: bool, method: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Where nothing arrived any request goes on elsewhere; where it may have, one that can be done twice."""
    bad, good = await upstream(once()), await upstream(each(OK))
    started = await line(shares=in_order(plain(bad.port if arrived else free_port(), "bad"), plain(good.port)))
    wire = await connect(started.port)
    await wire.send(b"%b /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % method.encode())
    got = await wire.message(bodiless=method == "HEAD")
    again = not arrived or method not in ("POST", "PATCH")
    assert (got.status, len(good.requests)) == (200 if again else 502, again)
    assert vitals(started)["bad"].health == pytest.approx(0.7)
    await idle(started)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_answer_is_an_answer(status: int, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What a plain backend says is the client's, though a 5xx tells of its health."""
    bad, other = await upstream(each(answer(status, b"no"))), await upstream(each(OK))
    started = await line(shares=in_order(plain(bad.port, "bad"), plain(other.port)))
    got = await ask(started, connect, GET)
    assert (got.status, got.body, other.requests) == (status, b"no", [])
    assert vitals(started)["bad"].health == pytest.approx(0.7)
    assert (vitals(started)["bad"].evicted_until is not None) is (status == 429)
    assert started.worker.state().failures == {}


async def test_an_operator_is_told(
    line: StartLine, upstream: StartUpstream, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint that is left out is in the log, with why and for how long; so is that it is well again."""
    caplog.set_level("INFO", "torana.proxy.failover")
    bad = await upstream(each(answer(429, fields=b"retry-after-ms: 1\r\n"), answer()))
    started = await line(shares=in_order(llm(bad.port, "bad"), llm((await upstream(each(answer(), answer()))).port)))
    assert (await ask(started, connect)).status == 200
    assert f"bad at 127.0.0.1:{bad.port} gets no requests for 0.001 s" in caplog.text
    assert "last failure: 429" in caplog.text
    vitals(started)["bad"].evicted_until = 0.0
    assert (await ask(started, connect)).status == 200
    assert f"bad at 127.0.0.1:{bad.port} is well again" in caplog.text


async def test_an_upload_that_was_not_begun(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A body that streams goes on elsewhere as long as none of it was sent."""
    good = await upstream(each(OK))
    started = await line(shares=in_order(plain(free_port()), plain(good.port)))
    wire = await connect(started.port)
    await wire.send(CHUNKED, b"3\r\nabc\r\n")
    await until(lambda: good.wires)
    await wire.send(b"3\r\ndef\r\n0\r\n\r\n")
    assert (await wire.message()).status == 200
    assert good.requests[0].body == b"abcdef"
    await idle(started)


async def test_a_form_for_a_model(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A call that is not read, such as audio to be transcribed, is kept for the next endpoint as any other."""
    bad, good = await upstream(each(answer(503))), await upstream(each(OK))
    started = await line(shares=in_order(llm(bad.port), llm(good.port)))
    form, fields = b"x" * 1_000_000, b"Content-Type: multipart/form-data; boundary=b\r\n"
    got = await ask(started, connect, call(form, b"/v1/audio/transcriptions", fields))
    assert (got.status, got.body) == (200, b"fine")
    assert [bad.requests[0].body, good.requests[0].body] == [form, form]
    await idle(started)


@pytest.mark.parametrize("policies", [RoutePolicies(), retry(3, 503)], ids=["no policy", "retry"])
async def test_an_upload_that_is_spent(
    policies: RoutePolicies, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A body too long to be kept is sent once, whatever comes of it."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            provider.requests.append(await wire.head())
            await wire.send(answer(503, b"no"))
            await wire.rest()

        return script

    bad, other = await upstream(make), await upstream(each(OK))
    shares = in_order(plain(bad.port), plain(other.port))
    started = await line(shares=shares, policies=policies, limits=Limits(max_body_bytes=16))
    wire = await connect(started.port)
    await wire.send(CHUNKED, b"20\r\n" + b"x" * 32 + b"\r\n")
    assert (await wire.message()).status == 503
    assert not other.requests
    assert len(bad.requests) == 1


# with one


async def test_a_lone_endpoint_is_asked_again(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """`attempts` counts the repetitions; each says which it is, and has the body that came."""
    provider = await upstream(each(answer(503), answer(503), OK))
    started = await line(shares=in_order(plain(provider.port)), policies=retry(2, 503))
    assert (await ask(started, connect, POST)).status == 200
    assert [(one.value(b"x-retry-attempt"), one.body) for one in provider.requests] == [
        (None, b"body"),
        (b"1", b"body"),
        (b"2", b"body"),
    ]
    await started.logged(f'retry.attempt=2 attempts="127.0.0.1:{provider.port} 503, 127.0.0.1:{provider.port} 503"')
    assert started.worker.state().retries == 2


async def test_only_one_counts(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The number of an attempt takes the place of the one that another gateway in front has sent."""
    provider = await upstream(each(answer(503), answer(503), OK))
    started = await line(shares=in_order(plain(provider.port)), policies=retry(2, 503))
    assert (await ask(started, connect, b"GET / HTTP/1.1\r\nHost: a\r\nX-Retry-Attempt: 7\r\n\r\n")).status == 200
    sent = [[value for name, value in one.fields if name == b"x-retry-attempt"] for one in provider.requests]
    assert sent == [[b"7"], [b"1"], [b"2"]]


async def test_attempts_end(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """After the last repetition the client gets what the upstream said to it."""
    provider = await upstream(each(answer(503, b"1"), answer(503, b"2"), answer(503, b"3"), OK))
    started = await line(shares=in_order(plain(provider.port)), policies=retry(2, 503))
    got = await ask(started, connect, GET)
    assert (got.status, got.body, len(provider.requests)) == (503, b"3", 3)


async def test_codes(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A code that is not named is an answer; for a call those that always count as failed still do."""
    provider = await upstream(each(answer(500)))
    started = await line(shares=in_order(plain(provider.port)), policies=retry(2, 503))
    assert (await ask(started, connect, GET)).status == 500
    assert len(provider.requests) == 1
    provider = await upstream(each(answer(500), answer(404), answer()))
    started = await line(shares=in_order(llm(provider.port)), policies=retry(2, 404))
    assert (await ask(started, connect)).status == 200
    assert len(provider.requests) == 3


async def test_no_answer_counts_too(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """With the policy even a POST is repeated that may have arrived: that is what it is for."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            if len(provider.requests) > 1:
                await wire.send(OK)

        return script

    provider = await upstream(make)
    started = await line(shares=in_order(plain(provider.port)), policies=retry(1))
    assert (await ask(started, connect, POST)).status == 200
    assert len(provider.requests) == 2


async def test_others_first(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A repetition begins when no untried endpoint is left; from then on each request sent is one."""
    providers = [await upstream(each(answer(503))) for _ in range(3)]
    group = tuple(plain(provider.port, health=NEVER) for provider in providers)
    started = await line(shares=(BackendRef((group,)),), policies=retry(2, 503))
    assert (await ask(started, connect, GET)).status == 503
    assert sorted(len(provider.requests) for provider in providers) == [1, 2, 2]


async def test_a_pause_before_each(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """`backoff` is the least pause before a repetition; failover waits for nothing."""
    provider = await upstream(each(answer(503), answer(503), OK))
    started = await line(shares=in_order(plain(provider.port)), policies=retry(2, 503, backoff=0.2))
    begun = perf_counter()
    assert (await ask(started, connect, GET)).status == 200
    assert perf_counter() - begun >= 0.4 - EARLY
    bad, good = await upstream(each(answer(503))), await upstream(each(OK))
    started = await line(shares=in_order(plain(bad.port), plain(good.port)), policies=retry(2, 503, backoff=60.0))
    assert (await ask(started, connect, GET)).status == 200


async def test_a_pause_that_would_be_too_long(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Where the time for all attempts would be over by then, the client gets the answer there is, and at once."""
    provider = await upstream(each(answer(503, b"no")))
    policies = RoutePolicies(retry=Retry(3, 60.0, (503,)), timeout=Timeout(request=30.0))
    started = await line(shares=in_order(plain(provider.port)), policies=policies)
    got = await ask(started, connect, GET)
    assert (got.status, got.body, len(provider.requests)) == (503, b"no", 1)


async def test_the_budget_stops_a_storm(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """When everything fails, few requests are sent twice: three, and one for every five that came."""
    provider = await upstream(each(answer(503)))
    started = await line(shares=in_order(plain(provider.port)), policies=retry(3, 503))
    for _ in range(20):
        assert (await ask(started, connect, GET)).status == 503
    assert 20 + 3 <= len(provider.requests) <= 20 + 3 + 4
    assert started.worker.state().retries == len(provider.requests) - 20


async def test_the_budget_does_not_stop_failover(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Another endpoint is another chance, not a repetition."""
    bad, good = await upstream(each(answer(503))), await upstream(each(OK))
    started = await line(
        shares=in_order(plain(bad.port, health=NEVER), plain(good.port)), policies=retry(1, 503, budget=0.0)
    )
    for _ in range(10):
        assert (await ask(started, connect, GET)).status == 200
    assert len(bad.requests) == 10


async def test_a_client_that_leaves_in_a_pause(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """It ends the repetition too, and the connection of the answer that was given up is free long before."""
    provider = await upstream(each(answer(503)))
    started = await line(shares=in_order(plain(provider.port, "it")), policies=retry(3, 503, backoff=30.0))
    wire = await connect(started.port)
    await wire.send(GET)
    (endpoint,) = started.worker._runtime._endpoints.values()
    await until(lambda: endpoint.lane.waiting)
    assert endpoint.vitals.pending == 0
    wire.reset()
    await started.logged("reason=ClientClosed")
    assert len(provider.requests) == 1


async def test_a_client_that_waits_to_be_asked(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """`Expect: 100-continue` is answered where the body is kept for a repetition."""
    provider = await upstream(each(OK))
    started = await line(shares=in_order(plain(provider.port)), policies=retry())
    wire = await connect(started.port)
    await wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert (await wire.message()).status == 100
    await wire.send(b"body")
    assert (await wire.message()).status == 200
    assert provider.requests[0].body == b"body"


async def test_a_call_is_repeated_too(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A lone provider that throttles is asked once more, with the client's call."""
    provider = await upstream(each(answer(429), answer()))
    started = await line(shares=in_order(llm(provider.port)), policies=retry())
    assert (await ask(started, connect, call())).status == 200
    assert provider.requests[0].body == provider.requests[1].body


async def test_many_at_once(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Thirty requests at the same time, a third of which meet a dead endpoint, all get their answer."""
    providers = [await upstream(each(answer())), await upstream(each(answer())), await upstream(once())]
    group = tuple(llm(provider.port) for provider in providers)
    started = await line(shares=(BackendRef((group,)),))
    answers = await asyncio.gather(*(ask(started, connect) for _ in range(30)))
    assert {one.status for one in answers} == {200}
    await idle(started)
