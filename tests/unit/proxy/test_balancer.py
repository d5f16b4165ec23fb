"""Which endpoint a request goes to, and the circuit breaker as the requests of a gateway work it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import chain

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from torana.http.dial import Dialler
from torana.http.pool import Pool
from torana.http.sweep import Sweep
from torana.model.backend import Backend, Target
from torana.model.policy import Eviction, Health
from torana.proxy.balancer import Balancer
from torana.proxy.runtime import Runtime
from torana.proxy.upstream import Upstream

RULES = Eviction(consecutive_failures=2, duration=3.0, max_duration=10.0)


def balancer(*sizes: int, draw: Callable[[int], int] | None = None) -> Balancer:
    """Groups of these sizes; the backends are called 0, 1, 2 and so on."""
    sweep = Sweep()
    runtime = Runtime(Pool(Dialler(sweep, {}, 1, 1), sweep, 1, 0))
    names = iter(range(sum(sizes)))
    groups = [
        [Backend(f"{next(names)}", Target("a", 80), health=Health(eviction=RULES)) for _ in range(size)]
        for size in sizes
    ]
    return Balancer(
        [[Upstream(backend, runtime) for backend in group] for group in groups],
        draw=draw or random.Random(7).randrange,
    )


def upstreams(one: Balancer) -> list[Upstream]:
    return [*chain.from_iterable(one.groups)]


def evict(upstream: Upstream, now: float = 0.0) -> None:
    """For 3 seconds."""
    assert upstream.endpoint.vitals.failed(object(), now, RULES, None, throttled=True)


def names(one: Balancer, times: int, now: float = 0.0, affinity: bytes | None = None) -> Counter[str]:
    chosen = (one.admitted((), now, affinity) for _ in range(times))
    return Counter("none" if each is None else each.backend.name for each in chosen)


# groups


def test_the_first_group_that_has_one() -> None:
    """A group gets requests only while none before it admits any; an eviction that is over admits one."""
    one = balancer(2, 1, 1)
    first, second, third, _ = upstreams(one)
    assert names(one, 100).keys() == {"0", "1"}
    evict(first)
    assert names(one, 100).keys() == {"1"}
    evict(second)
    assert names(one, 100).keys() == {"2"}
    evict(third)
    assert names(one, 100).keys() == {"3"}
    assert one.admitted((), 3.0) is first


def test_all_evicted() -> None:
    """Nobody admits a request, and as the last resort the groups still go in order."""
    one = balancer(2, 1)
    for upstream in upstreams(one):
        evict(upstream)
    assert one.admitted((), 1.0) is None
    tried: list[Upstream] = []
    while (following := one.last_resort(tried, 1.0)) is not None:
        tried.append(following)
    assert {each.backend.name for each in tried[:2]} == {"0", "1"}
    assert [each.backend.name for each in tried[2:]] == ["2"]


def test_what_was_tried_is_left_out() -> None:
    """Each endpoint comes once, those of a group before those of the next."""
    one = balancer(3, 2)
    tried: list[Upstream] = []
    while (following := one.admitted(tried, 0.0)) is not None:
        tried.append(following)
    assert {each.backend.name for each in tried[:3]} == {"0", "1", "2"}
    assert {each.backend.name for each in tried[3:]} == {"3", "4"}


# within a group


def test_equals_share_alike() -> None:
    """Where nothing is known of any, each of four gets about a quarter."""
    counts = names(balancer(4), 4000)
    assert all(850 < counts[name] < 1150 for name in "0123")


def test_two_are_drawn_without_favour() -> None:
    """Every two of a group, in both orders, are drawn by exactly one pair of numbers."""
    pairs: Counter[tuple[str, str]] = Counter()
    for first in range(4):
        for second in range(3):
            numbers = iter([first, second])
            one = balancer(4, draw=lambda _, numbers=numbers: next(numbers))  # type: ignore[misc]
            chosen = one.admitted((), 0.0)
            assert chosen is not None
            pairs[chosen.backend.name, str(second)] += 1
    assert set(pairs.values()) == {1}
    assert len(pairs) == 12


def test_the_better_of_two() -> None:
    """Of two that are drawn the one with the higher score is chosen; the worst of a group never is."""
    one = balancer(3)
    for upstream, latency in zip(upstreams(one), (1.0, 2.0, 3.0), strict=True):
        upstream.endpoint.vitals.latency = latency
    counts = names(one, 3000)
    assert counts.keys() == {"0", "1"}
    assert 1850 < counts["0"] < 2150


def test_about_as_good() -> None:
    """A lead of milliseconds is chance: the one with fewer requests gets the next, and equals share alike."""
    one = balancer(2)
    quicker, slower = (upstream.endpoint.vitals for upstream in upstreams(one))
    quicker.latency, slower.latency = 0.001, 0.020
    assert all(400 < count < 600 for count in names(one, 1000).values())
    quicker.pending = 1
    assert names(one, 100).keys() == {"1"}


def test_a_slow_one_is_tried_again() -> None:
    """One that was slow gets nothing at first, and ten seconds later its share, to show whether it still is."""
    one = balancer(2)
    slow, quick = upstreams(one)
    slow.endpoint.vitals.succeeded(object(), 5.0, 100.0, RULES)
    quick.endpoint.vitals.succeeded(object(), 1.0, 100.0, RULES)
    assert names(one, 100, now=101.0).keys() == {"1"}
    assert names(one, 100, now=110.0).keys() == {"0", "1"}
    slow.endpoint.vitals.succeeded(object(), 5.0, 110.0, RULES)
    assert names(one, 100, now=110.0).keys() == {"1"}


def test_a_newcomer_does_not_get_the_crowd() -> None:
    """One that has not answered yet counts as no faster than the others: what it has under way tells against it."""
    one = balancer(2)
    known, fresh = (upstream.endpoint.vitals for upstream in upstreams(one))
    known.latency, known.pending, fresh.pending = 2.0, 1, 3
    assert names(one, 100).keys() == {"0"}


def test_a_probe_does_not_wait_for_its_luck() -> None:
    """An endpoint whose eviction is over gets the next request, and until that has told, no other."""
    one = balancer(3)
    evict(upstreams(one)[1])
    assert names(one, 100, now=2.9).keys() == {"0", "2"}
    chosen = one.admitted((), 3.0)
    assert chosen is upstreams(one)[1]
    assert one.admitted((), 3.0) is chosen  # choosing alone changes nothing
    chosen.endpoint.vitals.chosen(object(), 3.0)
    assert names(one, 100, now=3.0).keys() == {"0", "2"}


# affinity


def test_the_same_key_the_same_endpoint() -> None:
    """It depends on the key alone, and keys are spread over a group."""
    one, other = balancer(4), balancer(4, draw=random.Random(99).randrange)
    chosen = [names(one, 3, affinity=b"%d" % key) for key in range(400)]
    assert all(len(each) == 1 for each in chosen)
    assert chosen == [names(other, 3, affinity=b"%d" % key) for key in range(400)]
    counts = sum(chosen, Counter())
    assert all(200 < counts[name] < 400 for name in "0123")


def test_keys_that_begin_alike() -> None:
    """All of a key counts: tokens have hundreds of bytes, of which the first are the same for everybody."""
    one = balancer(4)
    assert len({next(iter(names(one, 1, affinity=b"Bearer " + b"e" * 300 + b"%d" % key))) for key in range(50)}) == 4


def test_only_its_own_requests_move() -> None:
    """While an endpoint is evicted its keys go elsewhere and all others stay; afterwards they are back."""
    one = balancer(4)
    before = {key: one.admitted((), 0.0, b"%d" % key) for key in range(200)}
    gone = upstreams(one)[2]
    evict(gone)
    for key, upstream in before.items():
        now = one.admitted((), 1.0, b"%d" % key)
        assert now is not gone
        assert now is upstream or upstream is gone
        assert one.admitted((), 3.0, b"%d" % key) is upstream


# all of it, against a model that is slow and obvious


class _Model:
    """What is to be expected of one endpoint."""

    def __init__(self) -> None:
        self.row = 0
        self.until: float | None = None
        self.length = 0.0
        self.restored = float("-inf")
        self.probe: int | None = None

    def admits(self, now: float) -> bool:
        return self.until is None or (now >= self.until and self.probe is None)

    def evict(self, now: float, pause: float | None) -> None:
        self.length = RULES.duration if self.length == 0 else min(2 * self.length, RULES.max_duration)
        self.until = now + (self.length if pause is None else pause)
        self.row = 0


class CircuitBreaker(RuleBasedStateMachine):
    """Requests that begin, fail, go on elsewhere, succeed and leave, in any order, while time goes by."""

    @initialize(sizes=st.lists(st.integers(1, 2), min_size=1, max_size=2))
    def begin(self, sizes: list[int]) -> None:
        self.balancer = balancer(*sizes)
        self.model = {upstream: _Model() for upstream in upstreams(self.balancer)}
        self.now = 0.0
        self.number = 0
        self.tried: dict[int, list[Upstream]] = {}
        self.tokens: dict[int, object] = {}

    def choose(self, number: int, affinity: bytes | None) -> None:
        """The next endpoint of a request, which ends when there is none."""
        tried = self.tried[number]
        left = [[one for one in group if one not in tried] for group in self.balancer.groups]
        admitted = [[one for one in group if self.model[one].admits(self.now)] for group in left]
        expected = next((group for group in admitted if group), None)
        upstream = self.balancer.admitted(tried, self.now, affinity)
        if expected is None:
            assert upstream is None
            expected = next((group for group in left if group), None)
            upstream = self.balancer.last_resort(tried, self.now, affinity)
        elif affinity is None:
            expected = [one for one in expected if self.model[one].until is not None] or expected
        if upstream is None:
            assert expected is None
            del self.tried[number], self.tokens[number]
            return
        assert expected is not None
        assert upstream in expected
        model = self.model[upstream]
        if model.until is not None and model.admits(self.now):
            model.probe = number
        tried.append(upstream)
        upstream.endpoint.vitals.chosen(self.tokens[number], self.now)

    @rule(affinity=st.sampled_from([None, b"a", b"b"]))
    def start(self, affinity: bytes | None) -> None:
        self.number += 1
        self.tried[self.number] = []
        self.tokens[self.number] = object()
        self.choose(self.number, affinity)

    @rule(seconds=st.sampled_from([0.1, 3.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.tried)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        number, upstream, model = self.any_request(data)
        model.row = 0
        if model.probe == number:
            model.probe = model.until = None
            model.restored = self.now
        upstream.endpoint.vitals.succeeded(self.tokens.pop(number), 1.0, self.now, RULES)
        del self.tried[number]

    @precondition(lambda self: self.tried)
    @rule(data=st.data(), throttled=st.booleans(), pause=st.sampled_from([None, 0.5, 20.0]))
    def fail(self, data: st.DataObject, throttled: bool, pause: float | None) -> None:
        number, upstream, model = self.any_request(data)
        model.row += 1
        evicts = False
        if model.probe == number:
            model.probe = None
            evicts = True
        elif model.until is not None:
            model.until = max(model.until, self.now + (pause or 0))
        else:
            if self.now - model.restored > RULES.max_duration:
                model.length = 0
            evicts = throttled or pause is not None or model.row >= 2
        if evicts:
            model.evict(self.now, pause)
        vitals = upstream.endpoint.vitals
        assert vitals.failed(self.tokens[number], self.now, RULES, pause, throttled=throttled) is evicts
        self.choose(number, None)

    @precondition(lambda self: self.tried)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number, upstream, model = self.any_request(data)
        if model.probe == number:
            model.probe = None
        upstream.endpoint.vitals.unknown(self.tokens.pop(number))
        del self.tried[number]

    def any_request(self, data: st.DataObject) -> tuple[int, Upstream, _Model]:
        number = data.draw(st.sampled_from(sorted(self.tried)))
        upstream = self.tried[number][-1]
        return number, upstream, self.model[upstream]

    @invariant()
    def as_expected(self) -> None:
        for upstream, model in getattr(self, "model", {}).items():
            vitals = upstream.endpoint.vitals
            assert vitals.evicted_until == model.until
            assert vitals.admits(self.now) is model.admits(self.now)
            assert vitals.probe is (None if model.probe is None else self.tokens[model.probe])
            assert 0 <= vitals.health <= 1

    def teardown(self) -> None:
        """Once every client has left no probe is under way, and all that was evicted comes back."""
        for number, tried in getattr(self, "tried", {}).items():
            tried[-1].endpoint.vitals.unknown(self.tokens[number])
        for upstream in getattr(self, "model", {}):
            assert upstream.endpoint.vitals.admits(self.now + 60)


TestCircuitBreaker = CircuitBreaker.TestCase
TestCircuitBreaker.settings = settings(max_examples=300, stateful_step_count=50)
