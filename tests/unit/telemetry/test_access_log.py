"""The access log's lines, read back by the rules a reader would use."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.telemetry.records import call, record
from torana.llm.usage import Usage
from torana.model.config import LogFormat, LogLevel
from torana.telemetry.access_log import AccessLog, _kept, milliseconds, quoted, timestamp
from torana.telemetry.record import LONGEST, Placement, Record
from torana.telemetry.writer import LineWriter

_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
_FIELD = re.compile(r'([a-z_.]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |\n\Z)')


class _Lines(LineWriter):
    """Keeps the lines in place of writing them."""

    def __init__(self) -> None:
        super().__init__(os.open(os.devnull, os.O_WRONLY))
        self.close()
        self.kept: list[str] = []

    def write(self, line: str) -> None:
        self.kept.append(line)


_WRITER = _Lines()


def written(some: Record, form: LogFormat) -> str:
    _WRITER.kept.clear()
    AccessLog(_WRITER, form).write(some)
    (line,) = _WRITER.kept
    return line


def text(some: Record) -> dict[str, str]:
    """The fields of the text form, in order. Fails where anything is left over, or a field stands twice."""
    line = written(some, LogFormat.TEXT)
    head = re.match(_STAMP + " info request ", line)
    assert head, line
    fields: dict[str, str] = {}
    at = head.end()
    while at < len(line):
        entry = _FIELD.match(line, at)
        assert entry, f"no field at {line[at:]!r}"
        name, value = entry.groups()
        assert name not in fields, f"{name} twice in {line}"
        fields[name] = json.loads(value) if value.startswith('"') else value
        at = entry.end()
    return fields


def as_json(some: Record) -> dict[str, str]:
    """The fields of the JSON form as texts, without those that every line of the log has."""
    line = written(some, LogFormat.JSON)
    assert line.endswith("}\n")
    assert "\n" not in line[:-1]
    fields = json.loads(line)
    assert re.fullmatch(_STAMP, fields.pop("time"))
    assert (fields.pop("level"), fields.pop("scope")) == ("info", "request")
    return {name: str(value) for name, value in fields.items()}


PLAIN = {
    "gateway": "default",
    "listener": "http",
    "route": "route0",
    "endpoint": "127.0.0.1:9000",
    "src.addr": "127.0.0.1:50000",
    "http.method": "GET",
    "http.host": "gateway.example",
    "http.path": "/",
    "http.version": "HTTP/1.1",
    "http.status": "200",
    "protocol": "http",
    "duration": "250ms",
}
CALL = PLAIN | {
    "http.method": "POST",
    "http.path": "/v1/chat/completions",
    "protocol": "llm",
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "m1",
    "gen_ai.response.model": "m1-2026",
    "gen_ai.usage.input_tokens": "5",
    "gen_ai.usage.cache_creation.input_tokens": "1",
    "gen_ai.usage.cache_read.input_tokens": "2",
    "gen_ai.usage.output_tokens": "3",
    "gen_ai.usage.reasoning_tokens": "4",
}


def less(fields: dict[str, str], *names: str, **more: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name not in names} | more


_ABSENT_USAGE = [name for name in CALL if name.startswith("gen_ai.usage")]
_FAILED = {"reason": "UpstreamFailure", "error": "it failed (why)", "request.id": "abc"}


@pytest.mark.parametrize("form", [text, as_json])
@pytest.mark.parametrize(
    ("some", "fields"),
    [
        pytest.param(record(), PLAIN, id="plain"),
        pytest.param(call(), CALL, id="call"),
        pytest.param(record(sni="a.example"), PLAIN | {"tls.sni": "a.example"}, id="TLS"),
        pytest.param(record(version="1.0"), PLAIN | {"http.version": "HTTP/1.0"}, id="HTTP/1.0"),
        pytest.param(record(retries=1), PLAIN | {"retry.attempt": "1"}, id="asked twice, answered"),
        pytest.param(
            call(retries=2, reason="UpstreamFailure", error="it failed (why)", request_id="abc"),
            CALL | _FAILED | {"retry.attempt": "2"},
            id="failed",
        ),
        pytest.param(record(reason="DirectResponse"), PLAIN | {"reason": "DirectResponse"}, id="a reply of our own"),
        pytest.param(
            call(first_token=10.02),
            CALL | {"agw.ai.time_to_first_token": "20ms"},
            id="a stream",
        ),
        pytest.param(
            call(usage=Usage(5, 3)),
            less(CALL, *[name for name in _ABSENT_USAGE if not name.endswith((".input_tokens", "output_tokens"))],
                 "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_read.input_tokens"),
            id="only the usual tokens",
        ),
        pytest.param(
            call(usage=Usage()),
            less(CALL, *_ABSENT_USAGE, **{"gen_ai.usage.input_tokens": "0", "gen_ai.usage.output_tokens": "0"}),
            id="no token is a number too",
        ),
        pytest.param(
            call(usage=None, model=None, response_model=None),
            less(CALL, *_ABSENT_USAGE, "gen_ai.request.model", "gen_ai.response.model"),
            id="nothing learned",
        ),
        pytest.param(
            call(operation=None, usage=None, response_model=None),
            less(CALL, *_ABSENT_USAGE, "gen_ai.operation.name", "gen_ai.response.model"),
            id="an operation newer than the gateway",
        ),
        pytest.param(
            record(placement=Placement("bind/1", 'a "b"', "route 1", "gate=way")),
            PLAIN | {"listener": 'a "b"', "route": "route 1", "gateway": "gate=way"},
            id="odd names",
        ),
        pytest.param(record(endpoint="unix:/a b"), PLAIN | {"endpoint": "unix:/a b"}, id="an odd endpoint"),
    ],
)  # fmt: skip
def test_fields(form: Callable[[Record], dict[str, str]], some: Record, fields: dict[str, str]) -> None:
    """Both forms have the same keys, agentgateway's, and only those that have a value."""
    assert form(some) == fields


@pytest.mark.parametrize("form", [text, as_json])
@pytest.mark.parametrize("long", ["x" * 1000, "é" * 1000, '"' * 257])
def test_long_values_are_clipped(form: Callable[[Record], dict[str, str]], long: str) -> None:
    """A value is at most 256 characters long, and one that was longer ends in an ellipsis."""
    fields = form(call(path=long, model=long, error=long, reason="Timeout"))
    for name in ("http.path", "gen_ai.request.model", "error"):
        assert fields[name] == long[:255] + "…"
    assert form(call(path="x" * 256))["http.path"] == "x" * 256


def test_what_is_kept_is_bounded() -> None:
    """Texts of up to 128 characters are remembered, a bounded number of them; longer ones are not."""
    for number in range(5000):
        assert quoted(f"/{number}") == f"/{number}"
    assert len(_kept) <= 2048
    for length in (128, 129):
        quoted("k" * length)
    assert "k" * 128 in _kept
    assert "k" * 129 not in _kept


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("level", LogLevel)
def test_levels(form: LogFormat, level: LogLevel) -> None:
    """`off` silences the access log; every other level leaves it as it is."""
    _WRITER.kept.clear()
    AccessLog(_WRITER, form, level).write(record())
    assert len(_WRITER.kept) == (level is not LogLevel.OFF)


def test_order() -> None:
    """The text form begins with where it was served and ends with how long it took."""
    names = [*text(call(first_token=10.1, sni="a", retries=1, reason="Timeout", error="x", request_id="y"))]
    assert names[:11] == [*PLAIN][:11]
    assert names[-5:] == ["retry.attempt", "error", "reason", "request.id", "duration"]


def test_no_endpoint() -> None:
    """A request that got no backend has no endpoint: `unknown` in the text form, nothing in JSON."""
    assert text(record(endpoint=""))["endpoint"] == "unknown"
    assert "endpoint" not in as_json(record(endpoint=""))


_FORGERIES = [
    "/a b",
    '/"',
    "/\\",
    '/" http.status=500',
    "/\n2026-01-01T00:00:00.000000Z info request http.status=500",
    "/\r\nhttp.status=500",
    "/ reason=NotFound",
    '/\\" reason=NotFound',
    "/=",
    "/\x00\x1b[31m\x7f",
    "/é\u2028\U0001f600",
    "",
]


@pytest.mark.parametrize("form", [text, as_json])
@pytest.mark.parametrize("forged", _FORGERIES)
@pytest.mark.parametrize("name", ["path", "host", "model", "response_model", "error", "request_id", "sni"])
def test_no_text_fakes_a_field(form: Callable[[Record], dict[str, str]], name: str, forged: str) -> None:
    """Whatever a client or a provider sends stays within its own field, and reads back as it was."""
    values: dict[str, Any] = {"sni": "s", "reason": "Timeout", "error": "e", "request_id": "i"}
    usual, odd = form(call(**values)), form(call(**values | {name: forged}))
    keys = {
        "path": "http.path", "host": "http.host", "model": "gen_ai.request.model", "request_id": "request.id",
        "response_model": "gen_ai.response.model", "error": "error", "sni": "tls.sni",
    }  # fmt: skip
    assert odd == usual | {keys[name]: forged}


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=LONGEST)


@given(_TEXTS, _TEXTS)
def test_any_text_reads_back(path: str, model: str) -> None:
    """Any path and any model of up to 256 characters read back as they were, in one line."""
    for form in (text, as_json):
        fields = form(call(path=path, model=model))
        assert fields == CALL | {"http.path": path, "gen_ai.request.model": model}


def test_half_a_character() -> None:
    """Half of a surrogate pair, which no encoding can write, still leaves a line of valid JSON."""
    line = written(call(model="\ud800"), LogFormat.JSON).encode("utf-8", "backslashreplace")
    assert json.loads(line)["gen_ai.request.model"] == "\ud800"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0.00ms"), (0.0000049, "0.00ms"), (0.00123, "1.23ms"), (0.0125, "12ms"), (1.5, "1500ms"), (600, "600000ms")],
)
def test_durations(seconds: float, shown: str) -> None:
    """Durations are milliseconds, with two digits more where they are short."""
    assert milliseconds(seconds) == shown


@pytest.mark.parametrize(
    ("now", "shown"),
    [(0.0, "1970-01-01T00:00:00.000000Z"), (1.5, "1970-01-01T00:00:01.500000Z"),
     (1795315984.99999, "2026-11-22T02:53:04.999990Z")],
)  # fmt: skip
def test_timestamps(now: float, shown: str) -> None:
    """Times are RFC 3339 in UTC."""
    assert timestamp(now)[:-3] == shown[:-3]
    assert re.fullmatch(_STAMP, timestamp(now))
