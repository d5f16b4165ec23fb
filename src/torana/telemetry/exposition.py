"""The numbers in the text forms that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from torana import __version__
from torana.telemetry.series import GEN_AI_LABELS, HTTP_LABELS, Histogram, State
from torana.telemetry.trouble import Trouble


class _States(Collector):
    def __init__(self, state: State, *, synchronized: bool, workers: int, troubles: Sequence[Trouble]) -> None:
        self._state = state
        self._troubles = troubles
        self._synchronized = synchronized
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        yield from self._process()
        yield from self._http()
        yield from self._gen_ai()

    def _process(self) -> Iterator[Metric]:
        state = self._state
        build = GaugeMetricFamily("agentgateway_build_info", "What runs.", labels=("tag",))
        build.add_metric((__version__,), 1)
        yield build
        yield _gauge(
            "config_synchronized", "1 when the newest configuration runs, 0 when it was refused.", self._synchronized
        )
        troubles = GaugeMetricFamily(
            "agentgateway_config_troubles",
            "1 for each kind of resource that cannot be read, or whose statuses cannot be written.",
            labels=("kind", "reason"),
        )
        for kind, reason in sorted({(trouble.kind, trouble.reason) for trouble in self._troubles}):
            troubles.add_metric((kind, reason), 1)
        yield troubles
        yield _gauge("workers", "Worker processes.", self._workers)
        yield _gauge("downstream_open_connections", "Client connections open now.", state.open_connections)
        yield _gauge("upstream_open_connections", "Connections to upstreams open now.", state.upstream_open)
        yield _gauge("upstream_idle_connections", "Those of them that wait for a request.", state.upstream_idle)
        yield _gauge("upstream_pending_requests", "Requests that upstreams are answering now.", state.pending)
        yield _gauge("tasks", "Tasks of the event loops of all workers.", state.tasks)
        yield _gauge("held_request_bytes", "Bytes of long request bodies that are held now.", state.held_bytes)
        yield _counter("downstream_received_bytes", "Bytes received from clients.", state.received_bytes)
        yield _counter("downstream_sent_bytes", "Bytes sent to clients.", state.sent_bytes)
        yield _counter("retries", "Requests sent upstream once more.", state.retries)
        what = "Attempts at an upstream that failed, whatever came of the request."
        yield _counters("upstream_attempt_failures", what, ("backend", "endpoint", "reason"), state.failures.items())
        what = "Times an endpoint was put aside for failing."
        yield _counters("upstream_evictions", what, ("backend", "endpoint"), state.evictions.items())
        what = "Copies of requests for mirrors, by what became of them."
        yield _counters("mirrored_requests", what, ("backend", "outcome"), state.mirrored.items())
        yield _counter("log_lines_dropped", "Log lines nobody was ready to read.", state.dropped_log_lines)
        connections = CounterMetricFamily(
            "agentgateway_downstream_connections",
            "Client connections accepted.",
            labels=("bind", "gateway", "listener", "protocol"),
        )
        for (bind, gateway, protocol), count in state.connections.items():
            connections.add_metric((bind, gateway, "unknown", protocol), count)
        yield connections
        connects = _histogram("upstream_connect_duration_seconds", "Time to connect upstream.", ("transport",))
        for transport, histogram in state.connects.items():
            _add(connects, (transport,), histogram)
        yield connects

    def _http(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("agentgateway_requests", "Requests answered.", labels=HTTP_LABELS)
        sent = CounterMetricFamily("agentgateway_response_bytes", "Bytes of answers' bodies.", labels=HTTP_LABELS)
        duration = _histogram(
            "request_duration_seconds", "From a request's head to the end of its answer.", HTTP_LABELS
        )
        for series in self._state.http:
            requests.add_metric(series.labels, series.requests)
            sent.add_metric(series.labels, series.answer_bytes)
            _add(duration, series.labels, series.duration)
        yield requests
        yield sent
        yield duration

    def _gen_ai(self) -> Iterator[Metric]:
        tokens = _histogram("gen_ai_client_token_usage", "Tokens a call used.", ("gen_ai_token_type", *GEN_AI_LABELS))
        duration = _histogram("gen_ai_server_request_duration", "Seconds a call took.", GEN_AI_LABELS)
        first = _histogram("gen_ai_server_time_to_first_token", "Seconds until a stream's first token.", GEN_AI_LABELS)
        each = _histogram("gen_ai_server_time_per_output_token", "Seconds per token after the first.", GEN_AI_LABELS)
        for series in self._state.gen_ai:
            _add(duration, series.labels, series.duration)
            _add(first, series.labels, series.first_token)
            _add(each, series.labels, series.per_token)
            for kind, histogram in series.tokens.items():
                _add(tokens, (kind, *series.labels), histogram)
        yield tokens
        yield duration
        yield first
        yield each


def render(
    state: State, accept: str, *, synchronized: bool, workers: int, troubles: Sequence[Trouble] = ()
) -> tuple[bytes, str]:
    """The exposition and its content type, in the form the scraper's Accept asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_States(state, synchronized=synchronized, workers=workers, troubles=troubles))
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # a version that is no number
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"agentgateway_{name}", about, value=float(value))


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"agentgateway_{name}", about, value=float(value))


def _counters(
    name: str, about: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"agentgateway_{name}", about, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family


def _histogram(name: str, about: str, labels: tuple[str, ...]) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"agentgateway_{name}", about, labels=labels)


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
    if not any(histogram.counts):
        return
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
