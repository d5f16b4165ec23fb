"""A client of one API before a provider of another, through a whole gateway."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.http.apis import (
    ANTHROPIC_HEAD,
    ASKED,
    CHAT,
    CHAT_ASKED,
    COMPLETION,
    HELLO,
    MESSAGE,
    anthropic,
    chat_only,
    encoded,
    events,
    post,
)
from tests.http.calls import ANSWER, answer, ask, call, idle, once
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.streams import DONE, ERROR, ROLE, STOP, USAGE, stream
from tests.http.wire import Wire, each
from torana.model.backend import Backend, BodyEdits, Message, Provider, ProviderKind, Target
from torana.model.policy import BackendAuth
from torana.model.secret import Secret

# Messages before chat completions


async def test_messages(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A Messages client gets a Messages answer from a chat provider; what could not be carried is named twice."""
    provider = await upstream(each(answer(body=encoded(COMPLETION), fields=b"X-Request-Id: r1\r\n")))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED))
    (request,) = provider.requests
    assert request.start == b"POST /v1/chat/completions HTTP/1.1"
    assert json.loads(request.body) == {
        "model": "claude",
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
    }
    assert request.value(b"content-type") == b"application/json"
    assert not [name for name in request.names if name.startswith(b"anthropic")]
    assert (got.status, got.value(b"content-type"), got.value(b"x-request-id")) == (200, b"application/json", b"r1")
    told = json.loads(got.body)
    assert (told["type"], told["content"], told["stop_reason"]) == (
        "message",
        [{"type": "text", "text": "Ho"}],
        "end_turn",
    )
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (5, 2)
    assert got.value(b"x-torana-untranslated") == b"top_k"
    await started.logged("untranslated=top_k")
    text = started.log.read_text()
    assert "http.path=/v1/messages " in text
    assert "gen_ai.response.model=m-1" in text
    assert "gen_ai.usage.input_tokens=5 gen_ai.usage.output_tokens=2" in text


async def test_names_make_no_fields(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What a client calls a member stays within the one field that names it."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED | {"a\r\nset-cookie: b=1": 1, "é%": 1}))
    assert got.value(b"set-cookie") is None
    assert got.value(b"x-torana-untranslated") == b"top_k, a%0D%0Aset-cookie: b=1, %C3%A9%25"


async def test_tools(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A tool is offered, called and answered in each side's own words."""
    calls = [{"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}]
    choice = {"index": 0, "message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}
    provider = await upstream(each(answer(body=encoded(COMPLETION | {"choices": [choice]}))))
    started = await line(provider.port)
    messages = [
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t0", "name": "add", "input": {"a": 0}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t0", "content": "0"}]},
    ]
    tools = [{"name": "add", "input_schema": {"type": "object"}}]
    got = await ask(started, connect, post({"model": "m", "max_tokens": 9, "messages": messages, "tools": tools}))
    sent = json.loads(provider.requests[0].body)
    assert sent["tools"][0]["function"] == {"name": "add", "parameters": {"type": "object"}}
    assert sent["messages"][1]["tool_calls"][0]["id"] == "t0"
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "t0", "content": "0"}
    told = json.loads(got.body)
    assert told["content"] == [{"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}]
    assert told["stop_reason"] == "tool_use"
    assert got.value(b"x-torana-untranslated") is None


async def test_a_stream(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A stream is translated event by event; its usage was asked for; the log knows its first token and its tokens."""
    provider = await upstream(each(stream(ROLE, HELLO, STOP, USAGE, DONE)))
    started = await line(provider.port)
    fields = ANTHROPIC_HEAD + b"Accept-Encoding: gzip\r\n"
    got = await ask(started, connect, post(ASKED | {"stream": True}, fields=fields))
    assert provider.requests[0].value(b"accept-encoding") == b"identity"
    assert json.loads(provider.requests[0].body)["stream_options"] == {"include_usage": True}
    told = events(got.body)
    assert [event["type"] for event in told if event["type"] != "ping"] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert b"event: message_start\n" in got.body
    assert (got.complete, got.value(b"content-length")) == (True, None)
    await started.logged("gen_ai.usage.input_tokens=5")
    assert "agw.ai.time_to_first_token=" in started.log.read_text()
    await idle(started)


async def test_an_answer_of_nothing(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A stream that ends as it should is an answer though no word was said, whether `[DONE]` follows or not."""
    filtered = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\n'
    provider = await upstream(each(stream(ROLE, filtered)))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED | {"stream": True}))
    told = events(got.body)
    assert [event["type"] for event in told] == ["message_start", "message_delta", "message_stop"]
    assert told[1]["delta"]["stop_reason"] == "refusal"


async def test_content_goes_on_at_once(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The client has an event before the provider sends the next one."""
    go_on = asyncio.Event()
    provider = await upstream(each())
    body = stream(ROLE, HELLO, end=b"")

    async def script(wire: Wire) -> None:
        await provider.take(wire)
        await wire.send(body)
        await go_on.wait()
        await wire.send(stream(STOP, DONE)[len(stream(end=b"")) :])

    provider.script = script
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(post(ASKED | {"stream": True}))
    seen = b""
    while b'"Hello"' not in seen:
        seen += await wire.some()
    go_on.set()
    while b"message_stop" not in seen:
        seen += await wire.some()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
    ],
)
async def test_an_error(status: int, kind: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider's error has its status, its headers and its words, in the client's form."""
    body = b'{"error":{"message":"No.","type":"x","code":"y"}}'
    provider = await upstream(each(answer(status, body, b"Retry-After: 7\r\n")))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED))
    assert (got.status, got.value(b"retry-after")) == (status, b"7")
    assert json.loads(got.body) == {"type": "error", "error": {"type": kind, "message": "No."}}


async def test_what_is_no_answer(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A 200 that is no chat completion is a 502 in the client's form."""
    provider = await upstream(each(answer(body=b"<html>")))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED))
    assert got.status == 502
    assert json.loads(got.body)["error"]["type"] == "api_error"
    await idle(started)


async def test_an_error_within_a_stream(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An error after the first content is an error event of the client's API, and nothing comes after it."""
    provider = await upstream(each(stream(ROLE, HELLO, ERROR, STOP, DONE)))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED | {"stream": True}))
    last = events(got.body)[-1]
    assert last == {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}
    assert b"event: error\n" in got.body
    await started.logged("an error in its stream")


async def test_a_stream_that_breaks_off(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An upstream that dies within a stream leaves an error event and a connection without its regular end."""
    provider = await upstream(once(stream(ROLE, HELLO, end=b"")))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED | {"stream": True}))
    assert not got.complete
    assert events(got.body)[-1]["type"] == "error"
    assert "message_stop" not in [event["type"] for event in events(got.body)]
    await started.logged("reason=UpstreamFailure")


async def test_the_usage_option_is_taken_back(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider that refuses `stream_options` is asked again without, in its own words."""
    refusal = answer(400, b'{"error":{"message":"unknown field stream_options"}}')
    provider = await upstream(each(refusal, stream(ROLE, HELLO, STOP, DONE)))
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED | {"stream": True}))
    assert (got.status, len(provider.requests)) == (200, 2)
    assert "stream_options" not in json.loads(provider.requests[1].body)
    assert provider.requests[1].start == b"POST /v1/chat/completions HTTP/1.1"


NO_EFFORT = answer(400, b'{"error":{"message":"`reasoning_effort` is not supported with this model"}}')
NO_USAGE = answer(400, b'{"error":{"message":"unknown field stream_options"}}')
THINKING = ASKED | {"thinking": {"type": "enabled", "budget_tokens": 31_999}}


async def test_an_effort_is_taken_back(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A model that refuses the effort that a translation asks for is asked without, now and whenever it is the same."""
    provider = await upstream(each(NO_EFFORT, answer(body=encoded(COMPLETION))))
    started = await line(provider.port)
    for requests in (2, 3):
        got = await ask(started, connect, post(THINKING))
        assert (got.status, len(provider.requests)) == (200, requests)
        assert got.value(b"x-torana-untranslated") == b"top_k, reasoning_effort"
    efforts = [json.loads(request.body).get("reasoning_effort") for request in provider.requests]
    assert efforts == ["high", None, None]
    await started.logged('untranslated="top_k, reasoning_effort"')
    await ask(started, connect, post(THINKING | {"output_config": {"effort": "low"}}))
    assert json.loads(provider.requests[3].body)["reasoning_effort"] == "low"


async def test_options_of_responses(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What a client of Responses always sends, and a chat provider does not know, is taken back whatever its value."""
    refusal = answer(422, b'{"message":"property \'body.prompt_cache_key\' is unsupported","code":"wrong_api_format"}')
    provider = await upstream(each(refusal, answer(body=encoded(COMPLETION))))
    started = await line(backend=chat_only(provider.port))
    for requests, key in ((2, "a"), (3, "b")):
        asked = {"model": "m", "input": "Hi", "store": False, "prompt_cache_key": key, "service_tier": "auto"}
        got = await ask(started, connect, post(asked, b"/v1/responses"))
        assert (got.status, len(provider.requests)) == (200, requests)
        assert got.value(b"x-torana-untranslated") == b"prompt_cache_key"
    sent = json.loads(provider.requests[-1].body)
    assert (sent["service_tier"], "prompt_cache_key" in sent) == ("auto", False)


async def test_all_that_is_refused_is_taken_back(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider may refuse both options that were added to a call, one after the other."""
    provider = await upstream(each(NO_USAGE, NO_EFFORT, stream(ROLE, HELLO, STOP, DONE)))
    started = await line(provider.port)
    for requests in (3, 4):
        got = await ask(started, connect, post(THINKING | {"stream": True}))
        assert (got.status, len(provider.requests)) == (200, requests)
        assert not {"stream_options", "reasoning_effort"} & json.loads(provider.requests[-1].body).keys()


async def test_a_refusal_of_something_else(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A refusal that only repeats the request is the client's, and nothing is learned from it."""
    repeated = answer(400, b'{"error":{"message":"No tools here, in: stream_options, reasoning_effort"}}')
    provider = await upstream(each(repeated))
    started = await line(provider.port)
    for requests in (3, 6):
        got = await ask(started, connect, post(THINKING | {"stream": True}))
        assert (got.status, len(provider.requests)) == (400, requests)


# chat completions before Messages


async def test_chat(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A chat client gets a chat completion from Anthropic, which is asked as it wants to be."""
    provider = await upstream(each(answer(body=encoded(MESSAGE))))
    key = BackendAuth(Secret("sk-ant-1"), name="x-api-key", prefix="")
    started = await line(backend=anthropic(provider.port, auth=key))
    got = await ask(
        started, connect, post(CHAT_ASKED, CHAT + b"?x=1", b"Authorization: Bearer mine\r\nOpenAI-Beta: b\r\n")
    )
    (request,) = provider.requests
    assert request.start == b"POST /v1/messages HTTP/1.1"
    assert (request.value(b"x-api-key"), request.value(b"anthropic-version")) == (b"sk-ant-1", b"2023-06-01")
    assert not request.names & {b"authorization", b"openai-beta"}
    sent = json.loads(request.body)
    assert (sent["model"], sent["messages"]) == ("gpt", [{"role": "user", "content": "Hi"}])
    told = json.loads(got.body)
    assert (told["object"], told["choices"][0]["message"]["content"]) == ("chat.completion", "Ho")
    assert told["usage"]["prompt_tokens"] == 5
    assert got.value(b"x-torana-untranslated") == b"seed"
    assert 0 <= time.time() - told["created"] < 60
    await started.logged("gen_ai.response.model=claude-1")


async def test_an_error_of_anthropic(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A chat client gets Anthropic's error in OpenAI's form."""
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"No."}}'
    provider = await upstream(each(answer(429, body, b"Retry-After: 3\r\n")))
    started = await line(backend=anthropic(provider.port))
    got = await ask(started, connect, post(CHAT_ASKED, CHAT))
    assert (got.status, got.value(b"retry-after")) == (429, b"3")
    assert json.loads(got.body)["error"]["message"] == "No."


# Responses before chat completions


async def test_responses(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A Responses client gets a response from a chat provider that serves no Responses, with its usage counted."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    started = await line(backend=chat_only(provider.port))
    asked = {"model": "m", "instructions": "Be kind.", "input": "Hi", "top_logprobs": 3}
    got = await ask(started, connect, post(asked, b"/v1/responses", b""))
    request = provider.requests[0]
    assert request.start == b"POST /v1/chat/completions HTTP/1.1"
    assert [each["content"] for each in json.loads(request.body)["messages"]] == ["Be kind.", "Hi"]
    told = json.loads(got.body)
    assert (told["object"], told["status"], told["instructions"]) == ("response", "completed", "Be kind.")
    assert told["output"][0]["content"][0]["text"] == "Ho"
    await started.logged("gen_ai.usage.input_tokens=5")


async def test_a_stream_of_responses(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Its stream is that of Responses too, to the end; one that breaks off never tells that it was completed."""
    provider = await upstream(each(stream(ROLE, HELLO, STOP, USAGE, DONE)))
    started = await line(backend=chat_only(provider.port))
    asked = {"model": "m", "input": "Hi", "stream": True}
    got = await ask(started, connect, post(asked, b"/v1/responses", b""))
    kinds = [event["type"] for event in events(got.body)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert events(got.body)[-1]["response"]["usage"]["input_tokens"] == 5
    broken = await upstream(once(stream(ROLE, HELLO, end=b"")))
    started = await line(backend=chat_only(broken.port))
    got = await ask(started, connect, post(asked, b"/v1/responses", b""))
    assert not got.complete
    assert not {"response.completed", "response.incomplete"} & {event["type"] for event in events(got.body)}
    assert events(got.body)[-1]["type"] in ("error", "response.failed")


async def test_native_wins(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What a provider serves itself goes there byte for byte, whatever could be translated."""
    provider = await upstream(each(answer()))
    started = await line(provider.port)
    request = post({"model": "m", "input": "Hi"}, b"/v1/responses?x=1", b"")
    assert (await ask(started, connect, request)).body == ANSWER
    sent = provider.requests[0]
    assert (sent.start, sent.body) == (b"POST /v1/responses?x=1 HTTP/1.1", request.partition(b"\r\n\r\n")[2])


# what the configuration changes, and then the translation


async def test_edits_come_before_a_translation(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Members and messages are changed in the client's words, and what comes of it is translated."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    edits = BodyEdits(
        overrides=(("max_tokens", "5"), ("model", '"fast"')),
        defaults=(("temperature", "0.5"), ("top_p", "0.1")),
        prepend=(Message("system", "Rule."),),
        append=(Message("user", "Bye"),),
    )
    language = Provider(ProviderKind.OPENAI, "configured", aliases=(("fast", "gpt-4o-mini"),), edits=edits)
    started = await line(backend=Backend("up", Target("127.0.0.1", provider.port), provider=language))
    await ask(started, connect, post(ASKED | {"top_p": 0.9, "stream": False}))
    assert json.loads(provider.requests[0].body) == {
        "model": "gpt-4o-mini",
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "messages": [
            {"role": "system", "content": "Rule.\nBe kind."},
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": "Bye"},
        ],
    }


async def test_edits_of_a_native_call(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Without a translation every other byte stays the client's, beside the model and the usage option."""
    provider = await upstream(each(stream(ROLE, HELLO, STOP, DONE)))
    edits = BodyEdits(overrides=(("seed", "1"),), defaults=(("n", "1"),))
    language = Provider(ProviderKind.OPENAI, aliases=(("m*", "real"),), edits=edits)
    started = await line(backend=Backend("up", Target("127.0.0.1", provider.port), provider=language))
    body = b'{ "model" : "mine",  "stream":true, "seed": 7, "messages": [ {"x": 1.0} ] }'
    await ask(started, connect, call(body, CHAT))
    assert provider.requests[0].body == (
        b'{ "model" : "real",  "stream":true, "seed": 1, "messages": [ {"x": 1.0} ],"n":1,'
        b'"stream_options":{"include_usage":true} }'
    )
