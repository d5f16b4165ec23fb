"""Vitals: how an endpoint has been doing, and whether it gets requests at all.

An endpoint that fails too often is evicted: it gets no requests for a while. After that one request is let through to
see; its success restores the endpoint, its failure evicts it for longer (a circuit breaker that is half open).
"""

from __future__ import annotations

from torana.model.policy import Eviction

_ALPHA = 0.3  # the weight of the newest answer in both averages, as in agentgateway
_LONGEST_ASKED = 3600.0  # seconds; an upstream that asks for a longer pause is believed no further


class Vitals:
    """Of one endpoint in one process. `now` is seconds of a clock that only goes forward, the same for all calls.

    `health` is the moving share of answers that were well, `latency` the moving average of seconds to the first byte.
    `pending` counts the requests under way; whoever adds one takes it away again.
    """

    __slots__ = ("evicted_until", "evictions", "failures", "health", "latency", "pending", "probing", "restored_at")

    def __init__(self) -> None:
        self.health = 1.0
        self.latency = 0.0
        self.pending = 0
        self.failures = 0
        self.evictions = 0
        self.evicted_until: float | None = None
        self.restored_at = 0.0
        self.probing = False

    def admits(self, now: float) -> bool:
        """Whether a request may come. Of an eviction that is over, the first one only."""
        return self.evicted_until is None or (now >= self.evicted_until and not self.probing)

    @property
    def score(self) -> float:
        """Higher is better: health over latency, with what is under way on top (agentgateway's formula)."""
        return self.health / (1 + self.latency * (1 + 0.1 * self.pending))

    def chosen(self, now: float) -> None:
        """A request goes there; with an eviction that is over it is the one that finds out."""
        if self.evicted_until is not None and now >= self.evicted_until:
            self.probing = True

    def unknown(self) -> None:
        """The request ended without telling anything of the endpoint: its client left."""
        self.probing = False

    def succeeded(self, latency: float, now: float, eviction: Eviction) -> None:
        self.failures = 0
        self.health += _ALPHA * (1 - self.health)
        self.latency = latency if self.latency == 0 else self.latency + _ALPHA * (latency - self.latency)
        if self.probing:
            self.probing = False
            self.evicted_until = None
            self.restored_at = now
            self.health = eviction.restore_health
        elif self.evicted_until is None and self.evictions and now - self.restored_at > eviction.max_duration:
            self.evictions = 0

    def failed(self, now: float, eviction: Eviction, pause: float | None, *, throttled: bool) -> bool:
        """True when this evicts the endpoint. `pause`: seconds the upstream asked for; `throttled`: it said 429."""
        self.failures += 1
        self.health -= _ALPHA * self.health
        probed, self.probing = self.probing, False
        if self.evicted_until is not None and not probed:
            return False  # evicted meanwhile, by another request, or used because no other was left
        if not (throttled or pause is not None or probed or self._too_often(eviction)):
            return False
        length = min(eviction.duration * 2.0 ** min(self.evictions, 30), eviction.max_duration)
        self.evictions += 1
        self.failures = 0
        self.evicted_until = now + (length if pause is None else min(pause, _LONGEST_ASKED))
        return True

    def _too_often(self, eviction: Eviction) -> bool:
        many = eviction.consecutive_failures
        least = eviction.health_threshold
        return (many is not None and self.failures >= many) or (least is not None and self.health < least)
