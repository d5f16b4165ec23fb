"""What is counted, in plain numbers: as it is added to, as it travels between processes, and summed over them.

Names, labels and buckets are agentgateway's. A series is a slotted object found by a tuple of its labels. Apart from
`metrics`, which may be compiled: what msgspec decodes into may not be (docs/adr/0008-compiled-line.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

HTTP_LABELS = (
    "backend", "protocol", "method", "status", "reason", "bind", "gateway", "listener", "route", "route_rule",
)  # fmt: skip
GEN_AI_LABELS = (
    "gen_ai_operation_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model",
    "gateway", "listener", "route",
)  # fmt: skip

HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80)
CALL_BUCKETS = tuple(0.01 * 2**step for step in range(14))
TOKEN_BUCKETS = tuple(4.0**step for step in range(14))
PER_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
CONNECT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8)


class Histogram(msgspec.Struct):
    """Counts per bucket (the last is above all bounds), not cumulative; and the sum of what was observed."""

    bounds: tuple[float, ...]
    counts: list[int] = []
    total: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def add(self, other: Histogram) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class HttpSeries(msgspec.Struct):
    """Requests with the same HTTP_LABELS."""

    labels: tuple[str, ...]
    requests: int = 0
    answer_bytes: int = 0
    duration: Histogram = msgspec.field(default_factory=lambda: Histogram(HTTP_BUCKETS))

    def add(self, other: HttpSeries) -> None:
        self.requests += other.requests
        self.answer_bytes += other.answer_bytes
        self.duration.add(other.duration)


class GenAiSeries(msgspec.Struct):
    """Calls of a language model with the same GEN_AI_LABELS."""

    labels: tuple[str, ...]
    duration: Histogram = msgspec.field(default_factory=lambda: Histogram(CALL_BUCKETS))
    first_token: Histogram = msgspec.field(default_factory=lambda: Histogram(FIRST_TOKEN_BUCKETS))
    per_token: Histogram = msgspec.field(default_factory=lambda: Histogram(PER_TOKEN_BUCKETS))
    tokens: dict[str, Histogram] = {}

    def add(self, other: GenAiSeries) -> None:
        self.duration.add(other.duration)
        self.first_token.add(other.first_token)
        self.per_token.add(other.per_token)
        for kind, histogram in other.tokens.items():
            self.tokens.setdefault(kind, Histogram(TOKEN_BUCKETS)).add(histogram)


class State(msgspec.Struct):
    """All of one process's numbers, as they travel from a worker to whoever renders them."""

    http: list[HttpSeries] = []
    gen_ai: list[GenAiSeries] = []
    connects: dict[str, Histogram] = {}
    connections: dict[tuple[str, str, str], int] = {}
    received_bytes: int = 0
    sent_bytes: int = 0
    retries: int = 0
    failures: dict[tuple[str, str, str], int] = {}
    """Attempts that failed, by backend, endpoint and why."""
    evictions: dict[tuple[str, str], int] = {}
    """By backend and endpoint."""
    mirrored: dict[tuple[str, str], int] = {}
    """Copies of requests, by the mirror's backend and what became of them."""
    dropped_log_lines: int = 0
    # as they are now, not counted up
    open_connections: int = 0
    upstream_open: int = 0
    upstream_idle: int = 0
    pending: int = 0
    tasks: int = 0
    held_bytes: int = 0

    def ended(self) -> State:
        """What is left of it when whatever it tells of has ended: what was counted, and nothing open."""
        return msgspec.structs.replace(
            self, open_connections=0, upstream_open=0, upstream_idle=0, pending=0, tasks=0, held_bytes=0
        )


def summed(states: Iterable[State]) -> State:
    """The states of all workers as one; the states are not changed."""
    total = State()
    http: dict[tuple[str, ...], HttpSeries] = {}
    gen_ai: dict[tuple[str, ...], GenAiSeries] = {}
    for state in states:
        for entry in state.http:
            http.setdefault(entry.labels, HttpSeries(entry.labels)).add(entry)
        for call in state.gen_ai:
            gen_ai.setdefault(call.labels, GenAiSeries(call.labels)).add(call)
        for transport, histogram in state.connects.items():
            total.connects.setdefault(transport, Histogram(CONNECT_BUCKETS)).add(histogram)
        for key, count in state.connections.items():
            total.connections[key] = total.connections.get(key, 0) + count
        for failure, count in state.failures.items():
            total.failures[failure] = total.failures.get(failure, 0) + count
        for endpoint, count in state.evictions.items():
            total.evictions[endpoint] = total.evictions.get(endpoint, 0) + count
        for copies, count in state.mirrored.items():
            total.mirrored[copies] = total.mirrored.get(copies, 0) + count
        total.received_bytes += state.received_bytes
        total.sent_bytes += state.sent_bytes
        total.retries += state.retries
        total.dropped_log_lines += state.dropped_log_lines
        total.open_connections += state.open_connections
        total.upstream_open += state.upstream_open
        total.upstream_idle += state.upstream_idle
        total.pending += state.pending
        total.tasks += state.tasks
        total.held_bytes += state.held_bytes
    total.http, total.gen_ai = [*http.values()], [*gen_ai.values()]
    return total


def pack(state: State) -> bytes:
    return _packer.encode(state)


def unpack(data: bytes) -> State:
    return _unpacker.decode(data)


_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(State)
