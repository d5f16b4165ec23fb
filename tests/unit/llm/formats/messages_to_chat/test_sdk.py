"""Anthropic's own SDK at one end, OpenAI's own types at the other: what they say and what they take.

The SDK speaks to a transport that is the gateway and the provider at once, without a socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import MessageParam
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import TypeAdapter

from torana.errors import GatewayError, Reason
from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT

Provider = Callable[[dict[str, Any]], httpx2.Response]

ASKED: list[MessageParam] = [{"role": "user", "content": "hi"}]
TOOL: anthropic.types.ToolParam = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def client(provider: Provider) -> anthropic.Anthropic:
    """The SDK before a `provider` of chat completions, with the translation in between."""

    def gateway(request: httpx2.Request) -> httpx2.Response:
        translated = MESSAGES_TO_CHAT.request(request.content, "m-1")
        answer = provider(json.loads(translated.body))
        if answer.status_code != 200:
            return httpx2.Response(
                answer.status_code, content=MESSAGES_TO_CHAT.error(answer.status_code, answer.content)
            )
        if not translated.stream:
            body = MESSAGES_TO_CHAT.answer(answer.content, translated.asked_model)
            return httpx2.Response(200, content=body, headers={"content-type": "application/json"})
        stream = MESSAGES_TO_CHAT.stream(translated.asked_model)
        pieces = [answer.content[at : at + 10] for at in range(0, len(answer.content), 10)]
        content = b"".join(map(stream.feed, pieces)) + stream.finish()
        return httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})

    http = httpx2.Client(transport=httpx2.MockTransport(gateway))
    return anthropic.Anthropic(api_key="x", base_url="http://gateway.test", max_retries=0, http_client=http)


# --- a provider's answer, whole and as chunks ---


def completion(message: dict[str, Any], finish: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice], "usage": usage}


def chunks(whole: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """The completion as a provider streams it: every text in pieces of `size`."""
    message, finish = whole["choices"][0]["message"], whole["choices"][0]["finish_reason"]
    yield {"role": "assistant", "content": ""}
    for name in ("reasoning_content", "content"):
        value = message.get(name) or ""
        yield from ({name: value[at : at + size]} for at in range(0, len(value), size))
    for index, call in enumerate(message.get("tool_calls", [])):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        arguments = function["arguments"]
        for at in range(0, len(arguments), size):
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + size]}}]}
    yield {"finish_reason": finish}


def streamed(whole: dict[str, Any], size: int) -> bytes:
    events = []
    for delta in chunks(whole, size):
        choice = {"index": 0, "delta": delta, "finish_reason": delta.pop("finish_reason", None)}
        events.append({"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]})
    events.append({"id": "c1", "model": "m-1", "choices": [], "usage": whole["usage"]})
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


TEXTS = st.text(min_size=1, max_size=30)
VALUES = st.dictionaries(TEXTS, st.one_of(st.none(), st.booleans(), st.integers(-99, 99), TEXTS), max_size=3)


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    calls = [
        {"id": f"t{number}", "type": "function", "function": {"name": "f", "arguments": json.dumps(draw(VALUES))}}
        for number in range(draw(st.integers(0, 3)))
    ]
    message: dict[str, Any] = {"content": draw(st.none() | TEXTS), "reasoning_content": draw(st.none() | TEXTS)}
    if calls:
        message["tool_calls"] = calls
    finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    return completion(message, finish)


@given(completions(), st.integers(1, 9))
def test_a_stream_says_what_the_whole_answer_says(whole: dict[str, Any], size: int) -> None:
    """The message that the SDK puts together from a stream is the one it gets in one piece."""
    ChatCompletion.model_validate(whole)

    def provider(asked: dict[str, Any]) -> httpx2.Response:
        if asked.get("stream"):
            return httpx2.Response(200, content=streamed(whole, size))
        return httpx2.Response(200, content=json.dumps(whole).encode())

    with client(provider) as sdk:
        message = sdk.messages.create(model="m", max_tokens=9, messages=ASKED, tools=[TOOL])
        with sdk.messages.stream(model="m", max_tokens=9, messages=ASKED, tools=[TOOL]) as stream:
            final = stream.get_final_message()
    assert final.model_dump(exclude={"content": {"__all__": {"parsed_output"}}}) == message.model_dump()
    assert message.usage.input_tokens == 7
    assert (message.stop_reason == "tool_use") == bool(whole["choices"][0]["message"].get("tool_calls"))


def test_a_turn_with_tools() -> None:
    """What the SDK got it can send back: the provider sees its own call, thoughts and all, and the result."""
    arguments = '{"x":[1,"é"]}'
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    seen: list[dict[str, Any]] = []

    def provider(asked: dict[str, Any]) -> httpx2.Response:
        seen.append(asked)
        message = {"content": "a", "reasoning_content": "hm", "tool_calls": [call]}
        return httpx2.Response(200, content=json.dumps(completion(message, "tool_calls")).encode())

    with client(provider) as sdk:
        first = sdk.messages.create(model="m", max_tokens=9, system="S", messages=ASKED, tools=[TOOL])
        block = first.content[-1]
        assert block.type == "tool_use"
        result: MessageParam = {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "r"}]}],
        }
        history: list[MessageParam] = [*ASKED, {"role": "assistant", "content": first.content}, result]
        sdk.messages.create(model="m", max_tokens=9, system="S", messages=history, tools=[TOOL])

    assert seen[1]["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "r"},
    ]
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(seen[1]["messages"])
    TypeAdapter(list[ChatCompletionToolParam]).validate_python(seen[1]["tools"])


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
    ],
)
def test_errors_are_the_sdk_s_own(status: int, raised: type[anthropic.APIStatusError]) -> None:
    """A provider's error is raised by the SDK as its own, with the provider's words."""
    body = {"error": {"message": "no", "type": "x", "param": None, "code": None}}
    with client(lambda _: httpx2.Response(status, json=body)) as sdk, pytest.raises(raised) as caught:
        sdk.messages.create(model="m", max_tokens=9, messages=ASKED)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["message"] == "no"


def test_errors_in_a_stream_are_raised() -> None:
    """A stream that broke off raises in the SDK; what had come before was delivered."""
    stream = MESSAGES_TO_CHAT.stream("m")
    sent = stream.feed(streamed(completion({"content": "Hello"}, "stop"), 9)[:400])
    sent += stream.broken(GatewayError(Reason.UPSTREAM_CLOSED, "The provider closed the connection."))
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=sent, headers={"content-type": "text/event-stream"})
    )
    texts: list[str] = []
    with (
        anthropic.Anthropic(api_key="x", max_retries=0, http_client=httpx2.Client(transport=transport)) as sdk,
        sdk.messages.stream(model="m", max_tokens=9, messages=ASKED) as events,
        pytest.raises(anthropic.APIStatusError, match="closed the connection"),
    ):
        texts.extend(events.text_stream)
    assert texts == ["Hello"]
