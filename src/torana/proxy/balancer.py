"""Balancer: which endpoint of a backend a request goes to, and which one next should that fail.

Groups are in strict order of priority: a group is asked only while none before it admits a request. Within a group the
better of two that are drawn at random takes it (power of two choices), so that no crowd runs to the one that was best
a moment ago. What is evicted comes last, and comes all the same: better a doubtful endpoint than none.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Sequence

from torana.proxy.upstream import Upstream

Draw = Callable[[int], int]
"""A whole number from 0 up to, and without, its argument; at random."""


class Balancer:
    """The endpoints of one share of a route. `groups` has one group at least, and each an endpoint."""

    __slots__ = ("_draw", "groups")

    def __init__(self, groups: Sequence[Sequence[Upstream]], draw: Draw = random.randrange) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        self._draw = draw

    def next(self, tried: Collection[Upstream], now: float, affinity: bytes | None = None) -> Upstream | None:
        """The endpoint for a request that `tried` have failed; None when each has been tried.

        Requests with the same `affinity` go to the same endpoint of a group for as long as it admits them.
        """
        for group in self.groups:
            admitted = [one for one in group if one not in tried and one.endpoint.vitals.admits(now)]
            if admitted:
                return self._chosen(admitted, now, affinity)
        for group in self.groups:
            evicted = [one for one in group if one not in tried]
            if evicted:
                return self._chosen(evicted, now, affinity)
        return None

    def _chosen(self, candidates: list[Upstream], now: float, affinity: bytes | None) -> Upstream:
        chosen = candidates[0]
        if len(candidates) > 1:
            chosen = self._better(candidates) if affinity is None else _rendezvous(candidates, affinity)
            for one in candidates:
                if one.endpoint.vitals.evicted_until is not None and one.endpoint.vitals.admits(now):
                    chosen = one  # its eviction is over: find out before the others have all the requests
                    break
        chosen.endpoint.vitals.chosen(now)
        return chosen

    def _better(self, candidates: list[Upstream]) -> Upstream:
        first = self._draw(len(candidates))
        second = self._draw(len(candidates) - 1)
        one, other = candidates[first], candidates[second + (second >= first)]
        return one if one.endpoint.vitals.score >= other.endpoint.vitals.score else other


def _rendezvous(candidates: list[Upstream], affinity: bytes) -> Upstream:
    """The highest random weight (Thaler and Ravishankar): an endpoint that leaves moves its own requests only."""

    def weight(upstream: Upstream) -> bytes:
        return hashlib.blake2b(upstream.endpoint.identity, key=affinity[:64], digest_size=8).digest()

    return max(candidates, key=weight)
