"""Balancer: which endpoint of a backend a request goes to, and which one next should that fail.

Groups are in strict order of priority: a group is asked only while none before it admits a request. Within a group the
better of two that are drawn at random takes it (power of two choices), so that no crowd runs to the one that was best
a moment ago; of two that are about as good, the one with fewer requests under way. What is evicted comes last, and
comes all the same: better a doubtful endpoint than none.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from torana.policies.session_affinity import AffinityKey
from torana.proxy.upstream import Upstream

_LEAD = 0.05  # of a score; less is chance: 50 ms between two that are quick

Draw: TypeAlias = Callable[[int], int]
"""A whole number from 0 up to, and without, its argument; at random."""


class Balancer:
    """The endpoints of one share of a route. `groups` has one group at least, and each an endpoint.

    `key` is the share's session affinity: requests with the same key go to the same endpoint of a group for as long as
    it admits them. `is_llm`: each is a language model's. Choosing changes nothing: what is chosen may not be used.
    """

    __slots__ = ("_draw", "groups", "is_llm", "key")

    def __init__(
        self, groups: Sequence[Sequence[Upstream]], key: AffinityKey | None = None, draw: Draw = random.randrange
    ) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        self.key = key
        self.is_llm = all(one.is_llm and one.redirect is None for group in self.groups for one in group)
        self._draw = draw

    def admitted(self, tried: Collection[Upstream], now: float, affinity: bytes | None = None) -> Upstream | None:
        """The endpoint for a request that `tried` have failed, of those that are not evicted."""
        for group in self.groups:
            candidates = [one for one in group if one not in tried and one.endpoint.vitals.admits(now)]
            if not candidates:
                continue
            for one in candidates:
                if affinity is None and one.endpoint.vitals.evicted_until is not None:
                    return one  # its eviction is over: find out before the others have all the requests
            return self._chosen(candidates, now, affinity)
        return None

    def last_resort(self, tried: Collection[Upstream], now: float, affinity: bytes | None = None) -> Upstream | None:
        """The same, of all, for when no one admits it; None when each has been tried."""
        for group in self.groups:
            candidates = [one for one in group if one not in tried]
            if candidates:
                return self._chosen(candidates, now, affinity)
        return None

    def _chosen(self, candidates: list[Upstream], now: float, affinity: bytes | None) -> Upstream:
        if len(candidates) == 1:
            return candidates[0]
        return self._better(candidates, now) if affinity is None else _rendezvous(candidates, affinity)

    def _better(self, candidates: list[Upstream], now: float) -> Upstream:
        first = self._draw(len(candidates))
        second = self._draw(len(candidates) - 1)
        one, other = candidates[first], candidates[second + (second >= first)]
        mine, theirs = one.endpoint.vitals, other.endpoint.vitals
        score, its_score = mine.score(now, theirs.latency), theirs.score(now, mine.latency)
        if abs(score - its_score) > _LEAD * max(score, its_score):
            return one if score > its_score else other
        return one if mine.pending <= theirs.pending else other


def _rendezvous(candidates: list[Upstream], affinity: bytes) -> Upstream:
    """The highest random weight (Thaler and Ravishankar): an endpoint that leaves moves its own requests only."""
    key = hashlib.blake2b(affinity).digest()  # of any length, and different in any of its bytes

    def weight(upstream: Upstream) -> bytes:
        return hashlib.blake2b(upstream.endpoint.identity, key=key, digest_size=8).digest()

    return max(candidates, key=weight)
