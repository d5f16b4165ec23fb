"""A lone endpoint: nobody can take over, and its failures are told all the same."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.http.calls import answer, ask, call, idle, in_order, llm, once, silent
from tests.http.conftest import Connect, Line, StartLine, StartUpstream
from tests.http.streams import COMMENT, CONTENT, END, FAILING, ROLE, STREAM, stream
from tests.http.wire import Script, Upstream, Wire, each
from tests.ports import free_port
from torana.model.config import Settings
from torana.model.policy import (
    RoutePolicies,
    Timeout,
)

LONE = {
    "refused": (None, 503, "upstream_connect_failed"),
    "429": (each(answer(429)), 429, "429"),
    "500": (each(answer(500)), 500, "500"),
    "closed before it answered": (once(), 502, "upstream_closed"),
    "garbage": (once(b"220 mail.test ESMTP\r\n\r\n"), 502, "bad_upstream_answer"),
    "silent": (silent, 504, "upstream_timeout"),
}


@pytest.mark.parametrize("name", LONE)
async def test_a_lone_endpoint_that_fails(
    name: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An attempt that failed is in the log, the metrics and the headers, also where there was nobody else to ask."""
    make, status, why = LONE[name]
    port = free_port() if make is None else (await upstream(make)).port
    policies = RoutePolicies(timeout=Timeout(request=0.3) if make is silent else None)
    started = await line(
        backend=llm(port, "lone"), policies=policies, settings=Settings(ipv6=False, attempt_headers=True)
    )
    got = await ask(started, connect)
    place = f"127.0.0.1:{port}"
    assert (got.status, got.value(b"x-torana-endpoint")) == (status, place.encode())
    assert got.value(b"x-torana-attempts") == f"{place} {why}".encode()
    await started.logged(f'attempts="{place} {why}"')
    state = started.worker.state()
    assert (state.failures, state.retries) == ({("lone", place, why): 1}, 0)
    await idle(started)


async def test_a_lone_answer_that_breaks_off(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An answer that is no stream and breaks off has failed; its client has what came of it."""
    provider = await upstream(once(answer()[:-5]))
    started = await line(backend=llm(provider.port, "lone"))
    wire = await connect(started.port)
    await wire.send(call())
    assert (await wire.head()).status == 200
    await started.logged(f'attempts="127.0.0.1:{provider.port} upstream_closed"')


@pytest.mark.parametrize("request_", [call(b"{"), call(b"[]")], ids=["no JSON", "no object"])
async def test_a_lone_endpoint_that_was_not_asked(
    request_: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """What is wrong with the request is no attempt, and an answer about the request is no failed one."""
    provider = await upstream(each(answer(404)))
    started = await line(backend=llm(provider.port, "lone"))
    assert (await ask(started, connect, request_)).status == 400
    assert (await ask(started, connect)).status == 404
    assert started.worker.state().failures == {}
    assert "attempts=" not in started.log.read_text()


# streams

EMPTY = {"nothing": (), "only comments": (COMMENT,), "a role and no more": (ROLE,)}


@pytest.mark.parametrize("usage", [False, True], ids=["usage hidden", "usage asked for"])
@pytest.mark.parametrize("name", EMPTY)
async def test_an_empty_stream(
    name: str, usage: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A stream that is over before its head could go on, without a word, is a 502 and no empty 200."""
    provider = await upstream(once(stream(*EMPTY[name])))
    started = await line(backend=llm(provider.port, "lone"))
    body = STREAM[:-1] + b',"stream_options":{"include_usage":true}}' if usage else STREAM
    got = await ask(started, connect, call(body))
    assert (got.status, json.loads(got.body)["error"]["code"]) == (502, "bad_upstream_answer")
    await _told(started, provider.port, "empty stream")


@pytest.mark.parametrize("name", EMPTY)
async def test_a_stream_that_ends_empty(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """One that ends without a word when its head has gone out ends with an error in the stream, incomplete."""
    ending = asyncio.Event()

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(stream(*EMPTY[name], end=b""))
            await ending.wait()
            await wire.send(END)

        return script

    provider = await upstream(make)
    started = await line(backend=llm(provider.port, "lone"))
    wire = await connect(started.port)
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    ending.set()
    rest = await wire.rest()
    assert b"bad_upstream_answer" in rest
    assert not rest.endswith(END)
    await _told(started, provider.port, "empty stream")


@pytest.mark.parametrize(
    "name", [name for name, (_, why) in FAILING.items() if why not in {"empty stream", "upstream_timeout"}]
)
async def test_a_stream_that_fails(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What a stream begins with goes on as it came, an error too, and with its own status; it is told of as failed."""
    make, why = FAILING[name]
    provider = await upstream(make)
    started = await line(backend=llm(provider.port, "lone"))
    got = await ask(started, connect, call(STREAM))
    assert (got.status, b'"error"' in got.body) == (200, True)
    assert got.complete is (why == "error in stream")
    await _told(started, provider.port, why)


async def test_a_stream_with_content(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A stream that dies after its first content was an answer; that it died is in the log as the request's error."""
    provider = await upstream(once(stream(ROLE, CONTENT, end=b"")))
    started = await line(backend=llm(provider.port, "lone"))
    assert b"upstream_closed" in (await ask(started, connect, call(STREAM))).body
    await started.logged("reason=UpstreamFailure")
    assert "attempts=" not in started.log.read_text()
    assert started.worker.state().failures == {}


@pytest.mark.parametrize("lone", [True, False], ids=["lone", "one of two"])
async def test_a_stream_that_is_not_known(
    lone: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Of a path that is no known operation, the gateway does not know what the events of an answer have to say."""
    event = b'event: thread.run.queued\ndata: {"id":"run_1"}\n\n'
    provider = await upstream(each(stream(event)))
    shares = in_order(llm(provider.port), *([] if lone else [llm(provider.port, "other")]))
    got = await ask(await line(shares=shares), connect, call(STREAM, b"/v1/threads/t/runs"))
    assert (got.status, got.body, got.complete) == (200, event, True)
    assert len(provider.requests) == 1


async def _told(line: Line, port: int, why: str) -> None:
    """The attempt is told of once, and nothing is left of it."""
    await line.logged(f'attempts="127.0.0.1:{port} {why}"')
    assert line.worker.state().failures == {("lone", f"127.0.0.1:{port}", why): 1}
    await idle(line)
