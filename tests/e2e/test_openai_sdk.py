"""OpenAI's official SDK before the `llm:` form: every operation, in the provider's own words and in translated ones."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam
from openai.types.responses import FunctionToolParam

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.provider import RERANKED, SOUND, TEXT, VECTORS, serve
from tests.e2e.simulator import HELLO, simulating
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import post

KEY = "sk-of-the-gateway"
CALL = 'call weather {"city": "Paris"}'
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: ChatCompletionFunctionToolParam = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
RESPONSES_TOOL: FunctionToolParam = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
CONFIG = """
llm:
  port: $GATEWAY_PORT
  providers:
  - name: scripted
    provider: openAI
    params: {baseUrl: "http://127.0.0.1:SCRIPTED/v1", apiKey: KEY}
  models:
  - {name: "gpt-*", provider: {reference: scripted}}
  - {name: renamed, provider: {reference: scripted}, params: {model: theirs}}
  - {name: rerank, provider: cohere, params: {baseUrl: "http://127.0.0.1:SCRIPTED", apiKey: KEY, model: rerank-v3.5}}
  - {name: claude, provider: anthropic, params: {baseUrl: "http://127.0.0.1:SCRIPTED/v1", apiKey: KEY}}
  - name: chats
    provider: {custom: {formats: [{type: completions}, {type: embeddings}]}}
    params: {baseUrl: "http://127.0.0.1:SIMULATED/v1", apiKey: KEY, model: simulate}
  - {name: hidden, visibility: internal, provider: {reference: scripted}}
"""
"""`chats` leads to `torana simulate`, which has no Responses; everything else to a stand-in."""


class World(NamedTuple):
    gateway: Gateway
    scripted: StandIn
    client: openai.OpenAI


@pytest.fixture(scope="module")
def started(shared_gateway: StartGateway, shared_stand_in: StartStandIn) -> Iterator[World]:
    scripted = shared_stand_in()
    with simulating("--api-key", KEY) as simulator:
        ports = {"SCRIPTED": str(scripted.port), "SIMULATED": str(simulator.port), "KEY": KEY}
        text = CONFIG
        for name, value in ports.items():
            text = text.replace(name, value)
        gateway = shared_gateway(text)
        with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key="sk-worthless", max_retries=0) as client:
            yield World(gateway, scripted, client)


@pytest.fixture
def world(started: World) -> World:
    """The same for all, with nothing seen yet."""
    started.scripted.forget()
    started.scripted.script = serve
    return started


def check_sent(world: World, path: str, model: str) -> Any:
    """The one request at the stand-in, which went to `path` with the gateway's key; its body."""
    seen = world.scripted.one
    assert seen.line == f"POST {path} HTTP/1.1"
    assert seen["authorization"] == f"Bearer {KEY}"
    body = seen.json()
    assert body["model"] == model
    return body


# --- chat completions ---


@pytest.mark.parametrize("model", ["chats", "gpt-4o", "claude"])
def test_chat(model: str, world: World) -> None:
    """A chat is answered by what speaks chat completions, and by what speaks Messages alone."""
    answer = world.client.chat.completions.create(model=model, messages=HELLO)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["chats", "gpt-4o", "claude"])
def test_chat_streamed(model: str, world: World) -> None:
    """So is a streamed one: several pieces, and the usage that was asked for at the end."""
    options: Any = {"include_usage": True}
    chunks = [*world.client.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options=options)]
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_chat_with_tools(world: World) -> None:
    """A tool's call and its result go there and back; the stream has the same call in pieces."""
    asked: Any = {"model": "chats", "messages": [{"role": "user", "content": CALL}], "tools": [TOOL]}
    message = world.client.chat.completions.create(**asked).choices[0].message
    with world.client.chat.completions.stream(**asked) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Paris"}')
    assert final.message.tool_calls is not None
    assert final.message.tool_calls[0].id == call.id
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    answer = world.client.chat.completions.create(
        **{**asked, "messages": [*asked["messages"], message.model_dump(exclude_none=True), result]}
    )
    assert answer.choices[0].message.content


# --- Responses ---


def test_response(world: World) -> None:
    """A provider that has Responses gets the request as it is, but for the model."""
    answer = world.client.responses.create(model="renamed", input="Hi", instructions="Be kind.")
    assert answer.output_text == TEXT
    assert check_sent(world, "/v1/responses", "theirs") == {
        "model": "theirs",
        "input": "Hi",
        "instructions": "Be kind.",
    }


def test_response_translated(world: World) -> None:
    """One that has not is asked for a chat; the client gets a Response all the same."""
    answer = world.client.responses.create(model="chats", input="Hi", instructions="Be kind.")
    assert answer.status == "completed"
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("model", ["gpt-4o", "chats"], ids=["native", "translated"])
def test_response_streamed(model: str, world: World) -> None:
    """The SDK puts the same Response together from its events, whoever made them."""
    whole = world.client.responses.create(model=model, input="Hi")
    with world.client.responses.stream(model=model, input="Hi") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text == whole.output_text
    assert final.usage == whole.usage


def test_response_with_tools(world: World) -> None:
    """Tools' calls and results are translated, whole and streamed."""
    whole = world.client.responses.create(model="chats", input=CALL, tools=[RESPONSES_TOOL])
    with world.client.responses.stream(model="chats", input=CALL, tools=[RESPONSES_TOOL]) as stream:
        final = stream.get_final_response()
    for response in (whole, final):
        (call,) = response.output
        assert call.type == "function_call"
        assert (call.name, call.arguments) == ("weather", '{"city": "Paris"}')
        turns: Any = [
            {"role": "user", "content": CALL},
            call.model_dump(include={"type", "call_id", "name", "arguments"}),
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ]
        assert world.client.responses.create(model="chats", input=turns, tools=[RESPONSES_TOOL]).output_text


# --- what is no conversation ---


def test_embeddings(world: World) -> None:
    """Vectors come through, also in base64, which the SDK asks for unless told otherwise."""
    plain = world.client.embeddings.create(model="renamed", input="Hi", encoding_format="float")
    assert plain.data[0].embedding == VECTORS["data"][0]["embedding"]
    check_sent(world, "/v1/embeddings", "theirs")
    packed = world.client.embeddings.create(model="chats", input=["Hi", "there"], dimensions=8)
    assert [len(each.embedding) for each in packed.data] == [8, 8]


def test_models(world: World) -> None:
    """The list is the configuration's own, with its public names alone, and each can be asked for."""
    names = [model.id for model in world.client.models.list()]
    assert names == ["gpt-*", "renamed", "rerank", "claude", "chats"]
    assert world.client.models.retrieve("renamed").id == "renamed"
    with pytest.raises(openai.NotFoundError, match="renamed"):
        world.client.models.retrieve("renamd")
    assert not world.scripted.seen


def test_images(world: World) -> None:
    """An image is made by the model that the configuration names."""
    answer = world.client.images.generate(model="renamed", prompt="A cat", n=1)
    assert answer.data is not None
    assert answer.data[0].b64_json == "aGVsbG8="
    check_sent(world, "/v1/images/generations", "theirs")


def test_transcription(world: World) -> None:
    """A form's file arrives byte for byte, and its model is replaced within the form."""
    answer = world.client.audio.transcriptions.create(model="renamed", file=("talk.mp3", io.BytesIO(SOUND)))
    assert answer.text == TEXT
    seen = world.scripted.one
    assert seen.line == "POST /v1/audio/transcriptions HTTP/1.1"
    assert seen["authorization"] == f"Bearer {KEY}"
    assert (seen["content-type"] or "").startswith("multipart/form-data; boundary=")
    assert SOUND in seen.body
    assert b'filename="talk.mp3"' in seen.body
    assert b'name="model"\r\n\r\ntheirs\r\n' in seen.body


def test_speech(world: World) -> None:
    """Sound comes back byte for byte, whole and as it arrives."""
    asked: Any = {"model": "renamed", "input": "Hi", "voice": "alloy"}
    assert world.client.audio.speech.create(**asked).content == SOUND
    check_sent(world, "/v1/audio/speech", "theirs")
    with world.client.audio.speech.with_streaming_response.create(**asked) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert b"".join(answer.iter_bytes()) == SOUND


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_rerank(path: str, world: World) -> None:
    """Cohere's clients call either version of its path; both lead to the one that the provider has."""
    body = {"model": "rerank", "query": "hello", "documents": ["a", "b"], "top_n": 2}
    answer = post(world.gateway.port, path, body, {"Authorization": "Bearer sk-worthless"})
    assert answer.status == 200
    assert answer.json() == RERANKED
    assert check_sent(world, "/v2/rerank", "rerank-v3.5") == {**body, "model": "rerank-v3.5"}


# --- errors ---


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_errors_of_the_provider(status: int, kind: type[openai.APIStatusError], world: World) -> None:
    """The provider's error raises its own class, and so it does out of a translated call."""
    dials = {"x-simulate-status": str(status)}
    with pytest.raises(kind) as of_chat:
        world.client.chat.completions.create(model="chats", messages=HELLO, extra_headers=dials)
    with pytest.raises(kind) as of_response:
        world.client.responses.create(model="chats", input="Hi", extra_headers=dials)
    assert of_chat.value.body == of_response.value.body
    assert of_chat.value.status_code == status


def test_error_within_a_translated_stream(world: World) -> None:
    """What goes wrong in the middle of a stream raises an error behind the pieces that came before it."""
    dials = {"x-simulate-error-event": "3"}
    stream = world.client.responses.create(model="chats", input="Hi", stream=True, extra_headers=dials)
    pieces: list[str] = []
    with pytest.raises(openai.APIError, match="The server had an error") as caught:
        pieces.extend(event.delta for event in stream if event.type == "response.output_text.delta")
    assert caught.value.type == "server_error"
    assert pieces


def test_unknown_model(world: World) -> None:
    """A name that nobody has raises NotFoundError, which tells the nearest; an internal one is unknown too."""
    for name in ("chat", "hidden"):
        with pytest.raises(openai.NotFoundError) as caught:
            world.client.chat.completions.create(model=name, messages=HELLO)
        assert caught.value.code == "model_not_found"
        assert f"The model '{name}' does not exist here." in caught.value.message
        assert ("Did you mean 'chats'" in caught.value.message) == (name == "chat")
    assert not world.scripted.seen


def test_what_a_provider_has_not(world: World) -> None:
    """An operation that a provider neither has nor can be asked for in other words raises BadRequestError."""
    with pytest.raises(openai.BadRequestError):
        world.client.embeddings.create(model="claude", input="Hi")
    assert not world.scripted.seen
