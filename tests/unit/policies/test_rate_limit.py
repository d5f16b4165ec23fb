"""localRateLimit: whose bucket a request takes from, what is refused, and what the client is told."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange, fields, shown
from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.llm.usage import Usage
from torana.model.policy import LimitUnit, RateLimit, RateLimitKey, RateLimitKeyKind
from torana.policies import rate_limit as module
from torana.policies.buckets import Buckets
from torana.policies.rate_limit import RateLimitPolicy
from torana.telemetry.record import Placement

ROUTE = Placement("bind/1", "listener", "route")
HEADER = RateLimitKey(RateLimitKeyKind.HEADER, "X-User")
API_KEY = RateLimitKey(RateLimitKeyKind.API_KEY)
CLIENT = RateLimitKey(RateLimitKeyKind.CLIENT)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time stands still until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def policy(*limits: RateLimit, placement: Placement = ROUTE, buckets: Buckets | None = None) -> RateLimitPolicy:
    return RateLimitPolicy(limits, placement, buckets or Buckets.private())


def once(key: RateLimitKey | None = None, condition: str | None = None) -> RateLimit:
    return RateLimit(1, 1, 60.0, key=key, condition=condition)


def admits(limits: RateLimitPolicy, request: Exchange) -> bool:
    try:
        limits.on_request(request)
    except GatewayError:
        return False
    return True


def told(limits: RateLimitPolicy, request: Exchange) -> list[str]:
    answer = fields(("X-RateLimit-Remaining", "999"), ("x-ratelimit-limit-tokens", "5"))
    limits.on_response(request, answer)
    return shown(answer)


# whose bucket


def from_(peer: str, *headers: tuple[str, str]) -> Exchange:
    request = exchange("/", *headers)
    request.record.peer = peer
    return request


@pytest.mark.parametrize(
    ("key", "one", "same", "other"),
    [
        (HEADER, exchange("/", ("x-user", "a")), exchange("/", ("X-USER", "a")), exchange("/", ("x-user", "b"))),
        (HEADER, exchange("/"), exchange("/", ("y", "b")), exchange("/", ("x-user", ""))),
        (
            API_KEY,
            exchange("/", ("Authorization", "Bearer sk-1")),
            exchange("/", ("x-api-key", "sk-1")),
            exchange("/", ("authorization", "bearer sk-2")),
        ),
        (API_KEY, exchange("/", ("Authorization", "sk-1")), exchange("/", ("x-api-key", "sk-1")), exchange("/")),
        (CLIENT, from_("10.0.0.1:5000"), from_("10.0.0.1:5001"), from_("10.0.0.2:5000")),
        (CLIENT, from_("::1:5000"), from_("::1:5001", ("x-forwarded-for", "::9")), from_("::2:5000")),
    ],
)
def test_keys(key: RateLimitKey, one: Exchange, same: Exchange, other: Exchange) -> None:
    """Each value of a limit's key has a bucket of its own; those without a value have one together."""
    limits = policy(once(key))
    assert admits(limits, one)
    assert not admits(limits, same)
    assert admits(limits, other)


def test_no_key() -> None:
    """A limit without a key is one for all requests of the route."""
    limits = policy(once())
    assert admits(limits, exchange("/", ("x-user", "a")))
    assert not admits(limits, from_("10.0.0.1:1", ("x-user", "b")))


def test_nothing_that_clients_send_is_kept() -> None:
    """A credential is not to be found in the memory of the buckets."""
    buckets = Buckets.private()
    policy(once(API_KEY), buckets=buckets).on_request(exchange("/", ("authorization", "Bearer sk-secret-12345")))
    assert buckets._memory.find(b"sk-secret") < 0


@pytest.mark.parametrize(
    ("placement", "limit", "same"),
    [
        (ROUTE, once(), True),
        (Placement("bind/1", "listener", "other"), once(), False),
        (Placement("bind/1", "other", "route"), once(), False),
        (Placement("bind/2", "listener", "route"), once(), False),
        (ROUTE, RateLimit(2, 1, 60.0), False),
        (ROUTE, once(HEADER), False),
    ],
)
def test_what_survives_a_reload(placement: Placement, limit: RateLimit, same: bool) -> None:
    """A bucket stays while its route's place and its limit do; any other begins full."""
    buckets = Buckets.private()
    assert admits(policy(once(), buckets=buckets), exchange())
    added = RateLimit(1000, 1, 1.0)  # the same limit may get another place in the list
    again = RateLimitPolicy((added, limit), placement, buckets)
    assert admits(again, exchange()) is not same


def test_the_same_limit_twice_is_one() -> None:
    """A limit that is written twice counts once."""
    limits = policy(RateLimit(2, 2, 60.0), RateLimit(2, 2, 60.0))
    assert [admits(limits, exchange()) for _ in range(3)] == [True, True, False]


# when it counts


def test_condition() -> None:
    """A limit counts for the requests that fulfil its condition, and only those are told of it."""
    limits = policy(once(condition='request.headers["x-tier"] == "free"'))
    free = exchange("/", ("x-tier", "free"))
    assert [admits(limits, free) for _ in range(2)] == [True, False]
    for other in (exchange("/", ("x-tier", "paid")), exchange()):
        assert [admits(limits, other) for _ in range(2)] == [True, True]
        assert told(limits, other) == ["X-RateLimit-Remaining: 999", "x-ratelimit-limit-tokens: 5"]


def test_unless() -> None:
    """Of limits that exclude each other, a request is counted by the first whose condition it fulfils."""
    free = 'request.headers["x-tier"] == "free"'
    limits = policy(once(condition=free), RateLimit(3, 3, 60.0, unless=(free,)))
    assert [admits(limits, exchange("/", ("x-tier", "free"))) for _ in range(2)] == [True, False]
    assert [admits(limits, exchange("/", ("x-tier", "paid"))) for _ in range(4)] == [True, True, True, False]


def test_all_must_admit() -> None:
    """A request that one limit refuses takes nothing from the others."""
    limits = policy(once(HEADER), RateLimit(2, 1, 60.0))
    a, b = exchange("/", ("x-user", "a")), exchange("/", ("x-user", "b"))
    assert [admits(limits, request) for request in (a, a, a, b)] == [True, False, False, True]


def test_time(clock: Clock) -> None:
    """After an interval there is more."""
    limits = policy(RateLimit(2, 1, 60.0))
    assert [admits(limits, exchange()) for _ in range(3)] == [True, True, False]
    clock.now += 59.9
    assert not admits(limits, exchange())
    clock.now += 0.2
    assert [admits(limits, exchange()) for _ in range(2)] == [True, False]


# tokens


TOKENS = RateLimit(10, 10, 60.0, unit=LimitUnit.TOKENS)


def test_tokens_are_taken_afterwards(clock: Clock) -> None:
    """A request is let in while a token is left; what its answer used is taken then, down to nothing."""
    limits = policy(TOKENS)
    first, second = exchange(), exchange()
    assert admits(limits, first)
    assert admits(limits, second)
    assert told(limits, second)[1:] == ["x-ratelimit-limit: 10", "x-ratelimit-remaining: 10", "x-ratelimit-reset: 0"]
    for request, usage in ((first, Usage(5, 4)), (second, Usage(100, 100))):
        assert request.charge is not None
        request.record.usage = usage
        request.charge(request.record)
        if request is first:
            assert admits(limits, exchange())
    assert not admits(limits, exchange())
    clock.now += 60
    assert admits(limits, exchange())


def test_tokens_of_whom() -> None:
    """Tokens are taken from the bucket of the request's own key, and a limit of requests is not told of them."""
    limits = policy(RateLimit(10, 10, 60.0, LimitUnit.TOKENS, HEADER), RateLimit(100, 1, 60.0))
    a, b = exchange("/", ("x-user", "a")), exchange("/", ("x-user", "b"))
    assert admits(limits, a)
    assert a.charge is not None
    a.record.usage = Usage(10, 1)
    a.charge(a.record)
    assert not admits(limits, a)
    assert admits(limits, b)
    assert b.quota is not None
    assert b.quota.remaining == 10


def test_requests_alone_wait_for_no_usage() -> None:
    """Where only requests are limited, nobody is to be told the usage."""
    request = exchange()
    assert admits(policy(once()), request)
    assert request.charge is None


# what the client is told


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (RateLimit(1, 1, 60.0), "1 requests, 1 more every 60 s."),
        (RateLimit(1, 1, 0.5, key=HEADER), "1 requests, 1 more every 0.5 s, for each value of X-User."),
        (RateLimit(1, 1, 1.0, key=API_KEY), "1 requests, 1 more every 1 s, for each API key."),
        (RateLimit(1, 1, 86400.0, key=CLIENT), "1 requests, 1 more every 86400 s, for each client address."),
    ],
)
def test_refusal(limit: RateLimit, words: str) -> None:
    """The error names the limit and says when there will be more."""
    limits = policy(RateLimit(1000, 1, 1.0), limit)
    limits.on_request(exchange())
    with pytest.raises(GatewayError) as refused:
        limits.on_request(exchange())
    wait = max(limit.fill_interval, 1)
    assert str(refused.value) == f"Rate limit reached: {words} There is more in {wait:g} s."
    assert (refused.value.reason, refused.value.retry_after) == (Reason.RATE_LIMITED, wait)


def test_headers_of_the_tightest(clock: Clock) -> None:
    """Answers and refusals tell the limit with the least left, in place of what the upstream calls the same."""
    limits = policy(RateLimit(100, 1, 1.0), RateLimit(2, 1, 60.0))
    request = exchange()
    for remaining in (1, 0, 0):
        admits(limits, request)
        assert told(limits, request) == [
            "x-ratelimit-limit-tokens: 5",
            "x-ratelimit-limit: 2",
            f"x-ratelimit-remaining: {remaining}",
            f"x-ratelimit-reset: {60 - (clock.now - 1000):g}",
        ]
        clock.now += 10
