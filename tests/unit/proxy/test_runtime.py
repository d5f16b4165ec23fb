"""What outlives a snapshot, and what does not."""

from __future__ import annotations

from torana.http.dial import Dialler
from torana.http.pool import Pool
from torana.http.sweep import Sweep
from torana.model.policy import Retry
from torana.proxy.runtime import Runtime
from torana.telemetry.record import Placement


def test_a_budget_lasts_as_long_as_its_route() -> None:
    """A route keeps its budget over a reload; that of a route that is gone is forgotten."""
    sweep = Sweep()
    runtime = Runtime(Pool(Dialler(sweep, {}, 0, 0), sweep, 1, 0))
    place = Placement("bind/1", "listener0", "route0")
    former = runtime.budget(place, Retry())
    reloaded = runtime.budget(place, Retry(budget=0.5))
    assert reloaded is former
    assert reloaded.share == 0.5
    del former, reloaded
    assert not runtime._budgets
