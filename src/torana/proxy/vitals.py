"""Vitals: how an endpoint has been doing, and whether it gets requests at all.

An endpoint that fails too often is evicted: it gets no requests for a while. After that one request is let through to
see; its success restores the endpoint, its failure evicts it for longer (a circuit breaker that is half open). No other
request decides that: one that is under way since before the eviction tells of the past.
"""

from __future__ import annotations

from torana.model.policy import Eviction

_FORGOTTEN = 10.0  # seconds after which a failure, or a slow answer, no longer tells against an endpoint
_ALPHA = 0.3  # the weight of the newest answer in both averages, as in agentgateway


class Vitals:
    """Of one endpoint in one process. `now` is seconds of a clock that only goes forward, the same for all calls.

    `health` is the moving share of answers that were well, and `latency` the moving average of seconds to the first
    byte, 0 as long as none is known; both as they were at the last answer. What tells against an endpoint is forgotten
    with time: one that got no requests for it could not show that it is over. `pending` counts the requests under way,
    to the end of their answers; whoever adds one takes it away again. `probe` is the request, whatever stands for it,
    that finds out about an eviction that is over.
    """

    __slots__ = (
        "answered_at",
        "evicted_until",
        "evictions",
        "failed_at",
        "failures",
        "health",
        "latency",
        "pending",
        "probe",
        "restored_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.health = 1.0
        self.latency = 0.0
        self.pending = 0
        self.failures = 0
        self.evictions = 0
        self.evicted_until: float | None = None
        self.restored_at = 0.0
        self.failed_at = 0.0
        self.answered_at = 0.0
        self.probe: object | None = None

    def admits(self, now: float) -> bool:
        """Whether a request may come. Of an eviction that is over, the first one only."""
        return self.evicted_until is None or (now >= self.evicted_until and self.probe is None)

    def score(self, now: float, other: float = 0.0) -> float:
        """Higher is better: health over latency, with what is under way on top (agentgateway's formula).

        `other` is the latency of the one it is compared with, 0 when that is not known: what has not answered yet
        counts as no faster, or all would go to the newest until it has.
        """
        health = self.health
        if health < 1:
            health += (1 - health) * _forgotten(now - self.failed_at)
        latency = self.latency or other
        if latency > other > 0:
            latency -= (latency - other) * _forgotten(now - self.answered_at)
        return health / (1 + latency * (1 + 0.1 * self.pending))

    def chosen(self, request: object, now: float) -> None:
        """`request` goes there; with an eviction that is over, the first one is the probe."""
        if self.evicted_until is not None and self.admits(now):
            self.probe = request

    def unknown(self, request: object) -> None:
        """It ended without telling anything of the endpoint: its client left."""
        if self.probe is request:
            self.probe = None

    def succeeded(self, request: object, latency: float, now: float, eviction: Eviction) -> bool:
        """True when this ends an eviction."""
        self.failures = 0
        self.health += _ALPHA * (1 - self.health)
        self.answered_at = now
        self.latency = latency if self.latency == 0 else self.latency + _ALPHA * (latency - self.latency)
        if self.probe is request:
            self.probe = None
            self.evicted_until = None
            self.restored_at = now
            self.health = eviction.restore_health
            return True
        return False

    def failed(self, request: object, now: float, eviction: Eviction, pause: float | None, *, throttled: bool) -> bool:
        """True when this evicts the endpoint. `pause`: seconds the upstream asked for; `throttled`: it said 429."""
        self.failures += 1
        self.health -= _ALPHA * self.health
        self.failed_at = now
        probed = self.probe is request
        if probed:
            self.probe = None
        elif self.evicted_until is not None:  # meanwhile, by another request; or used because no other was left
            self.evicted_until = max(self.evicted_until, now + (pause or 0))
            return False
        elif now - self.restored_at > eviction.max_duration:
            self.evictions = 0  # it has been well for so long that this is a new beginning
        if not (probed or throttled or pause is not None or self._too_often(eviction)):
            return False
        if pause is None:
            pause = min(eviction.duration * 2.0 ** min(self.evictions, 30), eviction.max_duration)
        self.evictions += 1
        self.failures = 0
        self.evicted_until = now + pause
        return True

    def _too_often(self, eviction: Eviction) -> bool:
        many = eviction.consecutive_failures
        least = eviction.health_threshold
        return (many is not None and self.failures >= many) or (least is not None and self.health < least)


def _forgotten(age: float) -> float:
    """The share of it, from 0 to 1."""
    return min(max(age, 0) / _FORGOTTEN, 1)
