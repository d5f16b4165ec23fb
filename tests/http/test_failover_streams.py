"""Streams: what has not told anything yet goes on elsewhere, and what has stays where it is."""

from __future__ import annotations

import asyncio
import json
from time import perf_counter

import pytest

from tests.http.calls import answer, ask, call, idle, in_order, llm, once, vitals
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.streams import (
    COMMENT,
    CONTENT,
    DONE,
    END,
    ERROR,
    FAILING,
    ROLE,
    SHOWN,
    STOP,
    STREAM,
    WHOLE,
    chunk,
    stream,
    waiting,
)  # fmt: skip
from tests.http.wire import Script, Upstream, Wire, each, until
from torana.model.policy import Retry, RoutePolicies, Timeout
from torana.proxy import ask as asking
from torana.proxy import failover


async def shows(wire: Wire, event: bytes) -> None:
    """Until `event` has come, however it is framed."""
    seen = b""
    while event not in seen:
        seen += await wire.exactly(1)


@pytest.mark.parametrize("name", FAILING)
async def test_a_stream_without_content(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A stream that ends before its first content never was: the client gets that of the next endpoint, whole."""
    make, why = FAILING[name]
    bad, good = await upstream(make), await upstream(each(stream(WHOLE)))
    timeout = Timeout(first_byte=1.5) if why == "upstream_timeout" else None
    started = await line(shares=in_order(llm(bad.port, "bad"), llm(good.port)), policies=RoutePolicies(timeout=timeout))
    got = await ask(started, connect, call(STREAM))
    assert (got.status, got.body, got.complete) == (200, SHOWN, True)
    await started.logged(f'attempts="127.0.0.1:{bad.port} {why}"')
    await started.logged("gen_ai.usage.input_tokens=5 gen_ai.usage.output_tokens=2")
    assert vitals(started)["bad"].health == pytest.approx(0.7)
    await idle(started)


@pytest.mark.parametrize("byte_by_byte", [False, True], ids=["whole", "bytes"])
@pytest.mark.parametrize("usage", [False, True], ids=["usage hidden", "usage asked for"])
async def test_however_it_is_cut(
    usage: bool, byte_by_byte: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Each attempt asks for the usage and hides it from a client that did not; wherever the network cuts the stream."""

    def pieces(data: bytes) -> tuple[bytes, ...]:
        return tuple(data[at : at + 1] for at in range(len(data))) if byte_by_byte else (data,)

    bad = await upstream(once(*pieces(stream(COMMENT, ROLE, ERROR))))
    good = await upstream(once(*pieces(stream(COMMENT, WHOLE))))
    started = await line(shares=in_order(llm(bad.port), llm(good.port)))
    body = STREAM[:-1] + b',"stream_options":{"include_usage":true}}' if usage else STREAM
    got = await ask(started, connect, call(body))
    assert (got.body, got.complete) == (COMMENT + (WHOLE if usage else SHOWN), True)
    for request in (bad.requests[0], good.requests[0]):
        assert json.loads(request.body)["stream_options"] == {"include_usage": True}
    await started.logged("gen_ai.usage.output_tokens=2")


async def test_each_learns_its_own_options(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """One that refuses `stream_options` is asked again without; the next one is asked with them all the same."""
    refusal = answer(400, b'{"error":{"message":"Unrecognized request argument: stream_options"}}')
    picky, good = await upstream(each(refusal, answer(500))), await upstream(each(stream(WHOLE)))
    started = await line(shares=in_order(llm(picky.port), llm(good.port)))
    assert (await ask(started, connect, call(STREAM))).body == SHOWN
    assert [b"stream_options" in request.body for request in picky.requests] == [True, False]
    assert b"stream_options" in good.requests[0].body
    assert [request.value(b"x-retry-attempt") for request in (*picky.requests, *good.requests)] == [None, None, b"1"]


@pytest.mark.parametrize("events", [(CONTENT,), (ROLE, CONTENT), (COMMENT, CONTENT, ERROR)])
async def test_content_commits(
    events: tuple[bytes, ...], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """After the first content there is no way back: a stream that dies gets an error event, nobody else is asked."""
    bad, other = await upstream(once(stream(*events, end=b""))), await upstream(each(stream(WHOLE)))
    started = await line(shares=in_order(llm(bad.port), llm(other.port)))
    got = await ask(started, connect, call(STREAM))
    assert got.body.startswith(b"".join(events))
    assert json.loads(got.body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]["code"] == "upstream_closed"
    assert not got.complete
    assert not other.requests
    await idle(started)


@pytest.mark.parametrize(
    "events",
    [(STOP, DONE), (DONE,), (ROLE, CONTENT[:-2])],
    ids=["no content, but its end", "nothing but its end", "an event without its empty line"],
)
async def test_what_is_short_is_whole(
    events: tuple[bytes, ...], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An answer of no tokens is one, and so is an event whose last empty line was forgotten."""
    short, other = await upstream(each(stream(*events))), await upstream(each(stream(WHOLE)))
    started = await line(shares=in_order(llm(short.port), llm(other.port)))
    got = await ask(started, connect, call(STREAM))
    assert (got.body, got.complete) == (b"".join(events), True)
    assert not other.requests


async def test_a_stream_in_which_all_fail(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The last one's stream is passed on as it is, the error in it too."""
    bad, worse = await upstream(once(stream(ERROR))), await upstream(once(stream(COMMENT, ERROR, DONE)))
    started = await line(shares=in_order(llm(bad.port), llm(worse.port)))
    got = await ask(started, connect, call(STREAM))
    assert (got.status, got.body, got.complete) == (200, COMMENT + ERROR + DONE, True)
    await started.logged(f'attempts="127.0.0.1:{bad.port} error in stream, 127.0.0.1:{worse.port} error in stream"')
    await idle(started)


@pytest.mark.parametrize("events", [(), (COMMENT,), (ROLE,)], ids=["nothing", "only comments", "a role and no more"])
async def test_a_stream_in_which_all_are_empty(
    events: tuple[bytes, ...], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A stream without a word is nobody's answer: when all are, the client gets an error, and no empty 200."""
    first, last = await upstream(once(stream(*events))), await upstream(once(stream(*events)))
    started = await line(shares=in_order(llm(first.port, "first"), llm(last.port, "last")))
    got = await ask(started, connect, call(STREAM))
    error = json.loads(got.body)["error"]
    assert (got.status, error["code"]) == (502, "bad_upstream_answer")
    assert "tried: first (empty stream), last (empty stream)" in error["message"]
    await idle(started)


# how long it is held


LATE = {
    "dead": (b"", "upstream_closed"),
    "an error": (chunk(ERROR) + END, "error in stream"),
    "its end": (END, "empty stream"),
}


@pytest.mark.parametrize("name", LATE)
async def test_it_is_held_for_so_long(
    name: str, line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without content the client gets its signs of life after the longest hold; what fails then is only told."""
    monkeypatch.setattr(failover, "_MOST_HELD", 0.2)
    last, why = LATE[name]
    let_go = asyncio.Event()

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(stream(COMMENT, ROLE, end=b""))
            await let_go.wait()
            await wire.send(last)

        return script

    slow, other = await upstream(make), await upstream(each(stream(WHOLE)))
    started = await line(shares=in_order(llm(slow.port, "slow"), llm(other.port)))
    wire = await connect(started.port)
    begun = perf_counter()
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    assert perf_counter() - begun > 0.15
    await shows(wire, ROLE)
    let_go.set()
    await shows(wire, b'"error"')
    place = f"127.0.0.1:{slow.port}"
    await started.logged(f'attempts="{place} {why}"')
    assert started.worker.state().failures == {("slow", place, why): 1}
    assert not other.requests
    await idle(started)


async def test_so_much_is_held(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is more held than a beginning can have: the rest is passed on as it comes."""
    monkeypatch.setattr(asking, "_MOST_OCTETS", 1000)
    slow = await upstream(waiting(*[COMMENT] * 100))
    started = await line(shares=in_order(llm(slow.port, "a"), llm(slow.port, "b")))
    wire = await connect(started.port)
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    await shows(wire, COMMENT)
    assert len(slow.requests) == 1


async def test_content_is_not_held(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """With its first content the stream is the client's, and goes on event by event."""
    provider = await upstream(waiting(ROLE, CONTENT))
    started = await line(shares=in_order(llm(provider.port, "a"), llm(provider.port, "b")))
    wire = await connect(started.port)
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    await shows(wire, CONTENT)


async def test_nothing_is_held_where_nobody_could_take_over(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A lone endpoint's comments and role go out at once."""
    provider = await upstream(waiting(COMMENT))
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(call(STREAM))
    assert (await wire.head()).status == 200
    await shows(wire, COMMENT)


@pytest.mark.parametrize(
    ("timeout", "name"),
    [(Timeout(first_byte=0.2), "timeout.firstByteTimeout of 0.2 s"), (Timeout(stream_idle=0.1), "within 0.1 seconds")],
)
async def test_limits_of_a_stream(
    timeout: Timeout, name: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The first-byte and the idle timeout hold while it is held too; without another endpoint the client is told."""
    provider = await upstream(waiting(ROLE))
    started = await line(provider.port, policies=RoutePolicies(timeout=timeout, retry=Retry(attempts=0)))
    got = await ask(started, connect, call(STREAM))
    assert got.status == 504
    assert name in json.loads(got.body)["error"]["message"]
    await provider.all_ended(least=0)  # the time may be over before there is one
    await idle(started)


async def test_the_first_byte_timeout_begins_with_the_request(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A client that takes its time to send its call has not used up that of the endpoint."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(stream(ROLE, end=b""))
            await asyncio.sleep(0.05)  # the gateway begins to wait, which it tells nobody
            await wire.send(chunk(WHOLE) + END)

        return script

    provider = await upstream(make)
    started = await line(provider.port, policies=RoutePolicies(timeout=Timeout(first_byte=1.5)))
    wire = await connect(started.port)
    await wire.send(call(STREAM)[:-1])
    asleep = perf_counter() + 1.6
    await until(lambda: perf_counter() > asleep)
    await wire.send(STREAM[-1:])
    assert (await wire.message()).status == 200
    (endpoint,) = vitals(started).values()
    assert endpoint.latency < 1.5


async def test_speech_is_not_held(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What is not JSON, such as speech, goes out as it comes: its client may be listening already."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 8\r\n\r\n"

    def speaking(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(head, b"ID3.")
            await wire.rest()

        return script

    first, second = await upstream(speaking), await upstream(each(answer()))
    started = await line(shares=in_order(llm(first.port), llm(second.port)))
    wire = await connect(started.port)
    await wire.send(call(path=b"/v1/audio/speech", fields=b"Content-Type: application/json\r\n"))
    assert (await wire.head()).status == 200
