"""Metrics: the numbers of one process, cheap to add to.

A client can choose some labels (the model's name, where the configuration leaves it free), and endpoints come and go;
long ones are clipped, and after MOST_SERIES of them the name is recorded as `other`, so that nobody can fill the
memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TypeVar

from torana.telemetry.record import Record, clipped
from torana.telemetry.series import CONNECT_BUCKETS, TOKEN_BUCKETS, GenAiSeries, Histogram, HttpSeries, State

MOST_SERIES = 2000

_Labels = TypeVar("_Labels", bound=tuple[str, ...])


class Metrics:
    """One process's numbers."""

    def __init__(self) -> None:
        self._http: dict[tuple[str, ...], HttpSeries] = {}
        self._gen_ai: dict[tuple[str, ...], GenAiSeries] = {}
        self._connects: dict[str, Histogram] = {}
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._evictions: Counter[tuple[str, str]] = Counter()
        self._mirrored: Counter[tuple[str, str]] = Counter()
        self.retries = 0

    def count(self, record: Record) -> None:
        """Add one ended request."""
        placement = record.placement
        labels: tuple[str, ...] = (
            record.backend, record.protocol, record.method, str(record.status), record.reason,
            placement.bind, placement.gateway, placement.listener, placement.route, placement.route_rule,
        )  # fmt: skip
        series = self._http.get(labels)
        if series is None:
            labels = tuple(map(clipped, labels))  # here, and not before: no series has labels that are longer
            if len(self._http) >= MOST_SERIES and labels not in self._http:
                labels = (*labels[:2], "other", *labels[3:])
            series = self._http.setdefault(labels, HttpSeries(labels))
        duration = record.ended - record.started
        series.requests += 1
        series.answer_bytes += record.answer_bytes
        observe(series.duration, duration)
        self.retries += record.retries
        if record.operation is not None:
            self._count_call(record, record.operation)

    def count_connect(self, transport: str, seconds: float) -> None:
        histogram = self._connects.get(transport)
        if histogram is None:
            histogram = self._connects[transport] = Histogram(CONNECT_BUCKETS)
        observe(histogram, seconds)

    def count_failure(self, backend: str, endpoint: str, why: str) -> None:
        """An attempt that failed, whatever came of the request."""
        key = (clipped(backend), clipped(endpoint), why)
        self._failures[key if _has_room(self._failures, key) else ("other", "other", why)] += 1

    def count_eviction(self, backend: str, endpoint: str) -> None:
        key = (clipped(backend), clipped(endpoint))
        self._evictions[key if _has_room(self._evictions, key) else ("other", "other")] += 1

    def count_mirrored(self, backend: str, outcome: str) -> None:
        """A copy of a request: answered, failed, dropped for want of room, or too_large to be made."""
        key = (clipped(backend), outcome)
        self._mirrored[key if _has_room(self._mirrored, key) else ("other", outcome)] += 1

    def state(self) -> State:
        """A view of the numbers as they are now; the lists are new, the series are not."""
        return State(
            http=[*self._http.values()],
            gen_ai=[*self._gen_ai.values()],
            connects=self._connects,
            retries=self.retries,
            failures=self._failures,
            evictions=self._evictions,
            mirrored=self._mirrored,
        )

    def _count_call(self, record: Record, operation: str) -> None:
        placement = record.placement
        labels: tuple[str, ...] = (
            operation, record.provider, record.model or "unknown", record.response_model or "unknown",
            placement.gateway, placement.listener, placement.route,
        )  # fmt: skip
        series = self._gen_ai.get(labels)
        if series is None:
            labels = tuple(map(clipped, labels))
            if len(self._gen_ai) >= MOST_SERIES and labels not in self._gen_ai:
                labels = (*labels[:2], "other", "other", *labels[4:])
            series = self._gen_ai.setdefault(labels, GenAiSeries(labels))
        observe(series.duration, record.ended - record.started)
        usage = record.usage
        if usage is not None:
            _count_tokens(series, "input", usage.input_tokens)
            _count_tokens(series, "output", usage.output_tokens)
            if usage.cached_tokens:
                _count_tokens(series, "input_cache_read", usage.cached_tokens)
            if usage.cache_creation_tokens:
                _count_tokens(series, "input_cache_write", usage.cache_creation_tokens)
        if record.first_token is not None:
            observe(series.first_token, record.first_token - record.started)
            if usage is not None and usage.output_tokens > 1:
                observe(series.per_token, (record.ended - record.first_token) / (usage.output_tokens - 1))


def observe(histogram: Histogram, value: float) -> None:
    histogram.counts[bisect_left(histogram.bounds, value)] += 1
    histogram.total += value


def _count_tokens(series: GenAiSeries, kind: str, count: int) -> None:
    """`kind` is agentgateway's gen_ai_token_type."""
    histogram = series.tokens.get(kind)
    if histogram is None:
        histogram = series.tokens[kind] = Histogram(TOKEN_BUCKETS)
    observe(histogram, count)


def _has_room(counts: Counter[_Labels], labels: _Labels) -> bool:
    return len(counts) < MOST_SERIES or labels in counts
