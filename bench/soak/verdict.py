"""The verdict: whether the samples of a run tell of a leak."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

from bench.soak.samples import Sample

_MOST_POINTS = 300
"""Of a longer series medians of neighbours are compared: 300 points have 44,850 slopes."""


class Bound(NamedTuple):
    """By how much a series may grow over the second half of a run, whatever its length."""

    name: str
    of: str
    most: float
    unit: str = ""
    scale: float = 1.0


BOUNDS = (
    Bound("memory", "memory", 4.0, " MiB", 2.0**20),
    Bound("open files", "files", 25),
    Bound("tasks", "tasks", 15),
    Bound("client connections", "clients", 15),
    Bound("upstream connections", "upstreams", 25),
    Bound("idle upstream connections", "idle", 25),
    Bound("pending requests", "pending", 15),
)
"""Four MiB are what an allocator's leftovers vary by; the load holds some 50 connections, more or less as chance has
it. A leak of 100 octets in each of 300 requests a second is 9 MB over the second half of ten minutes."""


class Growth(NamedTuple):
    bound: Bound
    first: float
    last: float
    """Medians of the first and the last tenth of the whole run, in the bound's unit."""
    grown: float
    """Along the slope of the second half."""

    @property
    def leaks(self) -> bool:
        return self.grown > self.bound.most


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs, which outliers do not move."""
    size = -(-len(points) // _MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    middles = [(median(x for x, _ in group), median(y for _, y in group)) for group in groups]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(middles, 2) if a[0] != b[0]]
    return median(slopes) if slopes else 0.0


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """By BOUNDS. `samples` are those under load, two at least."""
    half = samples[len(samples) // 2 :]
    tenth = max(1, len(samples) // 10)
    span = half[-1].at - half[0].at
    found = []
    for bound in BOUNDS:
        values = [getattr(sample, bound.of) / bound.scale for sample in samples]
        along = slope([(sample.at, getattr(sample, bound.of) / bound.scale) for sample in half])
        found.append(Growth(bound, median(values[:tenth]), median(values[-tenth:]), along * span))
    return found
