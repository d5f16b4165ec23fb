"""When an endpoint is evicted, for how long, and how it comes back."""

from __future__ import annotations

import pytest

from torana.model.policy import Eviction
from torana.proxy.vitals import Vitals

RULES = Eviction(consecutive_failures=3, duration=3.0, max_duration=60.0)
NEVER = Eviction(consecutive_failures=None)


def failed(vitals: Vitals, now: float, rules: Eviction = RULES, pause: float | None = None, code: int = 503) -> bool:
    """One whole request that failed."""
    request = object()
    vitals.chosen(request, now)
    return vitals.failed(request, now, rules, pause, throttled=code == 429)


def succeeded(vitals: Vitals, now: float, rules: Eviction = RULES, latency: float = 1.0) -> None:
    """One whole request that was answered well."""
    request = object()
    vitals.chosen(request, now)
    vitals.succeeded(request, latency, now, rules)


def evicted_for(vitals: Vitals, now: float) -> float:
    """Seconds from `now` until requests are let in again."""
    assert vitals.evicted_until is not None
    return vitals.evicted_until - now


# what is measured


def test_averages_move_by_three_tenths() -> None:
    """Health and latency follow the newest answer with a weight of 0.3; the first latency is taken as it is."""
    vitals = Vitals()
    assert (vitals.health, vitals.latency) == (1.0, 0.0)
    succeeded(vitals, 0, latency=2.0)
    assert vitals.latency == 2.0
    succeeded(vitals, 0, latency=1.0)
    assert vitals.latency == pytest.approx(1.7)
    failed(vitals, 0)
    assert vitals.health == pytest.approx(0.7)
    failed(vitals, 0)
    assert vitals.health == pytest.approx(0.49)
    succeeded(vitals, 0)
    assert vitals.health == pytest.approx(0.49 + 0.3 * 0.51)


def test_a_failure_tells_no_latency() -> None:
    """An endpoint that refuses at once is not taken for a fast one."""
    vitals = Vitals()
    succeeded(vitals, 0, latency=2.0)
    failed(vitals, 0)
    assert vitals.latency == 2.0


def test_score() -> None:
    """It is health over one and the latency, which counts a tenth more for each request under way."""
    vitals = Vitals()
    vitals.health, vitals.latency, vitals.pending = 0.8, 2.0, 5
    assert vitals.score(0.0, 9.0) == pytest.approx(0.8 / (1 + 2.0 * 1.5))


def test_score_without_a_latency() -> None:
    """One that has not answered yet is taken to be as fast as it is told to be: what it has been given counts."""
    vitals = Vitals()
    assert vitals.score(0.0, 0.0) == 1.0
    fresh = vitals.score(0.0, 2.0)
    vitals.pending = 3
    assert vitals.score(0.0, 2.0) < fresh == pytest.approx(1 / 3)


def test_score_recovers() -> None:
    """A failure weighs less as time goes by, and after ten seconds nothing: else it would never be seen to be over."""
    vitals = Vitals()
    failed(vitals, 100.0)
    assert vitals.score(100.0) == pytest.approx(0.7)
    assert vitals.score(105.0) == pytest.approx(0.85)
    assert vitals.score(110.0) == vitals.score(200.0) == 1.0


def test_a_slow_answer_is_forgotten() -> None:
    """Ten seconds after its last answer the slower of two counts as no slower, the faster one no worse than it was."""
    slow, quick = Vitals(), Vitals()
    succeeded(slow, 100.0, latency=3.0)
    succeeded(quick, 100.0, latency=1.0)
    assert slow.score(100.0, 1.0) == pytest.approx(1 / 4)
    assert slow.score(105.0, 1.0) == pytest.approx(1 / 3)
    assert slow.score(110.0, 1.0) == slow.score(200.0, 1.0) == quick.score(200.0, 3.0) == 1 / 2


# when


def test_failures_in_a_row() -> None:
    """The third failure in a row evicts; one that was answered in between starts the count anew."""
    vitals = Vitals()
    assert [failed(vitals, 0), failed(vitals, 0)] == [False, False]
    succeeded(vitals, 0)
    assert [failed(vitals, 0), failed(vitals, 0), failed(vitals, 0)] == [False, False, True]


def test_health_threshold() -> None:
    """Below the least health it is evicted, in whatever order failures and successes came."""
    rules = Eviction(consecutive_failures=None, health_threshold=0.5)
    vitals = Vitals()
    assert [failed(vitals, 0, rules), failed(vitals, 0, rules)] == [False, True]


def test_failures_alone_need_not_evict() -> None:
    """Without a number and a threshold, only an upstream that asks for a pause is evicted."""
    vitals = Vitals()
    assert not any(failed(vitals, 0, NEVER) for _ in range(100))
    assert failed(vitals, 0, NEVER, pause=1.0)


@pytest.mark.parametrize(("code", "pause", "evicts"), [(429, None, True), (429, 7.0, True), (503, 7.0, True)])
def test_one_that_asks_for_a_pause(code: int, pause: float | None, evicts: bool) -> None:
    """A 429, or any failure that names a pause, evicts at once."""
    vitals = Vitals()
    assert failed(vitals, 0, pause=pause, code=code) is evicts


# how long


def test_it_grows_and_is_capped() -> None:
    """3 s, then twice as long after each failed probe, and 60 s at most."""
    vitals, now, lengths = Vitals(), 0.0, []
    for _ in range(3):
        failed(vitals, now)
    for _ in range(7):
        lengths.append(evicted_for(vitals, now))
        now += lengths[-1]
        assert failed(vitals, now)
    assert lengths == [3, 6, 12, 24, 48, 60, 60]


def test_it_never_overflows() -> None:
    """However often it was evicted, the length is a number."""
    vitals, now = Vitals(), 0.0
    for _ in range(2000):
        assert failed(vitals, now, code=429)
        now += evicted_for(vitals, now)
    assert evicted_for(vitals, now) == 0
    failed(vitals, now)
    assert evicted_for(vitals, now) == 60


def test_what_is_asked_for_goes_first() -> None:
    """A pause that the upstream named is kept to, be it shorter or longer than the eviction's."""
    for pause in (0.5, 600.0):
        vitals = Vitals()
        failed(vitals, 10, pause=pause, code=429)
        assert evicted_for(vitals, 10) == pause


def test_evictions_that_follow_upon_another() -> None:
    """The length still grows where an endpoint fails soon after it came back."""
    vitals = Vitals()
    failed(vitals, 0, code=429)
    succeeded(vitals, 3)
    failed(vitals, 4, code=429)
    assert evicted_for(vitals, 4) == 6


@pytest.mark.parametrize("answers", [0, 1, 10])
def test_a_new_beginning(answers: int) -> None:
    """After as long as the longest eviction without one the length starts anew, with many requests or none."""
    vitals = Vitals()
    failed(vitals, 0, code=429)
    succeeded(vitals, 3)
    for number in range(answers):
        succeeded(vitals, 4 + number)
    failed(vitals, 64, code=429)
    assert evicted_for(vitals, 64) == 3


# and back


def test_the_probe() -> None:
    """While evicted it admits nobody; then one request, whose success admits all."""
    vitals = Vitals()
    failed(vitals, 0, code=429)
    assert [vitals.admits(0), vitals.admits(2.9), vitals.admits(3)] == [False, False, True]
    probe = object()
    vitals.chosen(probe, 3)
    assert not vitals.admits(3.1)
    vitals.succeeded(probe, 1.0, 4, Eviction(restore_health=0.6))
    assert vitals.admits(4)
    assert vitals.health == 0.6


def test_a_probe_whose_client_left() -> None:
    """It tells nothing: the next request is the probe."""
    vitals = Vitals()
    failed(vitals, 0, code=429)
    probe = object()
    vitals.chosen(probe, 3)
    vitals.unknown(probe)
    assert vitals.admits(3.1)


def test_choosing_it_as_the_last_one_left_is_no_probe() -> None:
    """A request that goes there during the eviction neither restores the endpoint nor keeps the probe away."""
    vitals, desperate = Vitals(), object()
    failed(vitals, 0, code=429)
    vitals.chosen(desperate, 1)
    assert vitals.admits(3)
    vitals.succeeded(desperate, 1.0, 2, RULES)
    assert not vitals.admits(2.5)


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "unknown"])
def test_only_the_probe_decides(outcome: str) -> None:
    """What becomes of a request from before the eviction neither ends the probe nor counts for it."""
    vitals, early, probe = Vitals(), object(), object()
    vitals.chosen(early, 0)
    failed(vitals, 0, code=429)
    vitals.chosen(probe, 3)
    if outcome == "succeeded":
        vitals.succeeded(early, 1.0, 4, RULES)
    elif outcome == "failed":
        assert not vitals.failed(early, 4, RULES, None, throttled=False)
    else:
        vitals.unknown(early)
    assert vitals.probe is probe
    assert not vitals.admits(4)
    assert vitals.failed(probe, 5, RULES, None, throttled=False)
    assert evicted_for(vitals, 5) == 6


def test_a_longer_pause_that_comes_late() -> None:
    """A request from before the eviction that was asked for a longer pause makes the eviction as long."""
    vitals, early = Vitals(), object()
    vitals.chosen(early, 0)
    failed(vitals, 0, pause=5.0, code=429)
    assert not vitals.failed(early, 1, RULES, 30.0, throttled=True)
    assert evicted_for(vitals, 1) == 30
    assert not vitals.failed(early, 2, RULES, 1.0, throttled=True)
    assert evicted_for(vitals, 1) == 30
