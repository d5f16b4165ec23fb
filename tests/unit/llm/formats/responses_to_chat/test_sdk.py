"""OpenAI's own SDK at both ends: what it says of responses and takes, and its types of chat in between.

The SDK speaks to a transport that is the gateway and the provider at once, without a socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import FunctionToolParam, ResponseInputParam, ResponseStreamEvent
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import BaseModel, TypeAdapter

from torana.errors import GatewayError, Reason
from torana.llm.formats.responses_to_chat import RESPONSES_TO_CHAT

Provider = Callable[[dict[str, Any]], httpx2.Response]

TOOL: FunctionToolParam = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}


def client(provider: Provider) -> openai.OpenAI:
    """The SDK before a `provider` of chat completions, with the translation in between."""

    def gateway(request: httpx2.Request) -> httpx2.Response:
        translated = RESPONSES_TO_CHAT.request(request.content, "m-1")
        answer = provider(json.loads(translated.body))
        if answer.status_code != 200:
            body = RESPONSES_TO_CHAT.error(answer.status_code, answer.content)
            return httpx2.Response(answer.status_code, content=body)
        if not translated.stream:
            body = RESPONSES_TO_CHAT.answer(answer.content, translated.asked_model, memo=translated.memo)
            return httpx2.Response(200, content=body, headers={"content-type": "application/json"})
        stream = RESPONSES_TO_CHAT.stream(translated.asked_model, memo=translated.memo)
        pieces = [answer.content[at : at + 10] for at in range(0, len(answer.content), 10)]
        content = b"".join(map(stream.feed, pieces)) + stream.finish()
        return httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})

    http = httpx2.Client(transport=httpx2.MockTransport(gateway))
    return openai.OpenAI(api_key="x", base_url="http://gateway.test/v1", max_retries=0, http_client=http)


# --- a provider's answer, whole and as chunks ---


def completion(message: dict[str, Any], finish: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice], "usage": usage}


def chunks(whole: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """The deltas of the completion as a provider streams it: every text in pieces of `size`."""
    message = whole["choices"][0]["message"]
    yield {"role": "assistant", "content": ""}
    for name in ("reasoning_content", "content", "refusal"):
        value = message.get(name) or ""
        yield from ({name: value[at : at + size]} for at in range(0, len(value), size))
    for index, call in enumerate(message.get("tool_calls", [])):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        arguments = function["arguments"]
        for at in range(0, len(arguments), size):
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + size]}}]}


def streamed(whole: dict[str, Any], size: int) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
    events = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in chunks(whole, size)]
    finish = {"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}
    events += [{**head, "choices": [finish]}, {**head, "choices": [], "usage": whole["usage"]}]
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


def answering(whole: dict[str, Any], size: int = 9) -> Provider:
    def provider(asked: dict[str, Any]) -> httpx2.Response:
        return httpx2.Response(
            200, content=streamed(whole, size) if asked.get("stream") else json.dumps(whole).encode()
        )

    return provider


EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TEXTS = st.text(min_size=1, max_size=30)
VALUES = st.dictionaries(TEXTS, st.one_of(st.none(), st.booleans(), st.integers(-99, 99), TEXTS), max_size=3)


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    calls = [
        {"id": f"t{number}", "type": "function", "function": {"name": "f", "arguments": json.dumps(draw(VALUES))}}
        for number in range(draw(st.integers(0, 3)))
    ]
    message = {name: draw(st.none() | TEXTS) for name in ("content", "reasoning_content", "refusal")}
    finish = "tool_calls" if calls else "stop"
    return completion({**message, "tool_calls": calls} if calls else message, finish)


@given(completions(), st.integers(1, 9))
def test_a_stream_says_what_the_whole_answer_says(whole: dict[str, Any], size: int) -> None:
    """The response that the SDK has at the end of a stream is the one it gets in one piece."""
    ChatCompletion.model_validate(whole)
    with client(answering(whole, size)) as sdk:
        told = sdk.responses.create(model="m", input="hi", tools=[TOOL], temperature=0.5)
        *_, last = sdk.responses.create(model="m", input="hi", tools=[TOOL], temperature=0.5, stream=True)
        with sdk.responses.stream(model="m", input="hi", tools=[TOOL]) as stream:
            final = stream.get_final_response()
    assert last.type == "response.completed"
    assert last.response.model_dump() == told.model_dump()
    assert final.output_text == told.output_text
    assert told.output_text == (whole["choices"][0]["message"]["content"] or "")
    assert (told.status, told.temperature, told.tool_choice) == ("completed", 0.5, "auto")
    assert told.usage is not None
    assert told.usage.total_tokens == 12


@given(completions(), st.integers(1, 9))
def test_every_event_is_one_of_the_sdk_s(whole: dict[str, Any], size: int) -> None:
    """Every event has all that the SDK's types demand, and its pieces make up what is told at the end."""
    stream = RESPONSES_TO_CHAT.stream("m")
    told = stream.feed(streamed(whole, size)).split(b"\n\n")[:-1]
    events = [EVENTS.validate_json(event.partition(b"\ndata: ")[2]) for event in told]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    pieces: dict[tuple[str, int, int], str] = {}
    for event in events:
        kind, _, step = event.type.rpartition(".")
        place = (kind, getattr(event, "output_index", 0), getattr(event, "content_index", 0))
        if step == "delta":
            pieces[place] = pieces.get(place, "") + event.delta
        elif step == "done" and place in pieces:
            assert pieces.pop(place) in {getattr(event, name, None) for name in ("text", "refusal", "arguments")}
    assert not pieces


def test_the_sdk_follows_a_stream() -> None:
    """The SDK's own state machine puts texts and arguments together while they come."""
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x": [1, 2]}'}}
    whole = completion({"reasoning_content": "hm", "content": "Hello you", "tool_calls": [call]}, "tool_calls")
    with (
        client(answering(whole, 4)) as sdk,
        sdk.responses.stream(model="m", input="hi", tools=[TOOL]) as stream,
    ):
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ["Hell", "Hello yo", "Hello you"]
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]


def test_a_turn_with_tools() -> None:
    """What the SDK got it can send back: the provider sees its own call, thoughts and all, and the result."""
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":[1,"é"]}'}}
    whole = completion({"content": "a", "reasoning_content": "hm", "tool_calls": [call]}, "tool_calls")
    seen: list[dict[str, Any]] = []

    def provider(asked: dict[str, Any]) -> httpx2.Response:
        seen.append(asked)
        return answering(whole)(asked)

    with client(provider) as sdk:
        history: ResponseInputParam = [{"role": "user", "content": "hi"}]
        first = sdk.responses.create(model="m", instructions="S", input=history, tools=[TOOL], store=False)
        items: list[Any] = [item.model_dump(exclude_unset=True) for item in first.output]
        result: FunctionCallOutput = {"type": "function_call_output", "call_id": "t1", "output": "r"}
        sdk.responses.create(model="m", instructions="S", input=[*history, *items, result], tools=[TOOL])

    assert seen[1]["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "r"},
    ]
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(seen[1]["messages"])
    TypeAdapter(list[ChatCompletionToolParam]).validate_python(seen[1]["tools"])


class Answer(BaseModel):
    """A structured output."""

    number: int


def test_structured_output() -> None:
    """The schema of a type reaches the provider, and the SDK reads the answer as that type."""
    seen: list[dict[str, Any]] = []

    def provider(asked: dict[str, Any]) -> httpx2.Response:
        seen.append(asked)
        return answering(completion({"content": '{"number": 7}'}, "stop"))(asked)

    with client(provider) as sdk:
        parsed = sdk.responses.parse(model="m", input="hi", text_format=Answer)
    assert parsed.output_parsed == Answer(number=7)
    form = seen[0]["response_format"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == ("json_schema", "Answer", True)
    assert form["json_schema"]["schema"]["required"] == ["number"]


def test_an_answer_that_was_cut_off() -> None:
    """The SDK sees that a response is incomplete, and why, whole and streamed."""
    with client(answering(completion({"content": "Hello"}, "length"))) as sdk:
        told = sdk.responses.create(model="m", input="hi")
        last = [*sdk.responses.create(model="m", input="hi", stream=True)][-1]
    assert last.type == "response.incomplete"
    assert last.response.model_dump() == told.model_dump()
    assert told.incomplete_details is not None
    assert told.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_errors_are_the_sdk_s_own(status: int, raised: type[openai.APIStatusError]) -> None:
    """A provider's error is raised by the SDK as its own, with the provider's words and code."""
    body = {"error": {"message": "no", "code": "y"}}
    with client(lambda _: httpx2.Response(status, json=body)) as sdk, pytest.raises(raised, match="no") as caught:
        sdk.responses.create(model="m", input="hi")
    assert caught.value.code == "y"


def test_errors_in_a_stream_are_raised() -> None:
    """A stream that broke off raises in the SDK; what had come before was delivered."""
    stream = RESPONSES_TO_CHAT.stream("m")
    sent = stream.feed(streamed(completion({"content": "Hello"}, "stop"), 9)[:400])
    sent += stream.broken(GatewayError(Reason.UPSTREAM_CLOSED, "The provider closed the connection."))
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=sent, headers={"content-type": "text/event-stream"})
    )
    texts: list[str] = []
    with (
        openai.OpenAI(api_key="x", max_retries=0, http_client=httpx2.Client(transport=transport)) as sdk,
        sdk.responses.stream(model="m", input="hi") as events,
        pytest.raises(openai.APIError, match="closed the connection"),
    ):
        texts.extend(event.delta for event in events if event.type == "response.output_text.delta")
    assert texts == ["Hello"]
