"""What upstreams answer, right and wrong, and what the client gets of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.calls import ask
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import Message, Pipe, Script, Upstream, Wire, cut_at, each, feed
from tests.loops import new_loop
from torana.http.client import UpstreamConnection
from torana.http.message import Framing
from torana.http.sweep import Sweep
from torana.model.backend import Backend, Provider, ProviderKind, Target
from torana.model.config import Settings
from torana.model.policy import BackendAuth, HeaderModifier, RoutePolicies, Timeout
from torana.model.secret import Secret

_CHAT = b'{"model":"m","messages":[]}'
_STREAM = b'{"model":"m","messages":[],"stream":true}'


def _post(body: bytes = _CHAT, fields: bytes = b"") -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n"
    return head % (len(body), fields) + body


# answers that are right


class Got(NamedTuple):
    """An answer as it comes out of an UpstreamConnection."""

    status: int
    framing: Framing
    body: bytes
    reusable: bool
    method: bytes = b"GET"


_HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n"

GOOD: dict[str, tuple[bytes, Got]] = {
    "length": (_HELLO, Got(200, Framing.LENGTH, b"hello", True)),
    "length zero": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Got(200, Framing.LENGTH, b"", True)),
    "no phrase": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Got(200, Framing.LENGTH, b"", True)),
    "chunks": (b"HTTP/1.1 200 OK\r\n" + _CHUNKS + b"\r\n", Got(200, Framing.CHUNKED, b"hello world", True)),
    "trailers": (b"HTTP/1.1 200 OK\r\n" + _CHUNKS + b"X-T: 1\r\n\r\n", Got(200, Framing.CHUNKED, b"hello world", True)),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nhello", Got(200, Framing.CLOSE, b"hello", False)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Got(200, Framing.LENGTH, b"hello", False)),
    "HTTP/1.0 kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        Got(200, Framing.LENGTH, b"hello", True),
    ),
    "close": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        Got(200, Framing.LENGTH, b"hello", False),
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Got(204, Framing.NONE, b"", True)),
    "204 and close": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", Got(204, Framing.NONE, b"", False)),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Got(304, Framing.NONE, b"", True)),
    "HEAD": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Got(200, Framing.NONE, b"", False, b"HEAD")),
    "HEAD without length": (b"HTTP/1.1 200 OK\r\n\r\n", Got(200, Framing.NONE, b"", False, b"HEAD")),
    "HEAD, chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Got(200, Framing.NONE, b"", False, b"HEAD"),
    ),
    "HEAD with a body all the same": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Got(200, Framing.NONE, b"", False, b"HEAD"),
    ),
    "interim answers first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _HELLO,
        Got(200, Framing.LENGTH, b"hello", True),
    ),
    "an offer to upgrade, as Apache makes it": (
        b"HTTP/1.1 200 OK\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
        Got(200, Framing.LENGTH, b"hello", True),
    ),
}


def _answer(pieces: list[bytes], method: bytes) -> Got:
    async def run() -> Got:
        connection = UpstreamConnection(Sweep(), 60)
        pipe = Pipe()
        connection.connection_made(pipe)
        connection.send(b"", method)
        await feed(connection, pipe, pieces)
        if pieces and connection._framing is Framing.CLOSE:
            connection.connection_lost(None)
        head = await connection.answer()
        body = await connection.body.gather(1000)
        return Got(head.status, head.framing, body, connection.reusable, method)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_read(name: str) -> None:
    """An answer means what RFC 9112 says, in one piece and byte by byte."""
    data, expected = GOOD[name]
    assert _answer([data], expected.method) == expected
    assert _answer([data[i : i + 1] for i in range(len(data))], expected.method) == expected


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(0, 10_000), max_size=6))
@settings(deadline=None, max_examples=150)
def test_an_answer_is_read_however_it_is_split(name: str, places: list[int]) -> None:
    """It means the same wherever it is cut."""
    data, expected = GOOD[name]
    assert _answer(cut_at(data, places), expected.method) == expected


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("byte_by_byte", [False, True], ids=["whole", "bytes"])
async def test_the_client_gets_the_same_body(
    name: str, byte_by_byte: bool, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Status and body come through, whatever the framing on the way."""
    data, expected = GOOD[name]

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(*((data[i : i + 1] for i in range(len(data))) if byte_by_byte else (data,)))

        return script

    started = await line((await upstream(make)).port, plain=True)
    wire = await connect(started.port)
    for _ in range(2):  # twice, because what is left over from an answer would show in the next
        await wire.send(expected.method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await wire.message(bodiless=expected.method == b"HEAD")
        assert (answer.status, answer.body, answer.complete) == (expected.status, expected.body, True)
        assert not answer.names & {b"x-t", b"upgrade", b"link"}


# answers that are wrong


class Wrong(NamedTuple):
    """What the upstream sends before it closes, and the status the client gets."""

    data: bytes
    status: int = 502
    code: str = "bad_upstream_answer"


WRONG: dict[str, Wrong] = {
    "nothing": Wrong(b"", code="upstream_closed"),
    "half a head": Wrong(b"HTTP/1.1 200 OK\r\nContent-Le", code="upstream_closed"),
    "an interim answer only": Wrong(b"HTTP/1.1 100 Continue\r\n\r\n", code="upstream_closed"),
    "garbage": Wrong(b"\x15\x03\x01\x00\x02\x02\x46"),
    "SSH": Wrong(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "LF only": Wrong(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "HTTP/3.9": Wrong(b"HTTP/3.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "status 99": Wrong(b"HTTP/1.1 99 No\r\nContent-Length: 0\r\n\r\n"),
    "status of letters": Wrong(b"HTTP/1.1 OK OK\r\nContent-Length: 0\r\n\r\n"),
    "both lengths": Wrong(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "both lengths, turned": Wrong(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": Wrong(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "a length list": Wrong(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"),
    "another coding": Wrong(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "an unknown coding": Wrong(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nhello"),
    "101": Wrong(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
    "101 without Upgrade": Wrong(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "NUL in a value": Wrong(b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    "obs-fold": Wrong(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    "a space before the colon": Wrong(b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    "2,000 fields": Wrong(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000 + b"Content-Length: 0\r\n\r\n"),
    "a field without end": Wrong(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000),
    "interim answers without end": Wrong(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 20_000),
}


@pytest.mark.parametrize("name", WRONG)
async def test_an_answer_that_is_none(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """502 in OpenAI's form, the client's connection stays usable, the upstream's does not."""
    wrong = WRONG[name]
    provider = await upstream(_once(wrong.data))
    started = await line(provider.port)
    wire = await connect(started.port)
    for _ in range(2):
        await wire.send(_post())
        answer = await wire.message()
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (wrong.status, wrong.code)
        assert answer.value(b"connection") is None
    assert len(provider.wires) == 2
    await started.logged("reason=UpstreamFailure")


def _once(data: bytes) -> Callable[[Upstream], Script]:
    """One request, these bytes, the end."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(data)

        return script

    return make


_EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
_SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

BROKEN: dict[str, tuple[bytes, bytes]] = {
    "in a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"hello"),
    "in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello", b"hello"),
    "between chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"hello"),
    "before the last CRLF": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"hello"),
    "by a bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", b"hello"),
    "in an error's body": (b"HTTP/1.1 429 Slow\r\nContent-Length: 10\r\n\r\nhello", b"hello"),
    "by a trailer without end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: " + b"y" * 1_000_000,
        b"hello",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_body_that_breaks_off(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What had come goes out, and the connection is cut without an ending: nobody takes it for complete."""
    data, body = BROKEN[name]
    started = await line((await upstream(_once(data))).port)
    wire = await connect(started.port)
    await wire.send(_post() + b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await wire.message()
    assert (answer.body, answer.complete) == (body, False)
    assert await wire.rest() == b""
    await started.logged("reason=UpstreamFailure")


@pytest.mark.parametrize(
    ("framing", "sent", "before"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT), _EVENT),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b" % (len(_EVENT), _EVENT[:20]), b""),
        (b"Content-Length: 1000\r\n\r\n", _EVENT, _EVENT),
    ],
    ids=["between events", "in an event", "in a length"],
)
async def test_a_stream_that_breaks_off(
    framing: bytes, sent: bytes, before: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A stream of events gets one event in OpenAI's form that says so, and then is cut."""
    started = await line((await upstream(_once(_SSE + framing + sent))).port)
    wire = await connect(started.port)
    await wire.send(_post(_STREAM))
    answer = await wire.message()
    assert not answer.complete
    assert answer.body.startswith(before)
    events = [event for event in answer.body.split(b"\n\n") if event]
    assert json.loads(events[-1].removeprefix(b"data: "))["error"]["code"] == "upstream_closed"
    assert len([event for event in events if b'"error"' in event]) == 1


async def test_an_upstream_that_never_answers(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """After answer_timeout without a byte: 504, which says for how long."""
    provider = await upstream(_silent)
    started = await line(provider.port, settings=Settings(ipv6=False, answer_timeout=0.1))
    wire = await connect(started.port)
    await wire.send(_post())
    answer = await wire.message()
    assert answer.status == 504
    assert "0.1 seconds" in json.loads(answer.body)["error"]["message"]
    await provider.all_ended()


def _silent(provider: Upstream) -> Script:
    async def script(wire: Wire) -> None:
        await provider.take(wire)
        await wire.rest()

    return script


async def test_an_upstream_that_falls_silent(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Silence in the middle of an answer has the same limit, and cuts it."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(_SSE + b"Content-Length: 1000\r\n\r\n" + _EVENT)
            await wire.rest()

        return script

    started = await line((await upstream(make)).port, settings=Settings(ipv6=False, answer_timeout=0.1))
    wire = await connect(started.port)
    await wire.send(_post(_STREAM))
    answer = await wire.message()
    assert not answer.complete
    assert b"upstream_timeout" in answer.body


@pytest.mark.parametrize(
    ("timeout", "own", "named"),
    [
        (Timeout(request=0.05), None, "timeout.requestTimeout of 0.05 s"),
        (Timeout(request=5.0, backend_request=0.05), None, "timeout.backendRequestTimeout of 0.05 s"),
        (Timeout(request=5.0, backend_request=0.05), 4.0, "timeout.backendRequestTimeout of 0.05 s"),
        (Timeout(request=5.0, backend_request=4.0), 0.05, "http.requestTimeout of 0.05 s"),
        (None, 0.05, "http.requestTimeout of 0.05 s"),
    ],
)
async def test_a_policy_that_waits_less(
    timeout: Timeout | None, own: float | None, named: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The shortest of the route's timeouts and the backend's ends the wait with 504, which names it."""
    provider = await upstream(_silent)
    target = Target("127.0.0.1", provider.port)
    backend = Backend("up", target, provider=Provider(ProviderKind.OPENAI), request_timeout=own)
    started = await line(0, backend=backend, policies=RoutePolicies(timeout=timeout))
    wire = await connect(started.port)
    await wire.send(_post())
    answer = await wire.message()
    assert (answer.status, named in json.loads(answer.body)["error"]["message"]) == (504, True)
    await provider.all_ended(least=0)  # the time may be over before there is one


async def test_an_answer_before_the_request_is_complete(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """An early answer goes out whole, and both connections end, since the request never will."""

    def make(_: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever")
            await wire.rest()

        return script

    provider = await upstream(make)
    started = await line(provider.port, plain=True)
    wire = await connect(started.port)
    await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegin")
    answer = await wire.message()
    assert (answer.status, answer.body, answer.value(b"connection")) == (403, b"never", b"close")
    assert await wire.rest() == b""
    await provider.all_ended()


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_streamed_body_goes_on_in_the_same_framing(
    framing: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A body nobody reads goes on as it arrives, told by its length if it has one, else in chunks."""
    provider = await upstream(each(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    wire = await connect((await line(provider.port, plain=True)).port)
    await wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
    await asyncio.sleep(0.01)
    await wire.send(b"hello" if b"Length" in framing else b"5\r\nhello\r\n0\r\n\r\n")
    assert (await wire.message()).status == 200
    request = provider.requests[0]
    assert (request.body, request.complete) == (b"hello", True)
    assert (b"content-length" in request.names) == (b"Length" in framing)


async def test_a_request_that_breaks_off_breaks_off_upstream(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A streamed body that turns out bad is answered 400, and never completed upstream."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)

        return script

    provider = await upstream(make)
    wire = await connect((await line(provider.port, plain=True)).port)
    await wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await asyncio.sleep(0.01)
    await wire.send(b"zz\r\n")
    assert (await wire.message()).status == 400
    assert await wire.rest() == b""
    await provider.all_ended()
    assert not provider.requests[0].complete


async def test_compressed_answers_pass_untouched(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A gzip body goes out byte for byte, and its usage is read all the same."""
    usage = {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}
    body = gzip.compress(json.dumps({"model": "m-1", "choices": [], "usage": usage}).encode())
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    provider = await upstream(each(head % len(body) + body))
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(_post(fields=b"Accept-Encoding: br, gzip;q=0.5\r\n"))
    answer = await wire.message()
    assert (answer.body, answer.value(b"content-encoding")) == (body, b"gzip")
    assert provider.requests[0].value(b"accept-encoding") == b"gzip;q=0.5"
    await started.logged("input_tokens=12")


# fields of one hop


async def test_fields_of_one_hop_go_no_further(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What speaks about a connection, by itself or because `Connection` names it, is dropped both ways."""
    hop = (
        b"Connection: X-Hop, keep-alive, Content-Length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n"
        b"Trailer: X-T\r\nUpgrade: x\r\nProxy-Connection: y\r\nProxy-Authenticate: z\r\nProxy-Authorization: z\r\n"
    )
    end = b"X-End: 1\r\nx-end: 2\r\n"
    provider = await upstream(each(b"HTTP/1.1 200 OK\r\n" + hop + end + b"Content-Length: 2\r\n\r\nok"))
    wire = await connect((await line(provider.port, plain=True)).port)
    await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + hop + end + b"Content-Length: 2\r\n\r\nhi")
    answer = await wire.message()
    request = provider.requests[0]

    def told(message: Message) -> list[tuple[bytes, bytes]]:
        return [field for field in message.fields if field[0] != b"host"]

    assert (answer.body, request.body) == (b"ok", b"hi")
    expected = [(b"x-end", b"1"), (b"x-end", b"2"), (b"content-length", b"2")]
    assert (told(request), told(answer)) == (expected, expected)


async def test_connection_takes_no_rule_away(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What the gateway's rules add goes on, whatever the `Connection` of the message it is added to names."""
    hop = b"Connection: x-tenant, x-own, authorization, cookie\r\nX-Tenant: sent\r\nAuthorization: x\r\nCookie: a=1\r\n"
    provider = await upstream(each(b"HTTP/1.1 200 OK\r\n" + hop + b"Content-Length: 0\r\n\r\n"))
    rule = HeaderModifier(set=(("x-tenant", "ours"),))
    backend = Backend(
        "it",
        Target("127.0.0.1", provider.port),
        auth=BackendAuth(Secret("k")),
        request_headers=HeaderModifier(add=(("x-own", "1"),)),
    )
    started = await line(backend=backend, policies=RoutePolicies(request_headers=rule, response_headers=rule))
    answer = await ask(started, connect, b"GET / HTTP/1.1\r\nHost: a\r\n" + hop + b"\r\n")
    (request,) = provider.requests
    assert request.fields[1:] == [(b"authorization", b"Bearer k"), (b"x-tenant", b"ours"), (b"x-own", b"1")]
    assert answer.fields == [(b"content-length", b"0"), (b"x-tenant", b"ours")]


async def test_an_empty_post_says_so(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """`content-length: 0` goes on; a GET without a length goes on without one."""
    provider = await upstream(each(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    wire = await connect((await line(provider.port, plain=True)).port)
    await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await wire.message()
    await wire.message()
    assert [request.value(b"content-length") for request in provider.requests] == [b"0", None]
