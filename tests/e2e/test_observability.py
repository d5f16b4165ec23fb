"""What the process tells of itself: a line of the log for each request, metrics, readiness, and its configuration."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, until
from tests.e2e.routes import ai_route, bind, host_route
from tests.e2e.stand_in import StandIn, Visit, completion, delta
from tests.e2e.wire import Connection, ask, post

CHAT = "/x/v1/chat/completions"

PLACEMENT = ["gateway", "listener", "route", "endpoint", "src.addr"]
HTTP = ["http.method", "http.host", "http.path", "http.version", "http.status", "protocol"]
CALL = ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model"]
USAGE = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"]
FAILURE = ["error", "reason", "request.id"]


def text_keys(line: str) -> list[str]:
    return re.findall(r' ([a-z0-9_.]+)=(?:"(?:[^"\\]|\\.)*"|[^ ]*)', line)


def start(
    gateway: StartGateway, stand_in: StartStandIn, *, form: str = "text", workers: int | None = None
) -> tuple[Gateway, StandIn]:
    provider = stand_in()
    text = f"config:\n  logging: {{format: {form}}}\n" + bind(
        [ai_route("x", "hostOverride: provider.example"), host_route("plain", "provider.example:80")]
    )
    return gateway(text, *provider.resolve("provider.example", 80), workers=workers), provider


def test_text_log(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A request's line has the time and agentgateway's keys in order: for a call, a stream, a plain one, an error."""
    running, provider = start(gateway, stand_in)
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    provider.script = lambda visit: visit.document(200, completion(usage=usage))
    post(running.port, CHAT, {}, {"Host": "gateway.example:8080"})
    provider.forget()
    post(running.port, "/x/stream/v1/chat/completions", {"stream": True})
    ask(running.port, "GET", "/plain/y")
    ask(running.port, "GET", "/nowhere")

    line = running.request_line(CHAT)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z info request ", line)
    cached = ["gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.reasoning_tokens"]
    assert text_keys(line) == [*PLACEMENT, *HTTP, *CALL, "gen_ai.usage.input_tokens", *cached, "duration"]
    for part in (
        "route=x endpoint=provider.example:80 src.addr=127.0.0.1:",
        "http.host=gateway.example:8080 ",
        "http.version=HTTP/1.1 http.status=200 protocol=llm gen_ai.operation.name=chat",
        "gen_ai.request.model=configured gen_ai.response.model=stand-in",
        "input_tokens=20 gen_ai.usage.cache_read.input_tokens=8",
        "output_tokens=9 gen_ai.usage.reasoning_tokens=4",
    ):
        assert part in line
    assert re.search(r" duration=[0-9.]+ms$", line)

    stream = running.request_line("/x/stream/v1/chat/completions")
    assert text_keys(stream) == [*PLACEMENT, *HTTP, *CALL, *USAGE, "agw.ai.time_to_first_token", "duration"]
    assert text_keys(running.request_line("/plain/y")) == [*PLACEMENT, *HTTP, "duration"]
    error = running.request_line("/nowhere")
    assert text_keys(error) == [*PLACEMENT, *HTTP, *FAILURE, "duration"]
    assert "route=unknown" in error


def test_json_log(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """With `format: json` every line is one JSON object, with the same keys and with numbers as numbers."""
    running, _ = start(gateway, stand_in, form="json")
    post(running.port, CHAT, {"stream": True})
    ask(running.port, "GET", "/nowhere?q")
    until(lambda: running.log.count('"scope":"request"') == 2, "both lines in the log")
    lines: list[dict[str, Any]] = [json.loads(line) for line in running.log.splitlines()]
    assert all({"time", "level", "scope"} <= line.keys() for line in lines)
    call, error = (line for line in lines if line["scope"] == "request")
    times = ["agw.ai.time_to_first_token", "duration"]
    assert list(call) == ["time", "level", "scope", *PLACEMENT, *HTTP, *CALL, *USAGE, *times]
    assert (call["http.status"], call["gen_ai.usage.output_tokens"]) == (200, 7)
    assert (error["http.status"], error["reason"], error["http.path"]) == (404, "NotFound", "/nowhere")


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_cannot_be_forged(form: str, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """What a client sends makes no second line and no key of its own in the log."""
    running, _ = start(gateway, stand_in, form=form)
    ask(running.port, "GET", '/evil"http.status=200', {"X-Request-Id": 'id"http.status=200'})
    until(lambda: "evil" in running.log, "the line of the request")
    (line,) = (line for line in running.log.splitlines() if "evil" in line)
    if form == "text":
        assert text_keys(line) == [*PLACEMENT, *HTTP, *FAILURE, "duration"]
        assert text_keys(line).count("http.status") == 1
    else:
        assert json.loads(line)["http.path"] == '/evil"http.status=200'


def test_a_streams_line_comes_at_its_end(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A stream is logged when it has ended, not before."""
    running, provider = start(gateway, stand_in)

    def script(visit: Any) -> None:
        visit.begin()
        visit.event(delta("one"))
        visit.reader.sock.recv(1)  # until the gateway leaves

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("POST", CHAT, None, b'{"stream": true}')
        connection.start()
        connection.reader.chunk()
        ask(running.port, "GET", "/nowhere")
        running.request_line("/nowhere")
        assert CHAT not in running.log
    assert "reason=ClientClosed" in running.request_line(CHAT)


# --- metrics ---

HTTP_LABELS = {
    "backend", "protocol", "method", "status", "reason", "bind", "gateway", "listener", "route", "route_rule",
}  # fmt: skip
GEN_AI_LABELS = {
    "gen_ai_operation_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model",
    "gateway", "listener", "route",
}  # fmt: skip

FAMILIES: dict[str, tuple[str, set[str]]] = {
    "build_info": ("gauge", {"tag"}),
    "requests": ("counter", HTTP_LABELS),
    "request_duration_seconds": ("histogram", HTTP_LABELS),
    "response_bytes": ("counter", HTTP_LABELS),
    "retries": ("counter", set()),
    "downstream_connections": ("counter", {"bind", "gateway", "listener", "protocol"}),
    "downstream_received_bytes": ("counter", set()),
    "downstream_sent_bytes": ("counter", set()),
    "upstream_connect_duration_seconds": ("histogram", {"transport"}),
    "gen_ai_client_token_usage": ("histogram", GEN_AI_LABELS | {"gen_ai_token_type"}),
    "gen_ai_server_request_duration": ("histogram", GEN_AI_LABELS),
    "gen_ai_server_time_per_output_token": ("histogram", GEN_AI_LABELS),
    "gen_ai_server_time_to_first_token": ("histogram", GEN_AI_LABELS),
    "config_synchronized": ("gauge", set()),
}
"""agentgateway's metrics that exist here, with kinds and labels; a counter's samples end in `_total`."""


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_held_now(workers: int, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """While a call is under way its connections, request and task are counted; then the upstream's one waits, idle."""
    running, provider = start(gateway, stand_in, workers=workers)
    held = [f"{side}_connections" for side in ("downstream_open", "upstream_open", "upstream_idle")]

    def now(*names: str) -> list[int]:
        text = running.metrics()
        found = (re.search(rf"^agentgateway_{name} ([0-9.]+)$", text, re.MULTILINE) for name in names)
        return [int(float(value[1])) for value in found if value]

    names = (*held, "upstream_pending_requests", "tasks")
    tasks = max(now("tasks")[0] for _ in range(20))  # the watch of the file has one less while it looks at it
    go = threading.Event()

    def script(visit: Visit) -> None:
        assert go.wait(15)
        visit.document(200, completion())

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("POST", CHAT, None, b"{}")
        provider.wait()
        until(lambda: now(*names) == [1, 1, 0, 1, tasks + 1], "all that the call takes to be counted")
        go.set()
        connection.answer()
        until(lambda: now(*held) == [1, 1, 1], "the upstream's connection to be idle")
    until(lambda: now(*names) == [0, 1, 1, 0, tasks], "the client's connection to be closed")


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
@pytest.mark.parametrize("workers", [1, 2])
def test_metrics(accept: str, workers: int, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """The metrics parse in both of Prometheus's forms, with agentgateway's names and labels; counts are right."""
    running, _ = start(gateway, stand_in, workers=workers)
    for _ in range(3):
        post(running.port, CHAT, {})
    post(running.port, CHAT, {"stream": True})
    ask(running.port, "GET", "/nowhere")
    parse = parse_openmetrics if "openmetrics" in accept else parse_text
    stats = int(running.stats.rpartition(":")[2])

    def scrape(path: str = "/metrics") -> dict[str, Metric]:
        answer = ask(stats, "GET", path, {"Accept": accept})
        assert (answer["content-type"] or "").startswith(accept.partition(";")[0])
        return {family.name: family for family in parse(answer.text)}

    def total(families: dict[str, Metric], name: str, **labels: str) -> float:
        samples = families["agentgateway_" + name.removesuffix("_total").removesuffix("_count").removesuffix("_sum")]
        return sum(
            sample.value
            for sample in samples.samples
            if sample.name == f"agentgateway_{name}" and labels.items() <= sample.labels.items()
        )

    until(lambda: total(scrape(), "requests_total") == 5, "five requests in the metrics")
    families = scrape("/stats/prometheus")
    for name, (kind, labels) in FAMILIES.items():
        family = families[f"agentgateway_{name}"]
        assert family.type == kind, name
        assert family.samples, name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels, sample
    assert total(families, "requests_total", status="200", route="x", reason="Upstream", protocol="llm") == 4
    assert total(families, "requests_total", status="404", reason="NotFound") == 1
    assert total(families, "request_duration_seconds_count") == 5
    call = {"gen_ai_operation_name": "chat", "gen_ai_system": "openai", "gen_ai_request_model": "configured"}
    assert total(families, "gen_ai_server_request_duration_count", **call) == 4
    assert total(families, "gen_ai_client_token_usage_count", gen_ai_token_type="input") == 4
    assert total(families, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 28
    assert total(families, "gen_ai_server_time_to_first_token_count") == 1
    assert total(families, "downstream_connections_total") == 5
    assert total(families, "config_synchronized") == 1
    check_histograms(families)


def check_histograms(families: dict[str, Metric]) -> None:
    """Buckets grow, the last is +Inf, and it is the count."""
    for family in families.values():
        if family.type != "histogram":
            continue
        series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        counts: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in family.samples:
            key = tuple(sorted((name, text) for name, text in sample.labels.items() if name != "le"))
            if sample.name.endswith("_bucket"):
                series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
            elif sample.name.endswith("_count"):
                counts[key] = sample.value
        assert counts.keys() == series.keys(), family.name
        for key, buckets in series.items():
            bounds, values = zip(*buckets, strict=True)
            assert list(bounds) == sorted(set(bounds)), family.name
            assert bounds[-1] == float("inf"), family.name
            assert list(values) == sorted(values), family.name
            assert values[-1] == counts[key], family.name


# --- the other endpoints ---


def test_config_dump(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """The dump is the running configuration as JSON, with its version, and changes with a reload."""
    running, _ = start(gateway, stand_in)
    dump = running.config_dump()
    assert dump["version"]
    assert dump["config"]["binds"][0]["port"] == running.port
    routes = dump["config"]["binds"][0]["listeners"][0]["routes"]
    assert [entry["name"] for entry in routes] == ["x", "plain"]
    running.reload(bind([host_route("other", "provider.example:80")]))
    routes = running.config_dump()["config"]["binds"][0]["listeners"][0]["routes"]
    assert [entry["name"] for entry in routes] == ["other"]


def test_other_paths(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """Each endpoint answers its own paths, HEAD as GET, and 404 to all others."""
    running, _ = start(gateway, stand_in)
    for address, path in (
        (running.stats, "/metrics"),
        (running.readiness, "/healthz/ready"),
        (running.admin, "/config_dump"),
    ):
        port = int(address.rpartition(":")[2])
        assert ask(port, "GET", path).status == 200
        assert ask(port, "HEAD", path).body == b""
        assert ask(port, "POST", path, None, b"").status == 404
        assert ask(port, "GET", "/other").status == 404
