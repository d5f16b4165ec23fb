"""OpenAI's own SDK at one end, Anthropic's own types at the other: what they say and what they take.

The SDK speaks to a transport that is the gateway and the provider at once, without a socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from anthropic.types import Message, MessageParam, RawMessageStreamEvent, ToolChoiceParam, ToolParam
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
)
from pydantic import BaseModel, TypeAdapter

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages import CHAT_TO_MESSAGES

Members = dict[str, Any]
Provider = Callable[[Members], httpx2.Response]

ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
TOOL: ChatCompletionFunctionToolParam = {"type": "function", "function": {"name": "f", "description": "d"}}
EVENTS = TypeAdapter[RawMessageStreamEvent](RawMessageStreamEvent)


def client(provider: Provider) -> openai.OpenAI:
    """The SDK before a `provider` of Messages, with the translation in between."""

    def gateway(request: httpx2.Request) -> httpx2.Response:
        translated = CHAT_TO_MESSAGES.request(request.content, "claude-opus-4-6")
        answer = provider(json.loads(translated.body))
        if answer.status_code != 200:
            body = CHAT_TO_MESSAGES.error(answer.status_code, answer.content)
            return httpx2.Response(answer.status_code, content=body, headers={"content-type": "application/json"})
        if not translated.stream:
            body = CHAT_TO_MESSAGES.answer(answer.content, translated.asked_model)
            return httpx2.Response(200, content=body, headers={"content-type": "application/json"})
        stream = CHAT_TO_MESSAGES.stream(translated.asked_model, memo=translated.memo)
        pieces = [answer.content[at : at + 10] for at in range(0, len(answer.content), 10)]
        content = b"".join(map(stream.feed, pieces)) + stream.finish()
        return httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})

    http = httpx2.Client(transport=httpx2.MockTransport(gateway))
    return openai.OpenAI(api_key="x", base_url="http://gateway.test/v1", max_retries=0, http_client=http)


# --- a provider's answer, whole and as events ---


def message(content: list[Members], stop: str) -> Members:
    usage = {"input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 5}
    whole = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1", "content": content,
        "stop_reason": stop, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    Message.model_validate(whole)
    return whole


def deltas(block: Members, size: int) -> Iterator[Members]:
    """What Anthropic sends of a block after its beginning, every text in pieces of `size`."""
    names = {"text": ("text", "text_delta", "text"), "thinking": ("thinking", "thinking_delta", "thinking")}
    if block["type"] in names:
        name, kind, member = names[block["type"]]
        value = block[name]
    else:
        kind, member, value = "input_json_delta", "partial_json", json.dumps(block["input"])
    for at in range(0, len(value), size):
        yield {"type": kind, member: value[at : at + size]}
    if "signature" in block:
        yield {"type": "signature_delta", "signature": block["signature"]}


def events(whole: Members, size: int) -> Iterator[Members]:
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    usage = whole["usage"]
    yield {
        "type": "message_start",
        "message": {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}},
    }
    for index, block in enumerate(whole["content"]):
        opened = {name: empty.get(name, value) for name, value in block.items()}
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        yield {"type": "ping"}
        yield from ({"type": "content_block_delta", "index": index, "delta": each} for each in deltas(block, size))
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def streamed(whole: Members, size: int) -> bytes:
    told = b""
    for event in events(whole, size):
        if event["type"] != "ping":
            EVENTS.validate_python(event)
        told += b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
    return told


TEXTS = st.text(min_size=1, max_size=30)
VALUES = st.dictionaries(TEXTS, st.one_of(st.none(), st.booleans(), st.integers(-99, 99), TEXTS), max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> Members:
    thoughts = [{"type": "thinking", "thinking": text, "signature": "s"} for text in draw(st.lists(TEXTS, max_size=2))]
    texts = [{"type": "text", "text": text} for text in draw(st.lists(TEXTS, max_size=2))]
    calls = [
        {"type": "tool_use", "id": f"t{number}", "name": "f", "input": draw(VALUES)}
        for number in range(draw(st.integers(0, 3)))
    ]
    stop = "tool_use" if calls else draw(st.sampled_from(["end_turn", "stop_sequence"]))
    return message([*thoughts, *texts, *calls], stop)


def said(completion: BaseModel) -> Members:
    """A completion's choice without what only one of the SDK's two ways adds."""
    choice: Members = completion.model_dump(exclude_none=True)["choices"][0]
    told: Members = choice["message"]
    told.setdefault("content", "")
    for call in told.get("tool_calls", []):
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    for thought in told.get("thinking_blocks", []):
        thought.pop("index", None)
    return {"finish_reason": choice["finish_reason"], "message": told}


@given(messages(), st.integers(1, 9))
def test_a_stream_says_what_the_whole_answer_says(whole: Members, size: int) -> None:
    """The completion that the SDK puts together from a stream is the one it gets in one piece, thoughts and all."""

    def provider(asked: Members) -> httpx2.Response:
        if asked.get("stream"):
            return httpx2.Response(200, content=streamed(whole, size))
        return httpx2.Response(200, content=json.dumps(whole).encode())

    with client(provider) as sdk:
        completion = sdk.chat.completions.create(model="m", messages=ASKED)
        with sdk.chat.completions.stream(model="m", messages=ASKED, stream_options={"include_usage": True}) as stream:
            final = stream.get_final_completion()
    assert said(final) == said(completion)
    assert final.model_dump()["usage"] == completion.model_dump()["usage"]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (7, 12)


def test_a_turn_with_tools() -> None:
    """What the SDK got it can send back: Claude sees its own call, its thoughts as it signed them, and the result."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    used = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": [1, "é"]}}
    seen: list[Members] = []

    def provider(asked: Members) -> httpx2.Response:
        seen.append(asked)
        return httpx2.Response(200, json=message([thought, {"type": "text", "text": "a"}, used], "tool_use"))

    with client(provider) as sdk:
        history: list[Any] = [{"role": "system", "content": "S"}, *ASKED]
        first = sdk.chat.completions.create(
            model="m", messages=history, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
        )
        answer = first.choices[0].message
        assert answer.tool_calls is not None
        called = answer.tool_calls[0]
        assert isinstance(called, ChatCompletionMessageFunctionToolCall)
        assert json.loads(called.function.arguments) == used["input"]
        history += [answer, {"role": "tool", "tool_call_id": called.id, "content": "r"}]
        sdk.chat.completions.create(model="m", messages=history, tools=[TOOL])

    assert seen[1]["system"] == "S"
    assert seen[1]["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}, used]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]},
    ]
    TypeAdapter(list[MessageParam]).validate_python(seen[1]["messages"])
    TypeAdapter(list[ToolParam]).validate_python(seen[1]["tools"])
    TypeAdapter[ToolChoiceParam](ToolChoiceParam).validate_python(seen[0]["tool_choice"])


class Named(BaseModel):
    name: str


def test_a_form_of_the_answer() -> None:
    """The SDK's parser of answers gets the object it asked for, by a schema that reached Claude."""
    seen: list[Members] = []

    def provider(asked: Members) -> httpx2.Response:
        seen.append(asked)
        return httpx2.Response(200, json=message([{"type": "text", "text": '{"name":"é"}'}], "end_turn"))

    with client(provider) as sdk:
        completion = sdk.chat.completions.parse(model="m", messages=ASKED, response_format=Named)
    assert completion.choices[0].message.parsed == Named(name="é")
    assert seen[0]["output_config"]["format"]["schema"]["required"] == ["name"]


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "invalid_request_error", openai.BadRequestError),
        (401, "authentication_error", openai.AuthenticationError),
        (404, "not_found_error", openai.NotFoundError),
        (429, "rate_limit_error", openai.RateLimitError),
        (529, "overloaded_error", openai.InternalServerError),
    ],
)
def test_errors_are_the_sdk_s_own(status: int, kind: str, raised: type[openai.APIStatusError]) -> None:
    """A provider's error is raised by the SDK as its own, with the provider's words."""
    body = {"type": "error", "error": {"type": kind, "message": "no"}}
    with client(lambda _: httpx2.Response(status, json=body)) as sdk, pytest.raises(raised) as caught:
        sdk.chat.completions.create(model="m", messages=ASKED)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] == "no"
    assert caught.value.type == kind


def test_errors_in_a_stream_are_raised() -> None:
    """A stream that broke off raises in the SDK; what had come before was delivered."""
    stream = CHAT_TO_MESSAGES.stream("m")
    sent = stream.feed(streamed(message([{"type": "text", "text": "Hello"}], "end_turn"), 9)[:700])
    sent += stream.broken(GatewayError(Reason.UPSTREAM_CLOSED, "The provider closed the connection."))
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=sent, headers={"content-type": "text/event-stream"})
    )
    texts: list[str] = []
    http = httpx2.Client(transport=transport)
    with openai.OpenAI(api_key="x", base_url="http://gateway.test/v1", max_retries=0, http_client=http) as sdk:
        chunks = sdk.chat.completions.create(model="m", messages=ASKED, stream=True)
        with pytest.raises(openai.APIError, match="closed the connection"):
            texts.extend(chunk.choices[0].delta.content or "" for chunk in chunks)
