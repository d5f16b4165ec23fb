"""The dials of `torana simulate`: each pace, fault and variant as the official OpenAI SDK or the wire shows it."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator

import openai
import pytest

from tests.e2e.simulator import HELLO, Simulator, dials, raw_stream, simulating, stream_of


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulating() as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with simulator.client() as client:
        yield client


# pace


def test_pace(client: openai.OpenAI) -> None:
    """The first token is late by its delay, and the others come in their pace: five in 100 ms at 50 a second."""
    began = time.monotonic()
    headers = dials(first_token_ms="50", tokens_per_second="50", tokens="6")
    stream_of(client, headers, max_tokens=None)
    assert time.monotonic() - began >= 0.149


def test_drip(simulator: Simulator) -> None:
    """A dripped stream is the same octets in HTTP chunks of the size that was asked for."""
    dripped = raw_stream(simulator, "x-simulate-drip: 7", "x-simulate-drip-delay-ms: 0").partition(b"\r\n\r\n")[2]
    plain = raw_stream(simulator).partition(b"\r\n\r\n")[2]
    sizes = [int(size, 16) for size in re.findall(rb"(?:^|\r\n)([0-9a-f]+)\r\n", dripped)]
    assert set(sizes[:10]) == {7}

    def content(chunked: bytes) -> bytes:
        return re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", chunked)

    assert content(dripped) == content(plain)


# faults


@pytest.mark.parametrize("form", ["header", "model"])
def test_rate_limit(client: openai.OpenAI, form: str) -> None:
    """Status and retry-after can be asked for by header, or by a model's name where no header can be sent."""
    headers = dials(status="429", retry_after="2") if form == "header" else {}
    model = "m" if form == "header" else "status-429+retry-after-2"
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, extra_headers=headers)
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.code == "rate_limit_exceeded"


def test_server_error(client: openai.OpenAI) -> None:
    """A fault goes for every operation."""
    with pytest.raises(openai.InternalServerError):
        client.models.list(extra_headers=dials(status="503"))


@pytest.mark.parametrize("point", ["before-head", "after-head", "1", "1000"])
@pytest.mark.parametrize("stream", [False, True])
def test_disconnect(client: openai.OpenAI, point: str, stream: bool) -> None:
    """Wherever the connection is closed, and be it behind the last chunk, the SDK finds the answer incomplete."""
    headers = dials(disconnect=point)
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(model="m", messages=HELLO, stream=stream, extra_headers=headers))


def test_disconnect_after_chunks(simulator: Simulator) -> None:
    """The chunks before the disconnect arrive, and the ending of the stream does not."""
    octets = raw_stream(simulator, "x-simulate-disconnect: 2")
    assert octets.count(b"data: ") == 2
    assert not octets.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("point", ["before-head", "1"])
def test_stall(simulator: Simulator, point: str) -> None:
    """A stalled answer goes silent and keeps the connection; the client's own timeout ends it."""
    with simulator.client(timeout=0.2) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=HELLO, extra_headers=dials(stall=point))


def test_malformed_json(client: openai.OpenAI) -> None:
    """The answer is whole as HTTP and broken as JSON, streamed too."""
    with pytest.raises(json.JSONDecodeError):
        client.chat.completions.create(model="malformed-json", messages=HELLO)
    with pytest.raises(json.JSONDecodeError):
        stream_of(client, model="malformed-json")


def test_malformed_stream(simulator: Simulator) -> None:
    """The body ends as HTTP wants it, and what it holds is no event stream."""
    octets = raw_stream(simulator, "x-simulate-malformed: stream")
    assert b"\xff\xfe" in octets
    assert octets.endswith(b"0\r\n\r\n")


def test_malformed_http(client: openai.OpenAI, simulator: Simulator) -> None:
    """A whole answer is not HTTP at all; a stream begins well and then has no chunk size."""
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="malformed-http", messages=HELLO)
    octets = raw_stream(simulator, "x-simulate-malformed: http")
    assert octets.startswith(b"HTTP/1.1 200 OK\r\n")
    assert octets.endswith(b"this is no chunk size\r\n")


def test_error_event(client: openai.OpenAI) -> None:
    """An error in the stream comes behind the chunks that were asked for, and the SDK raises it."""
    stream = client.chat.completions.create(model="error-event-3", messages=HELLO, stream=True)
    assert len(list(itertools.islice(stream, 3))) == 3
    with pytest.raises(openai.APIError, match="as the request asked for"):
        next(stream)


def test_refuse(client: openai.OpenAI) -> None:
    """A refused field answers 400 that names it, and a request without the field is answered."""
    headers = dials(refuse="stream_options")
    with pytest.raises(openai.BadRequestError) as caught:
        stream_of(client, headers, stream_options={"include_usage": True})
    assert caught.value.param == "stream_options"
    assert stream_of(client, headers)


# variants of streams


@pytest.mark.parametrize(
    ("form", "seen"),
    [
        ("never", ["absent"] * 4),
        ("separate", ["absent"] * 4 + ["usage"]),
        ("last-choice", ["absent"] * 3 + ["usage"]),
        ("every-null", ["null"] * 4 + ["usage"]),
        ("as-asked", ["absent"] * 4),
    ],
)
def test_usage_variants(client: openai.OpenAI, form: str, seen: list[str]) -> None:
    """Usage stands where the dial says, asked for or not. Chunks: role, two tokens, finish, and perhaps usage."""
    chunks = stream_of(client, dials(usage=form), max_tokens=2)
    found = ["absent" if "usage" not in c.model_fields_set else "usage" if c.usage else "null" for c in chunks]
    assert found == seen


@pytest.mark.parametrize(
    ("form", "delta"),
    [
        ("null", b'{"role":"assistant","content":null}'),
        ("empty", b'"content":""}'),
        ("absent", b'{"role":"assistant"}'),
    ],
)
def test_role_content_variants(simulator: Simulator, form: str, delta: bytes) -> None:
    """The first delta's content is null, empty or absent."""
    assert delta in raw_stream(simulator, f"x-simulate-role-content: {form}").split(b"\n\n")[0]


def test_done_and_model_variants(simulator: Simulator) -> None:
    """The closing `[DONE]` can be missing, and the model be another than was asked for."""
    octets = raw_stream(simulator, "x-simulate-done: no", "x-simulate-model: other", "x-simulate-created: 7")
    assert b"[DONE]" in raw_stream(simulator)
    assert b"[DONE]" not in octets
    assert octets.endswith(b"0\r\n\r\n")
    assert b'"created":7,"model":"other"' in octets
