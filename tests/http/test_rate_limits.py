"""Rate limits along the whole line: what a provider's answer costs, and what a reload leaves."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.http.conftest import Connect, Line, StartLine, StartUpstream
from tests.http.wire import Message, Script, Upstream, Wire, each
from torana.model.config import Config
from torana.model.policy import LimitUnit, RateLimit, RoutePolicies

TOKENS = RoutePolicies(rate_limits=(RateLimit(100, 100, 3600.0, LimitUnit.TOKENS),))
TWICE = RoutePolicies(rate_limits=(RateLimit(2, 2, 3600.0),))
_USAGE = b'"usage":{"prompt_tokens":70,"completion_tokens":25,"total_tokens":95}'
_CHUNK = (
    b'data: {"id":"x","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
)
_EVENTS = _CHUNK + b'data: {"id":"x","model":"m","choices":[],' + _USAGE + b"}\n\ndata: [DONE]\n\n"
_DOCUMENT = b'{"id":"x","model":"m","choices":[],' + _USAGE + b"}"


def answer(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


DOCUMENT = answer(b"application/json", _DOCUMENT)
EVENTS = answer(b"text/event-stream", _EVENTS)


async def send(wire: Wire, *, stream: bool = False) -> None:
    body = json.dumps({"model": "m", "messages": [], "stream": stream}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    await wire.send(head % len(body) + body)


async def ask(wire: Wire, *, stream: bool = False) -> Message:
    await send(wire, stream=stream)
    return await wire.message()


def remaining(message: Message) -> int:
    return int(message.value(b"x-ratelimit-remaining") or -1)


def with_policies(config: Config, policies: RoutePolicies) -> Config:
    bind = config.binds[0]
    listener = bind.listeners[0]
    route = msgspec.structs.replace(listener.routes[0], policies=policies)
    listener = msgspec.structs.replace(listener, routes=(route,))
    return msgspec.structs.replace(config, binds=(msgspec.structs.replace(bind, listeners=(listener,)),))


@pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])
async def test_tokens_of_an_answer(stream: bool, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What the provider says an answer used is taken when the client has it, of a stream too."""
    provider = await upstream(each(EVENTS if stream else DOCUMENT))
    wire = await connect((await line(provider.port, policies=TOKENS)).port)
    for left in (100, 5):
        got = await ask(wire, stream=stream)
        assert (got.status, remaining(got)) == (200, left)
    refused = await ask(wire, stream=stream)
    assert refused.status == 429
    seconds = int(refused.value(b"retry-after") or 0)
    assert 3590 <= seconds <= 3600
    assert json.loads(refused.body)["error"] == {
        "message": f"Rate limit reached: 100 tokens, 100 more every 3600 s. There is more in {seconds} s.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert remaining(refused) == 0


async def test_a_stream_that_is_left(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A client that goes before the usage is told has used what it got: a token for each piece of output."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", 7 * _CHUNK)
            await wire.rest()  # until the gateway closes

        return script

    started = await line((await upstream(make)).port, policies=TOKENS)
    wire = await connect(started.port)
    await send(wire, stream=True)
    got = b""
    while got.count(_CHUNK) < 7:
        got += await wire.some()
    wire.close()
    await started.logged("reason=ClientClosed")
    next_one = await connect(started.port)
    await send(next_one, stream=True)
    assert remaining(await next_one.head()) == 93


async def test_refusals_reach_no_upstream(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A refused request is not sent on; the connection serves the next, and the log has the reason."""
    provider = await upstream(each(DOCUMENT))
    started = await line(provider.port, policies=TWICE)
    wire = await connect(started.port)
    answers = [await ask(wire) for _ in range(4)]
    assert [(got.status, remaining(got)) for got in answers] == [(200, 1), (200, 0), (429, 0), (429, 0)]
    assert len(provider.requests) == 2
    await started.logged("reason=RateLimit")


async def test_reload(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A limit that a reload leaves as it is stays used up; one that was changed begins full."""
    started: Line = await line((await upstream(each(DOCUMENT))).port, policies=TWICE)
    wire = await connect(started.port)
    assert [(await ask(wire)).status for _ in range(3)] == [200, 200, 429]
    more = msgspec.structs.replace(TWICE, rate_limits=(RateLimit(50, 50, 1.0), *TWICE.rate_limits))
    await started.apply(with_policies(started.config, more))
    assert (await ask(wire)).status == 429
    await started.apply(with_policies(started.config, RoutePolicies(rate_limits=(RateLimit(3, 2, 3600.0),))))
    assert remaining(await ask(wire)) == 2
