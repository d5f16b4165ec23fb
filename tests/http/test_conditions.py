"""The conditions of retry and health: what users say is a failure, in CEL."""

from __future__ import annotations

import pytest

from tests.http.calls import ANSWER, answer, ask, call, in_order, llm, vitals
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import each
from torana.model.backend import Backend, Target
from torana.model.policy import Eviction, Health, Retry, RoutePolicies

_BUSY = answer(200, b'{"busy":1}', b"x-busy: yes\r\n")
_GET = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n"
_RULE = "response.headers['x-busy'] == 'yes'"


async def test_an_answer_that_the_condition_names_is_asked_for_again(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """`retry.condition` true of an answer makes it a failure, whatever its status."""
    provider = await upstream(each(_BUSY, answer()))
    retry = RoutePolicies(retry=Retry(attempts=1, backoff=0.001, condition=_RULE, budget=1.0))
    started = await line(provider.port, plain=True, policies=retry)
    assert (await ask(started, connect, _GET % b"")).body == ANSWER
    assert len(provider.requests) == 2
    await started.logged("retry condition")


async def test_without_an_attempt_left_the_answer_is_the_clients(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The last answer goes to the client, also when the condition names it."""
    provider = await upstream(each(_BUSY))
    retry = RoutePolicies(retry=Retry(attempts=1, backoff=0.001, condition=_RULE, budget=1.0))
    started = await line(provider.port, plain=True, policies=retry)
    got = await ask(started, connect, _GET % b"")
    assert (got.status, got.body) == (200, b'{"busy":1}')
    assert len(provider.requests) == 2


@pytest.mark.parametrize(("header", "asked"), [(b"x-retry: yes\r\n", 2), (b"x-retry: no\r\n", 1), (b"", 1)])
async def test_a_request_that_the_precondition_leaves_out_is_sent_once(
    header: bytes, asked: int, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """`retry` is for requests of which its precondition is true; for others it does not exist."""
    provider = await upstream(each(answer(503), answer()))
    rule = "request.headers['x-retry'] == 'yes'"
    retry = RoutePolicies(retry=Retry(attempts=1, backoff=0.001, codes=(503,), precondition=rule, budget=1.0))
    started = await line(provider.port, plain=True, policies=retry)
    assert (await ask(started, connect, _GET % header)).status == (200 if asked == 2 else 503)
    assert len(provider.requests) == asked


async def test_what_is_unhealthy_is_an_answer_all_the_same(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An answer of which `health.unhealthy` is true speaks against its endpoint alone: this client gets it."""
    busy, good = await upstream(each(_BUSY)), await upstream(each(answer()))
    health = Health(_RULE, Eviction(consecutive_failures=1))
    first = Backend("bad", Target("127.0.0.1", busy.port), provider=llm(busy.port).provider, health=health)
    started = await line(shares=in_order(first, llm(good.port, "good")))
    assert (await ask(started, connect, call())).body == b'{"busy":1}'
    assert (await ask(started, connect, call())).body == ANSWER
    assert len(busy.requests) == 1
    assert vitals(started)["bad"].evicted_until is not None
    assert started.worker.state().failures == {}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_is_not_unhealthy_is_made_up_for(
    status: int, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A 429 or 5xx leads a call to the next endpoint, also where by its own rule an endpoint is well."""
    busy, good = await upstream(each(answer(status, fields=b"Retry-After: 7\r\n"))), await upstream(each(answer()))
    first = Backend("bad", Target("127.0.0.1", busy.port), provider=llm(busy.port).provider, health=Health(_RULE))
    started = await line(shares=in_order(first, llm(good.port, "good")))
    for _ in range(2):
        assert (await ask(started, connect, call())).body == ANSWER
    assert len(busy.requests) == 2
    assert (vitals(started)["bad"].failures, vitals(started)["bad"].health) == (0, 1.0)
    assert started.worker.state().failures == {("bad", f"127.0.0.1:{busy.port}", str(status)): 2}


async def test_what_is_no_call_is_answered_and_remembered(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Of what is no call, an unhealthy answer is the client's, and evicts its endpoint for the next request."""
    busy, good = await upstream(each(_BUSY)), await upstream(each(answer()))
    health = Health(_RULE, Eviction(consecutive_failures=1))
    first = Backend("bad", Target("127.0.0.1", busy.port), health=health)
    started = await line(shares=in_order(first, Backend("good", Target("127.0.0.1", good.port))))
    assert (await ask(started, connect, _GET % b"")).body == b'{"busy":1}'
    assert (await ask(started, connect, _GET % b"")).body == ANSWER
