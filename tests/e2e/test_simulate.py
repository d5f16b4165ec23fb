"""`torana simulate` as its users meet it: a process, its printed line, and the official OpenAI SDK."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.request import urlopen

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius"]}, "days": {"type": "integer"}},
        },
    },
}


class Simulator(NamedTuple):
    """A running process. `port` is on 127.0.0.1; `line` is what it printed."""

    process: subprocess.Popen[str]
    port: int
    line: str

    def client(self, **options: Any) -> openai.OpenAI:
        options = {"api_key": "sk-any-key-will-do", "max_retries": 0, "timeout": 5, **options}
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", **options)


@contextmanager
def simulating(*options: str) -> Iterator[Simulator]:
    words = [sys.executable, "-m", "torana", "simulate", "--port", "0", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/v1", line)
            assert found, f"the first line has the address: {line!r}"
            yield Simulator(process, int(found[1]), line)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulating() as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with simulator.client() as client:
        yield client


def dials(**values: str) -> dict[str, str]:
    """`error_event="2"` as the header `x-simulate-error-event: 2`."""
    return {f"x-simulate-{name.replace('_', '-')}": value for name, value in values.items()}


def exchange(port: int, path: str, body: object, headers: dict[str, str], method: str = "POST") -> tuple[int, Any]:
    """Status and JSON, without an SDK in between."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def stream_of(client: openai.OpenAI, headers: dict[str, str] | None = None, **more: Any) -> list[Any]:
    """The chunks of a streamed chat of three tokens."""
    more = {"model": "simulate", "max_tokens": 3, **more}
    return list(client.chat.completions.create(messages=HELLO, stream=True, extra_headers=headers, **more))


def raw_stream(simulator: Simulator, *headers: str, **fields: object) -> bytes:
    """All octets of a streamed answer of one token, head included, until the server closes."""
    body = json.dumps({"model": "m", "max_tokens": 1, "stream": True, "messages": HELLO, **fields})
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", "connection: close", f"content-length: {len(body)}"]
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, *headers, "", body]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


# answers


def test_chat(client: openai.OpenAI) -> None:
    """The same chat gets the same answer, with its usage; another chat gets another."""
    first = client.chat.completions.create(model="simulate", messages=HELLO)
    again = client.chat.completions.create(model="simulate", messages=HELLO)
    other = client.chat.completions.create(model="simulate", messages=[{"role": "user", "content": "Goodbye"}])
    assert first == again
    assert first.choices[0].message.content != other.choices[0].message.content
    assert first.choices[0].finish_reason == "stop"
    assert first.usage is not None
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (2, 16, 18)


def test_choices_and_length(client: openai.OpenAI) -> None:
    """`n` brings choices that differ; a limit of tokens cuts the same text and says so."""
    whole = client.chat.completions.create(model="simulate", messages=HELLO, n=2)
    short = client.chat.completions.create(model="simulate", messages=HELLO, max_completion_tokens=4)
    texts = [choice.message.content or "" for choice in whole.choices]
    assert texts[0] != texts[1]
    assert short.choices[0].message.content == " ".join(texts[0].split()[:4])
    assert short.choices[0].finish_reason == "length"


def test_stream_says_the_same(client: openai.OpenAI) -> None:
    """A streamed answer has the id, the text and the usage of the whole one, a token an event."""
    whole = client.chat.completions.create(model="simulate", messages=HELLO, max_tokens=3)
    chunks = stream_of(client, stream_options={"include_usage": True})
    assert {chunk.id for chunk in chunks} == {whole.id}
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(piece or "" for piece in pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) == 3
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage == whole.usage


def test_echo(client: openai.OpenAI) -> None:
    """The model `echo` answers with the user's last message, spaces included."""
    said = "  Say   this\nback. "
    answer = client.chat.completions.create(model="echo", messages=[*HELLO, {"role": "user", "content": said}])
    assert answer.choices[0].message.content == said


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=["required", "named"]
)
def test_tool_call(client: openai.OpenAI, choice: Any) -> None:
    """A required or named function is called with arguments that fit its schema."""
    answer = client.chat.completions.create(model="m", messages=HELLO, tools=[WEATHER], tool_choice=choice)
    message = answer.choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "weather"
    arguments = json.loads(call.function.arguments)
    assert isinstance(arguments["city"], str)
    assert isinstance(arguments["days"], int)
    assert arguments["unit"] == "celsius"
    assert answer.choices[0].finish_reason == "tool_calls"


def test_streamed_tool_call(client: openai.OpenAI) -> None:
    """A message that begins with `call ` streams a call of that function, with the arguments written behind it."""
    with client.chat.completions.stream(
        model="m", messages=[{"role": "user", "content": 'call weather {"city": "Paris"}'}], tools=[WEATHER]
    ) as stream:
        events = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        message = stream.get_final_completion().choices[0].message
    assert len(events) > 2
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.name == "weather"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}


def test_json_object(client: openai.OpenAI) -> None:
    """`response_format` json_object brings text that is a JSON object."""
    answer = client.chat.completions.create(model="m", messages=HELLO, response_format={"type": "json_object"})
    assert set(json.loads(answer.choices[0].message.content or "")) == {"answer"}


def test_completions(client: openai.OpenAI) -> None:
    """Each prompt gets a choice, and the streamed text is the whole one's."""
    whole = client.completions.create(model="m", prompt=["one", "two words"])
    chunks = list(client.completions.create(model="m", prompt=["one", "two words"], stream=True))
    for index in (0, 1):
        streamed = "".join(one.text for chunk in chunks for one in chunk.choices if one.index == index)
        assert streamed == whole.choices[index].text
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 3


def test_embeddings(client: openai.OpenAI) -> None:
    """A vector follows from its text alone, has length 1, and is the same in both encodings."""
    batch = client.embeddings.create(model="m", input=["one", "two"], dimensions=8)  # the SDK asks for base64
    single = client.embeddings.create(model="m", input="two", dimensions=8, encoding_format="float")
    assert batch.data[1].embedding == pytest.approx(single.data[0].embedding)
    assert batch.data[0].embedding != batch.data[1].embedding
    assert sum(value * value for value in single.data[0].embedding) == pytest.approx(1.0)
    assert len(client.embeddings.create(model="m", input="one").data[0].embedding) == 1536


def test_models(client: openai.OpenAI) -> None:
    """Two models are listed, and any other can be asked for, slashes in its name included."""
    assert [model.id for model in client.models.list()] == ["simulate", "echo"]
    assert client.models.retrieve("vendor/some-model").id == "vendor/some-model"


@pytest.mark.parametrize("prefix", ["", "/v1", "/openai/v1", "/inference/v1", "/any/where"])
def test_below_any_prefix(simulator: Simulator, prefix: str) -> None:
    """Vendors' prefixes lead to the same answers."""
    body = {"model": "echo", "messages": HELLO}
    status, answer = exchange(simulator.port, f"{prefix}/chat/completions", body, {})
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "Hello there"


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


# requests that are wrong


@pytest.mark.parametrize(
    ("headers", "fields", "told"),
    [
        (dials(status="200"), {}, "takes a status from 400 to 599"),
        (dials(stall="maybe"), {}, "before-head, after-head, or a number"),
        (dials(disconect="1"), {}, "Did you mean `x-simulate-disconnect`?"),
        (dials(retry_after="2"), {}, "add `x-simulate-status`"),
        (dials(error_event="1"), {}, "needs a streamed answer"),
        ({}, {"model": "status-999"}, "takes a status from 400 to 599"),
        ({}, {"model": 5}, "Expected `str`, got `int` - at `$.model`"),
        ({}, {"messages": []}, "length >= 1"),
        (dials(tokens="100000"), {"n": 2}, "too long"),
        ({}, {"tool_choice": {"type": "function", "function": {"name": "no"}}}, "no function `no`"),
    ],
)
def test_bad_requests(simulator: Simulator, headers: dict[str, str], fields: dict[str, Any], told: str) -> None:
    """What is not understood is answered 400 in OpenAI's form, with what would be."""
    body = {"model": "m", "messages": HELLO, **fields}
    status, answer = exchange(simulator.port, "/v1/chat/completions", body, headers)
    assert status == 400
    assert told in answer["error"]["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/embeddings", 405), ("POST", "/v1/responses", 404)])
def test_not_served(simulator: Simulator, method: str, path: str, status: int) -> None:
    """Another method or path is refused with what there is."""
    answered, answer = exchange(simulator.port, path, {}, {}, method)
    assert answered == status
    assert "POST" in answer["error"]["message"]


# the process


def test_api_key() -> None:
    """With --api-key another key gets 401, the journal too, and /healthz needs none."""
    with simulating("--api-key", "sk-the-one-that-is-right") as running:
        assert "sk-the-one" not in running.line, "a key is not printed"
        with running.client() as client, pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="m", messages=HELLO)
        with running.client(api_key="sk-the-one-that-is-right") as client:
            assert client.chat.completions.create(model="m", messages=HELLO).choices
        assert exchange(running.port, "/journal", {}, {}, "GET")[0] == 401
        with urlopen(f"http://127.0.0.1:{running.port}/healthz", timeout=5) as answer:
            assert answer.status == 200


def test_journal() -> None:
    """The journal has the requests in order with their bodies, credentials masked, and can be emptied."""
    with simulating() as running, running.client(api_key="sk-secret-key-1234") as client:
        client.models.list()
        client.chat.completions.create(model="echo", messages=HELLO)
        _, journal = exchange(running.port, "/journal", None, {}, "GET")
        assert [entry["path"] for entry in journal["requests"]] == ["/v1/models", "/v1/chat/completions"]
        assert journal["requests"][1]["body"]["messages"] == HELLO
        assert journal["requests"][1]["headers"]["authorization"] == "Bearer ***1234"
        assert exchange(running.port, "/journal", None, {}, "DELETE")[0] == 204
        assert exchange(running.port, "/journal", None, {}, "GET")[1] == {"requests": []}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it with 0, in a second or so even when an answer is stalled."""
    with simulating() as running, socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-simulate-stall: after-head\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        running.process.send_signal(number)
        assert running.process.wait(5) == 0


def test_the_printed_command_works(simulator: Simulator) -> None:
    """The line that is printed when it is ready ends in a curl command that gets an answer."""
    curl, url, option, body = shlex.split(simulator.line.partition("try: ")[2])
    assert (curl, option) == ("curl", "-d")
    with urlopen(url, body.encode(), timeout=5) as answer:
        assert json.load(answer)["model"] == "simulate"


def test_taken_port() -> None:
    """A port that another process has ends in one line and exit 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = [sys.executable, "-m", "torana", "simulate", "--port", port]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"torana: cannot listen on 127.0.0.1:{port}: ")
    assert ended.stderr.count("\n") == 1
