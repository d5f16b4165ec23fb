"""Anthropic's official SDK before the `llm:` form.

Its providers are a real model and `torana simulate`, which know chat completions only, and a stand-in with Messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import anthropic
import pytest
from anthropic.types import Message, MessageParam, ToolParam

from tests.e2e.conftest import Model, StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.provider import TEXT, serve
from tests.e2e.simulator import simulating
from tests.e2e.stand_in import StandIn

KEY = "sk-of-the-gateway"
HELLO: list[MessageParam] = [{"role": "user", "content": "Count from one to five."}]
CALL: list[MessageParam] = [{"role": "user", "content": 'call weather {"city": "Paris"}'}]
TOOL: ToolParam = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CONFIG = """
llm:
  port: $GATEWAY_PORT
  models:
  - name: simulated
    provider: {custom: {formats: [{type: completions}]}}
    params: {baseUrl: "http://127.0.0.1:SIMULATED/v1", apiKey: KEY, model: simulate}
  - name: claude-*
    provider: anthropic
    params: {baseUrl: "http://127.0.0.1:SCRIPTED/v1", apiKey: KEY}
"""
REAL = """
llm:
  port: $GATEWAY_PORT
  models:
  - name: real
    provider: {custom: {formats: [{type: completions}]}}
    params: {baseUrl: "BASE_URL", apiKey: KEY, model: MODEL}
"""


class World(NamedTuple):
    gateway: Gateway
    scripted: StandIn
    client: anthropic.Anthropic


def client_of(gateway: Gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.base_url, api_key="sk-worthless", max_retries=0, timeout=50)


@pytest.fixture(scope="module")
def started(shared_gateway: StartGateway, shared_stand_in: StartStandIn) -> Iterator[World]:
    scripted = shared_stand_in()
    with simulating("--api-key", KEY) as simulator:
        text = CONFIG.replace("SIMULATED", str(simulator.port)).replace("SCRIPTED", str(scripted.port))
        gateway = shared_gateway(text.replace("KEY", KEY))
        with client_of(gateway) as client:
            yield World(gateway, scripted, client)


@pytest.fixture
def world(started: World) -> World:
    """The same for all, with nothing seen yet."""
    started.scripted.forget()
    started.scripted.script = serve
    return started


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# --- a real model ---


def test_talks_to_a_real_model(model_server: Model, gateway: StartGateway) -> None:
    """A message, whole and streamed, is answered by llama.cpp: text, a stop reason, and tokens that were counted."""
    text = REAL.replace("BASE_URL", model_server.base_url).replace("MODEL", model_server.name)
    running = gateway(text.replace("KEY", model_server.api_key))
    asked: Any = {"model": "real", "max_tokens": 16, "messages": HELLO, "system": "Be brief."}
    with client_of(running) as client:
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
    assert text_of(whole)
    assert len(pieces) > 1
    assert "".join(pieces) == text_of(final)
    for message in (whole, final):
        assert message.role == "assistant"
        assert message.stop_reason in {"end_turn", "max_tokens"}
        assert 0 < message.usage.output_tokens <= 16
        assert message.usage.input_tokens > 0


def test_refused_by_a_real_server(model_server: Model, gateway: StartGateway) -> None:
    """A key that llama.cpp refuses raises Anthropic's own AuthenticationError."""
    text = REAL.replace("BASE_URL", model_server.base_url).replace("MODEL", model_server.name)
    running = gateway(text.replace("KEY", "sk-another"))
    with client_of(running) as client, pytest.raises(anthropic.AuthenticationError) as caught:
        client.messages.create(model="real", max_tokens=4, messages=HELLO)
    assert caught.value.type == "authentication_error"
    assert "sk-another" not in str(caught.value)


# --- a provider of chat completions ---


def test_message(world: World) -> None:
    """The stream says what the whole answer says, and counts the same tokens."""
    asked: Any = {"model": "simulated", "max_tokens": 9, "messages": HELLO}
    whole = world.client.messages.create(**asked)
    with world.client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == text_of(final) == text_of(whole)
    assert final.stop_reason == whole.stop_reason == "max_tokens"
    assert final.usage.output_tokens == whole.usage.output_tokens == 9
    assert final.usage.input_tokens == whole.usage.input_tokens > 0


def test_tools(world: World) -> None:
    """An agent's turn: the call, whole or streamed, then its result, then text."""
    asked: Any = {"model": "simulated", "max_tokens": 99, "tools": [TOOL]}
    whole = world.client.messages.create(**asked, messages=CALL)
    with world.client.messages.stream(**asked, messages=CALL) as stream:
        final = stream.get_final_message()
    both: list[Message] = [whole, final]
    for message in both:
        assert message.stop_reason == "tool_use"
        (call,) = message.content
        assert call.type == "tool_use"
        assert (call.name, call.input) == ("weather", {"city": "Paris"})
        result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        turns: Any = [*CALL, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
        answer = world.client.messages.create(**asked, messages=turns)
        assert answer.stop_reason == "end_turn"
        assert text_of(answer)


def test_forced_tool(world: World) -> None:
    """`tool_choice` is translated too: a tool that must be called is called."""
    message = world.client.messages.create(
        model="simulated",
        max_tokens=99,
        messages=HELLO,
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "weather"},
    )
    assert [block.type for block in message.content] == ["tool_use"]


def test_what_is_lost_is_told(world: World) -> None:
    """What a chat completion cannot carry is named in a header of the answer."""
    asked: Any = {"model": "simulated", "max_tokens": 9, "messages": HELLO, "extra_body": {"top_k": 3}}
    answer = world.client.messages.with_raw_response.create(**asked)
    assert "top_k" in (answer.headers.get("x-torana-untranslated") or "")


def test_count_tokens(world: World) -> None:
    """Where a provider cannot count, the gateway estimates: a longer prompt has more, and nobody is asked."""
    long: list[MessageParam] = [*HELLO, {"role": "assistant", "content": "One. " * 200}, *HELLO]
    counts = [
        world.client.messages.count_tokens(model="simulated", messages=messages).input_tokens
        for messages in (HELLO, long)
    ]
    assert 3 < counts[0] < 20
    assert 200 < counts[1] < 800


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
    ],
)
def test_errors_of_the_provider(status: int, kind: type[anthropic.APIStatusError], name: str, world: World) -> None:
    """An error in OpenAI's form raises Anthropic's class of that status, with Anthropic's type and the same text."""
    dials = {"x-simulate-status": str(status), "x-simulate-retry-after": "7"}
    with pytest.raises(kind) as caught:
        world.client.messages.create(model="simulated", max_tokens=9, messages=HELLO, extra_headers=dials)
    assert caught.value.type == name
    assert caught.value.response.headers["retry-after"] == "7"


def test_error_within_a_stream(world: World) -> None:
    """What goes wrong in the middle of a stream raises an error, behind the text that came before."""
    dials = {"x-simulate-error-event": "3"}
    pieces: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError),
        world.client.messages.stream(model="simulated", max_tokens=9, messages=HELLO, extra_headers=dials) as stream,
    ):
        pieces.extend(stream.text_stream)
    assert pieces


# --- a provider of Messages ---


def test_native_message(world: World) -> None:
    """What speaks Messages gets the request as it is, with the gateway's key in x-api-key."""
    asked: Any = {"model": "claude-next", "max_tokens": 9, "messages": HELLO}
    message = world.client.messages.create(**asked, extra_body={"top_k": 3})
    assert text_of(message) == TEXT
    seen = world.scripted.one
    assert seen.line == "POST /v1/messages HTTP/1.1"
    assert (seen["x-api-key"], seen["authorization"]) == (KEY, None)
    assert seen.json() == {**asked, "top_k": 3}
    with world.client.messages.stream(**asked) as stream:
        assert list(stream.text_stream) == [TEXT[:5], TEXT[5:]]


def test_native_count_tokens(world: World) -> None:
    """It is asked to count, under the path that it has for this."""
    assert world.client.messages.count_tokens(model="claude-next", messages=HELLO).input_tokens == 11
    assert world.scripted.one.line == "POST /v1/messages/count_tokens HTTP/1.1"


# --- what the gateway answers itself ---


def test_models(world: World) -> None:
    """The list of models has Anthropic's form for its own client."""
    assert [model.id for model in world.client.models.list()] == ["simulated", "claude-*"]
    assert world.client.models.retrieve("simulated").type == "model"


def test_unknown_model(world: World) -> None:
    """The gateway's own 404 raises NotFoundError with the nearest name."""
    with pytest.raises(anthropic.NotFoundError, match="simulated") as caught:
        world.client.messages.create(model="simulate", max_tokens=9, messages=HELLO)
    assert caught.value.type == "not_found_error"
