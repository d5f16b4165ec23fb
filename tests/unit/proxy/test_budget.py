"""How much may be repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.proxy.budget import Budget


def withdrawn(budget: Budget, now: float) -> int:
    """How many repetitions there are, all taken."""
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_quiet_route_can_repeat(share: float) -> None:
    """Three repetitions are always there."""
    assert withdrawn(Budget(share), 0) == 3


@pytest.mark.parametrize(
    ("share", "requests", "repetitions"),
    [(0.2, 5, 4), (0.2, 4, 3), (0.2, 1000, 203), (0.1, 30, 6), (0.29, 100, 32), (1.0, 10, 13), (0.0, 1000, 3)],
)
def test_a_share_of_the_requests(share: float, requests: int, repetitions: int) -> None:
    """Above that, there is one for each whole share that requests have paid in."""
    budget = Budget(share)
    for _ in range(requests):
        budget.deposit(7.5)
    assert withdrawn(budget, 7.9) == repetitions


def test_both_sides_are_forgotten() -> None:
    """Ten seconds on, neither requests nor repetitions count any more."""
    budget = Budget(0.2)
    for _ in range(100):
        budget.deposit(0.5)
    assert withdrawn(budget, 5.0) == 23
    assert withdrawn(budget, 10.9) == 0
    assert withdrawn(budget, 11.0) == 0  # the requests are gone, the repetitions are not
    assert withdrawn(budget, 16.0) == 3


def test_a_reload_changes_the_share() -> None:
    """A new share counts at once, for the requests that came before too."""
    budget = Budget(0.0)
    for _ in range(10):
        budget.deposit(0.0)
    budget.share = 1.0
    assert withdrawn(budget, 0.0) == 13


@given(
    st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]),
    st.lists(st.tuples(st.sampled_from(["deposit", "withdraw"]), st.floats(0, 15)), max_size=80),
)
def test_against_a_list_of_all_that_happened(share: float, steps: list[tuple[str, float]]) -> None:
    """It decides as a list does that keeps everything and counts the recent whole seconds each time."""
    budget, now = Budget(share), 0.0
    events: list[tuple[str, float]] = []
    for step, later in steps:
        now += later
        recent = [what for what, when in events if int(when) >= int(now) - 10]
        if step == "deposit":
            budget.deposit(now)
            events.append((step, now))
            continue
        allowed = share * recent.count("deposit") + 3 + 1e-9 >= recent.count("withdraw") + 1
        assert budget.withdraw(now) is allowed
        if allowed:
            events.append((step, now))
