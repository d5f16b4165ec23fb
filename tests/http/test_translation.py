"""A client of one API before a provider of another, through a whole gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import pytest

from tests.http.calls import ANSWER, answer, ask, call, closed, idle, in_order, once
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.test_failover_streams import DONE, ERROR, ROLE, STOP, USAGE, stream
from tests.http.wire import Wire, each, free_port, until
from torana.model.backend import Backend, BodyEdits, Format, Message, Provider, ProviderKind, Target
from torana.model.policy import BackendAuth, CredentialPlace, HeaderModifier, PathKind, PathRule
from torana.model.secret import Secret

MESSAGES = b"/v1/messages?beta=true"
COUNT = b"/v1/messages/count_tokens"
CHAT = b"/v1/chat/completions"
ANTHROPIC_HEAD = b"Content-Type: application/json\r\nAnthropic-Version: 2023-06-01\r\nAnthropic-Beta: x\r\n"

ASKED: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 9,
    "system": "Be kind.",
    "top_k": 3,
    "messages": [{"role": "user", "content": "Hi"}],
}
CHAT_ASKED: dict[str, Any] = {"model": "gpt", "seed": 1, "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION: dict[str, Any] = {
    "id": "c1",
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-1",
    "content": [{"type": "text", "text": "Ho"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
HELLO = b'data: {"model":"m1","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def post(value: dict[str, Any], path: bytes = MESSAGES, fields: bytes = ANTHROPIC_HEAD) -> bytes:
    return call(encoded(value), path, fields)


def openai(port: int, **members: Any) -> Backend:
    return Backend(f"openai{port}", Target("127.0.0.1", port), provider=Provider(ProviderKind.OPENAI), **members)


def anthropic(port: int, **members: Any) -> Backend:
    return Backend(f"anthropic{port}", Target("127.0.0.1", port), provider=Provider(ProviderKind.ANTHROPIC), **members)


def chat_only(port: int) -> Backend:
    provider = Provider(ProviderKind.CUSTOM, formats=(Format("chat_completions"),))
    return Backend("chat", Target("127.0.0.1", port), provider=provider)


def events(body: bytes) -> list[Any]:
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ") and line != "data: [DONE]"]
    return [json.loads(line) for line in lines]


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


# each candidate gets its own form


@pytest.mark.parametrize("first", ["anthropic", "openai"])
async def test_failover_across_apis(first: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A call that fails at a provider of one API goes to one of another, in words that this one understands."""
    failing = await upstream(each(answer(529, b"{}")))
    native = first == "openai"
    good = await upstream(each(answer(body=encoded(MESSAGE if native else COMPLETION))))
    makers = (openai, anthropic) if native else (anthropic, openai)
    started = await line(shares=in_order(makers[0](failing.port), makers[1](good.port)))
    got = await ask(started, connect, post(ASKED))
    asked_first, asked_then = failing.requests[0], good.requests[0]
    chat, messages = (asked_first, asked_then) if native else (asked_then, asked_first)
    assert messages.start == b"POST /v1/messages?beta=true HTTP/1.1"
    assert messages.body == encoded(ASKED)
    assert messages.value(b"anthropic-beta") == b"x"
    assert chat.start == b"POST /v1/chat/completions HTTP/1.1"
    assert "system" not in json.loads(chat.body)
    assert json.loads(got.body)["content"] == [{"type": "text", "text": "Ho"}]
    assert got.value(b"x-torana-untranslated") == (None if native else b"top_k")
    await idle(started)


async def test_a_stream_fails_over_before_its_content(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A translated stream that begins with an error is held back, and another provider's is the answer."""
    failing = await upstream(each(stream(ROLE, ERROR)))
    good = await upstream(each(stream(ROLE, HELLO, STOP, DONE)))
    started = await line(shares=in_order(openai(failing.port), openai(good.port)))
    got = await ask(started, connect, post(ASKED | {"stream": True}))
    assert "error" not in [event["type"] for event in events(got.body)]
    assert b"Hello" in got.body
    assert got.body.count(b"event: message_start") == 1


# what cannot be asked


async def test_what_is_not_served(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What a provider has not, and what cannot be said in its words, is refused before it is asked."""
    provider = await upstream(each(answer()))
    started = await line(backend=anthropic(provider.port))
    got = await ask(started, connect, post({"model": "m", "input": "x"}, b"/v1/embeddings", b""))
    assert (got.status, got.value(b"x-should-retry")) == (400, b"false")
    assert json.loads(got.body)["error"]["code"] == "not_supported_by_provider"
    assert not provider.requests


async def test_who_cannot_be_asked_is_passed_over(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Where one provider of a route does not serve an operation, another does; nobody is blamed for it."""
    provider = await upstream(each(answer()))
    started = await line(shares=in_order(anthropic(free_port()), openai(provider.port)))
    got = await ask(started, connect, post({"model": "m", "input": "x"}, b"/v1/embeddings", b""))
    assert (got.status, len(provider.requests)) == (200, 1)
    assert started.worker.state().evictions == {}


async def test_what_failed_before(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """When who can be asked has failed, its failure is told, not that another cannot be asked."""
    failing = await upstream(each(answer(500)))
    started = await line(shares=in_order(openai(failing.port), anthropic(free_port())))
    got = await ask(started, connect, post({"model": "m", "input": "x"}, b"/v1/embeddings", b""))
    assert got.status == 502
    assert f"127.0.0.1:{failing.port} (500)".encode() in got.body


async def test_tokens_are_counted_here(line: StartLine, connect: Connect) -> None:
    """A count of tokens that no provider of the route can make is an estimate of the gateway's own."""
    started = await line(shares=in_order(openai(free_port()), openai(free_port())))
    for _ in range(2):
        got = await ask(started, connect, post(ASKED, COUNT + b"?beta=true"))
        assert (got.status, json.loads(got.body)) == (200, {"input_tokens": 7})
    await started.logged("gen_ai.operation.name=count_tokens")
    got = await ask(started, connect, post({"messages": []}, COUNT))
    assert (got.status, json.loads(got.body)["error"]["type"]) == (400, "invalid_request_error")


async def test_who_can_count_is_asked(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider that counts tokens itself is asked, whichever comes first."""
    provider = await upstream(each(answer(body=b'{"input_tokens":42}')))
    started = await line(shares=in_order(openai(free_port()), anthropic(provider.port)))
    got = await ask(started, connect, post(ASKED, COUNT))
    assert json.loads(got.body) == {"input_tokens": 42}
    assert provider.requests[0].start == b"POST /v1/messages/count_tokens HTTP/1.1"


async def test_the_gateways_own_errors(line: StartLine, connect: Connect) -> None:
    """What fails in the gateway is told in the form of the path that was asked."""
    started = await line(backend=openai(free_port()))
    got = await ask(started, connect, post(ASKED))
    assert (got.status, json.loads(got.body)["error"]["type"]) == (503, "overloaded_error")
    assert json.loads(got.body)["type"] == "error"
    got = await ask(started, connect, call(b"[]", b"/v1/messages"))
    assert (got.status, json.loads(got.body)["error"]["type"]) == (400, "invalid_request_error")
    got = await ask(started, connect, call(b"[]", CHAT))
    assert json.loads(got.body)["error"]["code"] == "invalid_request_body"


async def test_refused_connections_are_closed(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An upstream that closes without an answer is a 502 in the client's form."""
    provider = await upstream(closed)
    started = await line(provider.port)
    got = await ask(started, connect, post(ASKED))
    assert (got.status, json.loads(got.body)["error"]["type"]) == (502, "api_error")
    await until(lambda: all(ended.is_set() for ended in provider.ended))


# paths


class Path(NamedTuple):
    """A path rule, what the client asks for, and what a chat provider gets."""

    rule: PathRule
    asked: bytes
    sent: bytes


PATHS = {
    "as it came": Path(PathRule(), b"/v1/messages", b"/v1/chat/completions"),
    "below a prefix": Path(PathRule(), b"/team/v1/messages?beta=true", b"/team/v1/chat/completions"),
    "spelled oddly": Path(PathRule(), b"/v1//messages/", b"/v1/chat/completions"),
    "a base": Path(PathRule(PathKind.BASE, "/openai/v1"), b"/v1/messages", b"/openai/v1/chat/completions"),
    "no base": Path(PathRule(PathKind.BASE, ""), b"/v1/messages?x", b"/chat/completions"),
    "a base for chat": Path(PathRule(PathKind.CHAT, "/api"), b"/v1/messages", b"/api/chat/completions"),
    "a prefix swapped": Path(PathRule(PathKind.PREFIX, "/x/"), b"/v1/messages", b"/x/v1/chat/completions"),
    "said whole": Path(PathRule(PathKind.FULL, "/y/v1/messages"), b"/v1/messages", b"/y/v1/chat/completions"),
    "said whole, odd": Path(PathRule(PathKind.FULL, "/y"), b"/v1/messages", b"/y"),
    "overridden": Path(PathRule(PathKind.OVERRIDE, "/z?api-version=1"), b"/v1/messages?x", b"/z?api-version=1"),
}


@pytest.mark.parametrize("name", PATHS)
async def test_paths(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A translated call goes to the path of its translation, whatever rule made the client's path."""
    path = PATHS[name]
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    started = await line(backend=openai(provider.port, path=path.rule))
    assert (await ask(started, connect, post(ASKED, path.asked))).status == 200
    assert provider.requests[0].start == b"POST " + path.sent + b" HTTP/1.1"


async def test_a_path_of_its_own(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider with an unusual path is asked there, natively and by translation; its key in the query stays."""
    provider = await upstream(each(answer(body=encoded(MESSAGE))))
    auth = BackendAuth(Secret("k"), name="key", place=CredentialPlace.QUERY)
    backend = Backend(
        "custom",
        Target("127.0.0.1", provider.port),
        provider=Provider(ProviderKind.CUSTOM, formats=(Format("messages", "/anthropic/v1/messages"),)),
        auth=auth,
    )
    started = await line(backend=backend)
    assert (await ask(started, connect, post(ASKED))).status == 200
    assert (await ask(started, connect, post(CHAT_ASKED, CHAT + b"?x=1", b""))).status == 200
    native, translated = provider.requests
    assert native.start == b"POST /anthropic/v1/messages?beta=true&key=k HTTP/1.1"
    assert translated.start == b"POST /anthropic/v1/messages?key=k HTTP/1.1"
    assert translated.value(b"anthropic-version") == b"2023-06-01"


# keys and other headers

SECRETS = b"Authorization: Bearer a\r\nX-Api-Key: b\r\nApi-Key: c\r\nX-Goog-Api-Key: d\r\n"
OWN = BackendAuth(Secret("own"))


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
async def test_a_clients_keys_stay(path: bytes, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider with a key of its own gets no key of the client's, in whatever field; what is configured is sent."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    header = HeaderModifier(set=(("api-key", "configured"),))
    for modifier, expected in ((None, None), (header, b"configured")):
        started = await line(backend=openai(provider.port, auth=OWN, request_headers=modifier))
        assert (await ask(started, connect, post(ASKED, path, SECRETS))).status == 200
        request = provider.requests[-1]
        assert [value for name, value in request.fields if name == b"authorization"] == [b"Bearer own"]
        assert not request.names & {b"x-api-key", b"x-goog-api-key"}
        assert request.value(b"api-key") == expected


class Keys(NamedTuple):
    """What a client sends, and what a provider without a key of its own gets."""

    sent: bytes
    authorization: bytes | None
    key: bytes | None


@pytest.mark.parametrize(
    "keys",
    [
        Keys(b"", None, None),
        Keys(b"X-Api-Key: k\r\n", b"Bearer k", None),
        Keys(b"Authorization: Bearer t\r\n", b"Bearer t", None),
        Keys(b"X-Api-Key: k\r\nAuthorization: Bearer t\r\n", b"Bearer t", None),
    ],
)
async def test_keys_for_a_chat_provider(keys: Keys, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A client's key goes on where the other API has it, when the provider has none of its own."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    started = await line(provider.port)
    await ask(started, connect, post(ASKED, fields=keys.sent))
    request = provider.requests[0]
    assert (request.value(b"authorization"), request.value(b"x-api-key")) == (keys.authorization, keys.key)


@pytest.mark.parametrize(
    "keys",
    [
        Keys(b"", None, None),
        Keys(b"Authorization: bearer sk-1\r\n", None, b"sk-1"),
        Keys(b"Authorization: Bearer sk-ant-oat01-x\r\n", b"Bearer sk-ant-oat01-x", None),
        Keys(b"X-Api-Key: k\r\n", None, b"k"),
        Keys(b"Authorization: Basic x\r\n", b"Basic x", None),
    ],
)
async def test_keys_for_anthropic(keys: Keys, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The same the other way round; OAuth tokens stay where Anthropic takes them."""
    provider = await upstream(each(answer(body=encoded(MESSAGE))))
    started = await line(backend=anthropic(provider.port))
    await ask(started, connect, post(CHAT_ASKED, CHAT, keys.sent))
    request = provider.requests[0]
    assert (request.value(b"authorization"), request.value(b"x-api-key")) == (keys.authorization, keys.key)


async def test_a_get_is_not_translated(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A HEAD of a path of Messages goes on without a body and comes back as it is."""
    provider = await upstream(each(b"HTTP/1.1 405 X\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n"))
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(b"HEAD /v1/messages HTTP/1.1\r\nHost: a\r\n\r\n")
    got = await wire.message(bodiless=True)
    assert (got.status, got.value(b"content-type")) == (405, b"text/plain")
