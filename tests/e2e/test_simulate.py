"""`torana simulate` as its users meet it: a process, its printed line, and the official OpenAI SDK."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import openai
import pytest
from openai.types.chat import ChatCompletionToolParam

from tests.e2e.simulator import HELLO, Simulator, dials, exchange, simulating, stream_of
from tests.e2e.wire import TIMEOUT

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


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulating() as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with simulator.client() as client:
        yield client


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


def test_methods_that_would_do(simulator: Simulator) -> None:
    """A wrong method is told the right ones in `allow`, as RFC 9110, 15.5.6, wants of a 405."""
    with pytest.raises(HTTPError) as refused:
        urlopen(f"http://127.0.0.1:{simulator.port}/v1/embeddings", timeout=60)
    with refused.value as answer:
        assert (answer.code, answer.headers["allow"]) == (405, "POST")


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
        with urlopen(f"http://127.0.0.1:{running.port}/healthz", timeout=TIMEOUT) as answer:
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
    with simulating() as running, socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-simulate-stall: after-head\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        running.process.send_signal(number)
        assert running.process.wait(TIMEOUT) == 0


def test_the_printed_command_works(simulator: Simulator) -> None:
    """The line that is printed when it is ready ends in a curl command that gets an answer."""
    curl, url, option, body = shlex.split(simulator.line.partition("try: ")[2])
    assert (curl, option) == ("curl", "-d")
    with urlopen(url, body.encode(), timeout=TIMEOUT) as answer:
        assert json.load(answer)["model"] == "simulate"


def refused(*words: str) -> str:
    """What is said by one that cannot be had, which exits 1."""
    command = [sys.executable, "-m", "torana", "simulate", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    return ended.stderr


def test_taken_port() -> None:
    """A port that another process has ends in one line and exit 1, and names the option that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        says = refused("--port", str(port))
    assert says == f"torana: cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port\n"


def test_an_address_that_is_not_this_machines() -> None:
    """An address of another machine (RFC 5737: nobody's) is told as that, with the option for it."""
    says = refused("--host", "192.0.2.1", "--port", "0")
    assert says == "torana: cannot listen on 192.0.2.1:0: Cannot assign requested address; choose another with --host\n"
