"""Counting, summing over workers, and the exposition as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.unit.telemetry.records import call, record
from torana import __version__
from torana.llm.usage import Usage
from torana.telemetry import series
from torana.telemetry.exposition import render
from torana.telemetry.metrics import MOST_SERIES, Metrics, observe
from torana.telemetry.record import Record
from torana.telemetry.series import TOKEN_BUCKETS, Histogram, State, pack, summed, unpack


def counted(*records: Record) -> State:
    made = Metrics()
    for some in records:
        made.count(some)
    return made.state()


# counting


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.0001, 1), (2.0, 1), (4.0, 2), (4.1, 3), (1e9, 3)])
def test_buckets(value: float, bucket: int) -> None:
    """A bucket takes what is at most its bound (Prometheus, `le`), the last one all above."""
    histogram = Histogram((1.0, 2.0, 4.0))
    observe(histogram, value)
    assert histogram.counts == [int(index == bucket) for index in range(4)]
    assert histogram.total == value


def test_requests_are_counted_by_what_they_are() -> None:
    """Requests with the same labels are one series, with their number, bytes and durations."""
    state = counted(record(answer_bytes=10), record(answer_bytes=5), record(status=404, reason="NotFound"))
    first, second = state.http
    assert first.labels == (
        "backend0", "http", "GET", "200", "Upstream", "bind/3000", "default", "http", "route0", "unknown",
    )  # fmt: skip
    assert (first.requests, first.answer_bytes, sum(first.duration.counts), first.duration.total) == (2, 15, 2, 0.5)
    assert second.labels[3:5] == ("404", "NotFound")
    assert state.gen_ai == []


def test_calls_are_counted_too() -> None:
    """A call of a language model has tokens by kind, and a stream the time to its first token and between them."""
    state = counted(call(first_token=10.05), call(usage=Usage(100, 1), first_token=10.05), call(usage=None))
    (series,) = state.gen_ai
    assert series.labels == ("chat", "openai", "m1", "m1-2026", "default", "http", "route0")
    assert {kind: (sum(it.counts), it.total) for kind, it in series.tokens.items()} == {
        "input": (2, 105), "output": (2, 4), "input_cache_read": (1, 2), "input_cache_write": (1, 1),
    }  # fmt: skip
    assert sum(series.duration.counts) == 3
    assert [sum(series.first_token.counts), series.first_token.total] == pytest.approx([2, 0.1])
    assert [sum(series.per_token.counts), series.per_token.total] == pytest.approx([1, 0.1])
    assert sum(one.requests for one in state.http) == 3


def test_nothing_learned_is_unknown() -> None:
    """A call whose model nobody told is counted under `unknown`."""
    (series,) = counted(call(model=None, response_model=None)).gen_ai
    assert series.labels[2:4] == ("unknown", "unknown")


def test_clients_cannot_make_series_without_end() -> None:
    """After a bounded number of series, what clients choose is `other`; nothing goes uncounted."""
    names = range(MOST_SERIES + 500)
    state = counted(*(call(method=f"M{number}", model=f"m{number}", response_model=f"r{number}") for number in names))
    assert len(state.http) == len(state.gen_ai) == MOST_SERIES + 1
    assert state.http[-1].labels[2] == "other"
    assert state.http[-1].requests == 500
    assert state.gen_ai[-1].labels[2:4] == ("other", "other")
    assert sum(state.gen_ai[-1].duration.counts) == 500


def test_endpoints_cannot_make_series_without_end() -> None:
    """Endpoints come and go: after a bounded number of series the next ones are `other`, and nothing goes uncounted."""
    made = Metrics()
    for number in range(MOST_SERIES + 500):
        made.count_failure("pods", f"10.0.0.{number}:80", "503")
        made.count_eviction("pods", f"10.0.0.{number}:80")
        made.count_mirrored(f"copy{number}", "failed")
    made.count_failure("pods", "10.0.0.0:80", "503")
    made.count_failure("pods", "new", "429")
    state = made.state()
    assert len(state.failures) == MOST_SERIES + 2
    assert state.failures["other", "other", "503"] == 500
    assert state.failures["other", "other", "429"] == 1
    assert state.failures["pods", "10.0.0.0:80", "503"] == 2
    assert (len(state.evictions), state.evictions["other", "other"]) == (MOST_SERIES + 1, 500)
    assert (len(state.mirrored), state.mirrored["other", "failed"]) == (MOST_SERIES + 1, 500)


def test_long_labels_are_clipped() -> None:
    """A label is at most 256 characters long; requests whose labels differ only after that are one series."""
    state = counted(*(call(model="m" * 300 + str(number)) for number in range(3)))
    (series,) = state.gen_ai
    assert series.labels[2] == "m" * 255 + "…"
    assert sum(series.duration.counts) == 3
    (http,) = counted(record(backend="b" * 1000), record(backend="b" * 1001)).http
    assert (http.labels[0], http.requests) == ("b" * 255 + "…", 2)


def test_connects() -> None:
    """Connections upstream are timed by transport."""
    made = Metrics()
    made.count_connect("tls", 0.02)
    made.count_connect("tls", 0.2)
    made.count_connect("plaintext", 0.001)
    assert {kind: sum(it.counts) for kind, it in made.state().connects.items()} == {"tls": 2, "plaintext": 1}


# summing and travelling


_EVENTS = st.one_of(
    st.builds(
        record,
        status=st.sampled_from((200, 404)),
        method=st.sampled_from(("GET", "POST")),
        answer_bytes=st.integers(0, 1000),
        ended=st.sampled_from((10.0, 10.002, 13.0)),
        retries=st.integers(0, 2),
    ),
    st.builds(
        call,
        model=st.sampled_from(("a", "b", None)),
        ended=st.sampled_from((10.5, 11.0, 200.0)),
        first_token=st.sampled_from((None, 10.25)),
        usage=st.one_of(st.none(), st.builds(Usage, *[st.integers(0, 10_000)] * 5)),
    ),
    st.tuples(st.sampled_from(("tls", "plaintext")), st.sampled_from((0.0001, 0.5, 60.0))),
)


def _count(made: Metrics, event: Any) -> None:
    if isinstance(event, Record):
        made.count(event)
    else:
        made.count_connect(*event)


def _numbers(state: State) -> dict[Any, Any]:
    """Everything in a state by its name, the order of the series and the last bit of a sum left out."""

    def of(histogram: Histogram) -> Any:
        return histogram.bounds, histogram.counts, pytest.approx(histogram.total)

    numbers: dict[Any, Any] = {kind: of(histogram) for kind, histogram in state.connects.items()}
    numbers |= {one.labels: (one.requests, one.answer_bytes, of(one.duration)) for one in state.http}
    for each in state.gen_ai:
        numbers[each.labels] = (of(each.duration), of(each.first_token), of(each.per_token))
        numbers |= {(*each.labels, kind): of(histogram) for kind, histogram in each.tokens.items()}
    numbers["retries"] = state.retries
    return numbers


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2), _EVENTS), max_size=25))
def test_workers_add_up(events: list[tuple[int, Any]]) -> None:
    """However requests are spread over workers, their sum is what one process would have counted."""
    alone, workers = Metrics(), [Metrics() for _ in range(3)]
    for worker, event in events:
        _count(alone, event)
        _count(workers[worker], event)
    states = [worker.state() for worker in workers]
    before = [pack(state) for state in states]
    assert _numbers(summed(states)) == _numbers(alone.state())
    assert [pack(state) for state in states] == before, "summing changed what it summed"


_NOW: dict[str, Any] = {"open_connections": 4, "upstream_open": 6, "upstream_idle": 5, "pending": 1, "tasks": 9}


def test_plain_numbers_add_up() -> None:
    """Connections are added by their place, bytes and lines all together."""
    first = State(connections={("bind/1", "default", "http"): 2}, received_bytes=1, sent_bytes=2, retries=3)
    second = State(
        connections={("bind/1", "default", "http"): 3, ("bind/2", "default", "https"): 1},
        received_bytes=10, sent_bytes=20, retries=30, dropped_log_lines=5, **_NOW,
    )  # fmt: skip
    assert summed([first, second]) == State(
        connections={("bind/1", "default", "http"): 5, ("bind/2", "default", "https"): 1},
        received_bytes=11, sent_bytes=22, retries=33, dropped_log_lines=5, **_NOW,
    )  # fmt: skip
    assert summed([]) == State()


def test_what_has_ended() -> None:
    """Of a worker that has ended what it counted is kept, and it has nothing open."""
    assert State(received_bytes=10, retries=30, **_NOW).ended() == State(received_bytes=10, retries=30)


def everything() -> State:
    """A state in which every metric has a value."""
    made = Metrics()
    made.count(record(answer_bytes=7, retries=1))
    made.count(call(first_token=10.05))
    made.count_connect("tls", 0.02)
    state = made.state()
    state.connections = {("bind/3000", "default", "http"): 2}
    state.received_bytes, state.sent_bytes, state.open_connections, state.dropped_log_lines = 11, 12, 1, 13
    state.upstream_open, state.upstream_idle, state.pending, state.tasks = 3, 2, 1, 7
    return state


@pytest.mark.parametrize("state", [State(), everything()])
def test_a_state_travels(state: State) -> None:
    """What a worker sends is what its parent gets."""
    assert unpack(pack(state)) == state


# the exposition

_TEXT, _OPENMETRICS = "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"
_FORMS = pytest.mark.parametrize(
    ("accept", "parse"),
    [pytest.param(_TEXT, parse_text, id="text"), pytest.param(_OPENMETRICS, parse_openmetrics, id="om")],
)
_HTTP = {
    "backend", "protocol", "method", "status", "reason", "bind", "gateway", "listener", "route", "route_rule",
}  # fmt: skip
_GEN_AI = {
    "gen_ai_operation_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model", "gateway", "listener",
    "route",
}  # fmt: skip
_LABELS: dict[str, tuple[str, set[str]]] = {
    "build_info": ("gauge", {"tag"}),
    "requests_total": ("counter", _HTTP),
    "response_bytes_total": ("counter", _HTTP),
    "request_duration_seconds": ("histogram", _HTTP),
    "retries_total": ("counter", set()),
    "downstream_connections_total": ("counter", {"bind", "gateway", "listener", "protocol"}),
    "downstream_received_bytes_total": ("counter", set()),
    "downstream_sent_bytes_total": ("counter", set()),
    "upstream_connect_duration_seconds": ("histogram", {"transport"}),
    "gen_ai_client_token_usage": ("histogram", {"gen_ai_token_type", *_GEN_AI}),
    "gen_ai_server_request_duration": ("histogram", _GEN_AI),
    "gen_ai_server_time_per_output_token": ("histogram", _GEN_AI),
    "gen_ai_server_time_to_first_token": ("histogram", _GEN_AI),
    "config_synchronized": ("gauge", set()),
}
"""agentgateway's metrics that exist here: kinds and labels."""

_Parse = Callable[[str], Iterable[Metric]]


def exposed(state: State, accept: str, parse: _Parse) -> dict[str, Metric]:
    body, kind = render(state, accept, synchronized=True, workers=2)
    assert kind.startswith(accept.partition(";")[0])
    return {family.name: family for family in parse(body.decode())}


@_FORMS
@pytest.mark.parametrize("name", _LABELS)
def test_names_and_labels(accept: str, parse: _Parse, name: str) -> None:
    """A dashboard made for agentgateway finds its metrics: names, kinds and labels."""
    kind, labels = _LABELS[name]
    family = exposed(everything(), accept, parse)["agentgateway_" + name.removesuffix("_total")]
    assert family.type == kind
    values = [sample for sample in family.samples if sample.name.removesuffix("_bucket") == f"agentgateway_{name}"]
    assert values, [sample.name for sample in family.samples]
    for sample in values:
        assert set(sample.labels) - {"le"} == labels


def test_a_form_that_there_is_not() -> None:
    """A version that is no number is none that we know: the numbers come in the oldest form."""
    assert render(State(), f"{_OPENMETRICS}x", synchronized=True, workers=1)[1].startswith(_TEXT.partition(";")[0])


@_FORMS
def test_values(accept: str, parse: _Parse) -> None:
    """What is exposed is what was counted."""
    families = exposed(everything(), accept, parse)
    values = {sample.name: sample.value for family in families.values() for sample in family.samples}
    wanted = {
        "response_bytes_total": 0,  # of the last of its series, which is the call
        "downstream_connections_total": 2,
        "downstream_received_bytes_total": 11,
        "downstream_sent_bytes_total": 12,
        "downstream_open_connections": 1,
        "upstream_open_connections": 3,
        "upstream_idle_connections": 2,
        "upstream_pending_requests": 1,
        "tasks": 7,
        "log_lines_dropped_total": 13,
        "retries_total": 1,
        "workers": 2,
        "config_synchronized": 1,
        "gen_ai_server_time_to_first_token_sum": pytest.approx(0.05),
        "gen_ai_server_time_to_first_token_count": 1,
    }
    assert {name: values["agentgateway_" + name] for name in wanted} == wanted
    assert families["agentgateway_build_info"].samples[0].labels == {"tag": __version__}


@_FORMS
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("request_duration_seconds", series.HTTP_BUCKETS),
        ("gen_ai_client_token_usage", TOKEN_BUCKETS),
        ("gen_ai_server_request_duration", series.CALL_BUCKETS),
        ("gen_ai_server_time_per_output_token", series.PER_TOKEN_BUCKETS),
        ("gen_ai_server_time_to_first_token", series.FIRST_TOKEN_BUCKETS),
        ("upstream_connect_duration_seconds", series.CONNECT_BUCKETS),
    ],
)
def test_bucket_bounds_are_exact(accept: str, parse: _Parse, name: str, bounds: tuple[float, ...]) -> None:
    """A bucket is exposed under its very bound, and counts all that is at most that."""
    family = exposed(everything(), accept, parse)[f"agentgateway_{name}"]
    per_series = [*bounds, float("inf")]
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")][: len(per_series)]
    assert [float(sample.labels["le"]) for sample in buckets] == per_series
    counts = [sample.value for sample in buckets]
    assert counts == [*accumulate(counts, max)], "buckets are cumulative"
    assert counts[-1] == 1


def test_token_buckets() -> None:
    """The bounds for tokens are powers of four up to 67,108,864 (agentgateway)."""
    body, _ = render(everything(), _TEXT, synchronized=True, workers=1)
    assert b'le="6.7108864e+07"' in body


@_FORMS
def test_odd_labels(accept: str, parse: _Parse) -> None:
    """No model's name breaks the exposition."""
    name = 'a"b\\c\nd{}=,é'
    families = exposed(counted(call(model=name)), accept, parse)
    samples = families["agentgateway_gen_ai_server_request_duration"].samples
    assert {sample.labels["gen_ai_request_model"] for sample in samples} == {name}


@_FORMS
def test_before_the_first_request(accept: str, parse: _Parse) -> None:
    """With nothing counted yet the exposition is valid, and says that the configuration was refused when it was."""
    body, _ = render(State(), accept, synchronized=False, workers=1)
    families = {family.name: family for family in parse(body.decode())}
    assert families["agentgateway_config_synchronized"].samples[0].value == 0
