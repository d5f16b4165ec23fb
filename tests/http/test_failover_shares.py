"""Shares of a route: which are a reserve for one another, and which keep their requests."""

from __future__ import annotations

from collections.abc import Callable

from tests.http.calls import answer, ask, call, llm
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import each
from tests.ports import free_port
from torana.model.backend import Backend, BackendRef, Target
from torana.model.policy import (
    Affinity,
)


async def test_other_shares_are_a_reserve(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A call that fails in its share goes on in the others, whatever their weights; one of weight 0 stays out of it."""
    good, never = await upstream(each(answer())), await upstream(each(answer()))
    port = free_port()
    shares = (
        BackendRef(((llm(port),),), weight=10**12),
        BackendRef(((llm(good.port),),), weight=1),
        BackendRef(((llm(never.port),),), weight=0),
    )
    started = await line(shares=shares)
    for _ in range(5):
        assert (await ask(started, connect)).status == 200
    assert (len(good.requests), len(never.requests)) == (5, 0)


async def test_an_evicted_share_gives_way(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A share that is evicted is asked only when no other is left."""
    throttled, good = await upstream(each(answer(429))), await upstream(each(answer()))
    shares = (BackendRef(((llm(throttled.port),),), weight=10**12), BackendRef(((llm(good.port),),), weight=1))
    started = await line(shares=shares)
    for _ in range(5):
        assert (await ask(started, connect)).status == 200
    assert (len(throttled.requests), len(good.requests)) == (1, 5)


async def test_what_is_no_call_keeps_to_its_share(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Shares of plain backends divide the requests: one that cannot be reached is not made up for by another."""
    other = await upstream(each(answer()))
    shares = (
        BackendRef(((Backend("gone", Target("127.0.0.1", free_port())),),), weight=10**12),
        BackendRef(((Backend("other", Target("127.0.0.1", other.port)),),), weight=1),
        BackendRef(((llm(other.port),),), weight=1),
    )
    started = await line(shares=shares)
    assert (await ask(started, connect)).status == 503
    assert not other.requests


async def test_affinity(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Requests with the same header go to the same endpoint; those without it go to all."""
    providers = [await upstream(each(answer())) for _ in range(3)]
    group = tuple(llm(provider.port) for provider in providers)
    started = await line(shares=(BackendRef((group,), affinity=Affinity(header="X-User")),))

    async def used(fields: Callable[[int], bytes]) -> list[int]:
        before = [len(provider.requests) for provider in providers]
        for number in range(60):
            assert (await ask(started, connect, call(fields=fields(number)))).status == 200
        return sorted(len(one.requests) - count for one, count in zip(providers, before, strict=True))

    assert await used(lambda _: b"X-User: ann\r\n") == [0, 0, 60]
    assert (await used(lambda number: b"X-User: %d\r\n" % number))[0] > 0
    assert (await used(lambda _: b""))[1] > 0
