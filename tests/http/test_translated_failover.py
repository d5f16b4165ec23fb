"""Providers of different APIs side by side: each is asked in its own words, and only what it can be asked."""

from __future__ import annotations

import json

import pytest

from tests.http.apis import (
    ASKED,
    CHAT,
    COMPLETION,
    COUNT,
    HELLO,
    MESSAGE,
    anthropic,
    encoded,
    events,
    openai,
    post,
)
from tests.http.calls import answer, ask, call, closed, idle, in_order, once
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.streams import DONE, ERROR, ROLE, STOP, stream
from tests.http.wire import each, until
from tests.ports import free_port

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


async def test_an_answer_that_breaks_off(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An answer to be translated that breaks off is made up for, as any other."""
    whole = answer(body=encoded(COMPLETION))
    broken, good = [await upstream(make) for make in (once(whole[:-5]), each(whole))]
    started = await line(shares=in_order(openai(broken.port), openai(good.port)))
    got = await ask(started, connect, post(ASKED))
    assert (got.status, json.loads(got.body)["content"]) == (200, [{"type": "text", "text": "Ho"}])
    await started.logged(f'attempts="127.0.0.1:{broken.port} upstream_closed"')
    started = await line(backend=openai(broken.port))
    assert (await ask(started, connect, post(ASKED))).status == 502
    await started.logged(f'attempts="127.0.0.1:{broken.port} upstream_closed"')
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
    assert f"tried: openai{failing.port} (500)".encode() in got.body


async def test_tokens_are_counted_here(line: StartLine, connect: Connect) -> None:
    """A count of tokens that no provider of the route can make is an estimate of the gateway's own."""
    started = await line(shares=in_order(openai(free_port()), openai(free_port())))
    for _ in range(2):
        got = await ask(started, connect, post(ASKED, COUNT + b"?beta=true"))
        assert (got.status, json.loads(got.body)) == (200, {"input_tokens": 7})
        assert got.value(b"x-torana-estimated") == b"input_tokens"
    await started.logged("gen_ai.operation.name=count_tokens")
    got = await ask(started, connect, post({"messages": []}, COUNT))
    assert (got.status, json.loads(got.body)["error"]["type"]) == (400, "invalid_request_error")


async def test_who_can_count_is_asked(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider that counts tokens itself is asked, whichever comes first."""
    provider = await upstream(each(answer(body=b'{"input_tokens":42}')))
    started = await line(shares=in_order(openai(free_port()), anthropic(provider.port)))
    got = await ask(started, connect, post(ASKED, COUNT))
    assert (json.loads(got.body), got.value(b"x-torana-estimated")) == ({"input_tokens": 42}, None)
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
