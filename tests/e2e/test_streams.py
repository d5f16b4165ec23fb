"""Streamed answers: forwarded as they arrive, byte for byte; the usage asked for and hidden; and what ends early."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, until
from tests.e2e.routes import ai_route, bind, host_route
from tests.e2e.stand_in import USAGE, StandIn, Visit, chat, completion, delta
from tests.e2e.wire import TIMEOUT, Connection, IncompleteError, events, post

STREAM: dict[str, object] = {"model": "m", "messages": [], "stream": True}
PATH = "/x/v1/chat/completions"


@pytest.fixture(scope="module")
def provider(shared_stand_in: StartStandIn) -> StandIn:
    return shared_stand_in()


@pytest.fixture(scope="module")
def running(shared_gateway: StartGateway, provider: StandIn) -> Gateway:
    host = "hostOverride: provider.example"
    text = bind([ai_route("x", host), ai_route("y", host), host_route("plain", "provider.example:80")])
    return shared_gateway(text, *provider.resolve("provider.example", 80))


@pytest.fixture(autouse=True)
def _forget(provider: StandIn) -> None:
    provider.forget()


class Steps:
    """A script that does one step each time the test says so."""

    def __init__(self, steps: Callable[[Visit], Iterator[None]]) -> None:
        self._steps = steps
        self._go = threading.Semaphore(0)

    def go(self) -> None:
        self._go.release()

    def __call__(self, visit: Visit) -> None:
        for _ in self._steps(visit):
            assert self._go.acquire(timeout=10)


def test_lockstep(running: Gateway, provider: StandIn) -> None:
    """Each event is with the client before the next is sent, in a chunk of its own."""
    texts = [f"token {number}" for number in range(20)]

    def steps(visit: Visit) -> Iterator[None]:
        visit.begin()
        for text in texts:
            visit.event(delta(text))
            yield
        visit.event(b"[DONE]")
        visit.end()

    script = provider.script = Steps(steps)
    with Connection(running.port) as connection:
        connection.request("POST", PATH, None, json.dumps(STREAM).encode())
        assert connection.start()["content-type"] == "text/event-stream"
        for text in texts:
            assert connection.reader.chunk() == b"data: " + json.dumps(delta(text)).encode() + b"\n\n"
            script.go()
        assert connection.reader.chunk() == b"data: [DONE]\n\n"
        assert connection.reader.chunk() == b""


def test_head_comes_before_the_first_event(running: Gateway, provider: StandIn) -> None:
    """The head of a streamed answer does not wait for its first event."""

    def steps(visit: Visit) -> Iterator[None]:
        visit.begin()
        yield
        visit.event(b"[DONE]")
        visit.end()

    script = provider.script = Steps(steps)
    with Connection(running.port) as connection:
        connection.request("POST", PATH, None, json.dumps(STREAM).encode())
        assert connection.start().status == 200
        script.go()
        assert connection.reader.chunk() == b"data: [DONE]\n\n"


def test_every_byte(running: Gateway, provider: StandIn) -> None:
    """Comments, unknown fields, odd line ends and events of unknown form reach the client untouched."""
    parts = [
        b": keep-alive\n\n",
        b"event: ping\r\nid: 7\r\nretry: 10\r\ndata: {}\r\n\r\n",
        b"data: " + json.dumps(delta("a")).encode() + b"\nx-vendor: 1\n\n",
        b"data:no space\n\n",
        b"data: first\ndata: second\n\n",
        b"data: " + "é☃😀".encode() + b"\n\n",
        b"\n\n\n",
        b": a comment without an end of its event\ndata: [DONE]\n\n",
    ]

    def script(visit: Visit) -> None:
        visit.begin()
        for part in parts:
            visit.chunk(part)
        visit.end()

    provider.script = script
    answer = post(running.port, PATH, STREAM)
    assert answer.body == b"".join(parts)
    assert answer.complete


@pytest.mark.parametrize("size", [1, 3, 7])
def test_events_in_pieces(size: int, running: Gateway, provider: StandIn) -> None:
    """An event that arrives in pieces is put together rightly: what the client asked for is all there, and no more."""
    data = b"".join(
        b"data: " + (json.dumps(event) if isinstance(event, dict) else event).encode() + b"\n\n"
        for event in (delta("Hello"), delta("", choices=[], usage=USAGE), "[DONE]")
    )

    def script(visit: Visit) -> None:
        visit.begin()
        for at in range(0, len(data), size):
            visit.chunk(data[at : at + size])
        visit.end()

    provider.script = script
    answer = post(running.port, PATH, STREAM)
    assert events(answer.body) == [delta("Hello"), "[DONE]"]


# --- usage ---


def test_usage_is_asked_for_and_hidden(running: Gateway, provider: StandIn) -> None:
    """A client that did not ask for the usage does not see it; the log does."""
    path = "/x/hidden/v1/chat/completions"
    answer = post(running.port, path, STREAM)
    assert provider.one.json() == {**STREAM, "model": "configured", "stream_options": {"include_usage": True}}
    assert [event["choices"][0]["delta"]["content"] for event in events(answer.body)[:-1]] == ["Hello", " there"]
    assert answer["content-length"] is None
    line = running.request_line(path)
    assert "agw.ai.time_to_first_token=" in line
    assert "gen_ai.usage.input_tokens=11 gen_ai.usage.output_tokens=7" in line


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_options_of_the_client_stay(options: Any, sent: Any, running: Gateway, provider: StandIn) -> None:
    """The client's other stream options go on beside the usage's, and the extra event is kept from it."""
    answer = post(running.port, PATH, {**STREAM, "stream_options": options})
    assert provider.one.json()["stream_options"] == sent
    assert b'"usage"' not in answer.body


def test_client_that_asked_sees_the_usage(running: Gateway, provider: StandIn) -> None:
    """A client that asked for the usage gets it, and its body goes on unchanged but for the model."""
    body = {**STREAM, "stream_options": {"include_usage": True}}
    answer = post(running.port, PATH, body)
    assert provider.one.json() == {**body, "model": "configured"}
    assert events(answer.body)[-2]["usage"] == USAGE


def test_usage_with_the_last_text_stays(running: Gateway, provider: StandIn) -> None:
    """Usage in an event that also brings text is not the extra event, and is not hidden."""

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event(delta("all", usage=USAGE))
        visit.event(b"[DONE]")
        visit.end()

    provider.script = script
    assert events(post(running.port, PATH, STREAM).body) == [delta("all", usage=USAGE), "[DONE]"]


@pytest.mark.parametrize("status", [400, 422])
def test_upstream_without_usage_option(status: int, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """An upstream that refuses `stream_options` is asked again without, and not asked for it a second time."""
    provider = stand_in()
    running = gateway(
        bind([ai_route("x", "hostOverride: provider.example")]), *provider.resolve("provider.example", 80)
    )

    def script(visit: Visit) -> None:
        if "stream_options" in visit.seen.json():
            visit.document(status, {"error": {"message": "Unknown field: stream_options"}})
        else:
            chat(visit)

    provider.script = script
    for _ in range(2):
        answer = post(running.port, PATH, STREAM)
        assert answer.status == 200
        assert events(answer.body)[-1] == "[DONE]"
    assert ["stream_options" in seen.json() for seen in provider.seen] == [True, False, False]


def test_refusal_of_another_thing(running: Gateway, provider: StandIn) -> None:
    """A 400 that does not name `stream_options` is the upstream's last word, and comes back as it is."""
    body = b'{"error": {"message": "max_tokens is too large"}}'
    provider.script = lambda visit: visit.reply(400, [("Content-Type", "application/json")], body)
    answer = post(running.port, "/y/v1/chat/completions", STREAM)
    assert (answer.status, answer.body) == (400, body)
    assert len(provider.seen) == 1


def test_refusal_that_repeats_the_request(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A refusal of something else that quotes the request, as FastAPI's do, does not end the asking for usage."""
    provider = stand_in()
    running = gateway(
        bind([ai_route("x", "hostOverride: provider.example")]), *provider.resolve("provider.example", 80)
    )

    def script(visit: Visit) -> None:
        asked = visit.seen.json()
        if "messages" in asked:
            chat(visit)
        else:
            visit.document(422, {"detail": [{"type": "missing", "loc": ["body", "messages"], "input": asked}]})

    provider.script = script
    assert post(running.port, PATH, {"model": "m", "stream": True}).status == 422
    assert post(running.port, PATH, STREAM).status == 200
    assert "stream_options" in provider.seen[-1].json()


def test_refusal_of_what_the_client_asked(running: Gateway, provider: StandIn) -> None:
    """The client that asked for the usage itself gets the upstream's refusal: it is its own to mend."""
    body = b'{"error": {"message": "Unknown field: stream_options"}}'
    provider.script = lambda visit: visit.reply(400, [], body)
    answer = post(running.port, "/y/v1/chat/completions", {**STREAM, "stream_options": {"include_usage": True}})
    assert (answer.status, answer.body) == (400, body)
    assert len(provider.seen) == 1


# --- streams that end early ---


def _cut(visit: Visit) -> None:
    visit.close()


def _break(visit: Visit) -> None:
    visit.reset()


def _garble(visit: Visit) -> None:
    visit.send(b"this is no chunk\r\n")
    visit.stall()


@pytest.mark.parametrize("end", [_cut, _break, _garble])
@pytest.mark.parametrize("half", [b"", b'data: {"half an ev'], ids=["between", "within"])
@pytest.mark.parametrize("usage", [False, True], ids=["usage-hidden", "usage-asked"])
def test_upstream_dies_mid_stream(
    usage: bool, half: bytes, end: Callable[[Visit], None], running: Gateway, provider: StandIn
) -> None:
    """One error event in OpenAI's form ends a stream that breaks off, and the last chunk never comes."""
    received = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event(delta("Hello"))
        if half:
            visit.chunk(half)
        assert received.wait(10)
        end(visit)

    provider.script = script
    with Connection(running.port) as connection:
        body = {**STREAM, "stream_options": {"include_usage": True}} if usage else STREAM
        connection.request("POST", PATH, None, json.dumps(body).encode())
        connection.start()
        got = connection.reader.chunk()
        while usage and not got.endswith(half):  # what might be the event to hide is not passed on before it is whole
            got += connection.reader.chunk()
        received.set()
        rest, ended = until_the_end(connection)
    assert not ended, "the chunk that ends a complete answer must not come"
    first, *_, last, nothing = (got + rest).split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: ")) == delta("Hello")
    assert nothing == b"", "the error event is complete"
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "api_error"
    assert "upstream" in error["message"].lower()


def until_the_end(connection: Connection) -> tuple[bytes, bool]:
    """What chunks still come, and whether the last one does."""
    got = b""
    try:
        while chunk := connection.reader.chunk():
            got += chunk
    except IncompleteError:
        return got, False
    return got, True


def test_upstream_dies_in_a_document(running: Gateway, provider: StandIn) -> None:
    """A whole answer that breaks off stays incomplete: fewer bytes than announced, and nothing added."""

    def script(visit: Visit) -> None:
        visit.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"id":')
        visit.close()

    provider.script = script
    answer = post(running.port, PATH, {**STREAM, "stream": False})
    assert not answer.complete
    assert answer.body == b'{"id":'


def test_error_event_of_the_upstream(running: Gateway, provider: StandIn) -> None:
    """An error that the upstream reports in its stream passes as it came, and is in the log."""

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event({"error": {"message": "out of memory", "code": 500}})
        visit.end()

    provider.script = script
    answer = post(running.port, PATH, STREAM)
    assert events(answer.body) == [{"error": {"message": "out of memory", "code": 500}}]
    assert "reason=UpstreamFailure" in running.wait_for_log("reported an error in its stream")


@pytest.mark.parametrize("path", [PATH, "/plain/events"])
def test_client_leaves(path: str, running: Gateway, provider: StandIn) -> None:
    """When the client leaves, its upstream connection is closed at once, and the log has a line of it."""
    left = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event(delta("Hello"))
        try:
            visit.stall()
        finally:
            left.set()

    provider.script = script
    count = running.log.count("reason=ClientClosed")
    with Connection(running.port) as connection:
        connection.request("POST", path, None, json.dumps(STREAM).encode())
        connection.start()
        connection.reader.chunk()
    assert left.wait(TIMEOUT), "the stand-in's connection is closed when the client has gone"
    running.wait_for_log("reason=ClientClosed", count + 1)


def test_client_leaves_before_the_answer(running: Gateway, provider: StandIn) -> None:
    """A client that leaves while the upstream thinks takes its upstream request with it."""
    left = threading.Event()

    def script(visit: Visit) -> None:
        try:
            visit.stall()
        finally:
            left.set()

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("POST", PATH, None, json.dumps(STREAM).encode())
        provider.wait()
    assert left.wait(TIMEOUT)


def test_slow_client_slows_its_upstream(running: Gateway, provider: StandIn) -> None:
    """A client that does not read stops its upstream instead of filling the gateway's memory."""
    sent = 0
    blocked = threading.Event()
    total = 64 * 1024 * 1024
    piece = b": " + b"x" * 65534

    def script(visit: Visit) -> None:
        nonlocal sent
        visit.begin()
        visit.sock.settimeout(1.0)
        try:
            while sent < total:
                visit.chunk(piece)
                sent += len(piece)
        except TimeoutError:
            blocked.set()
            visit.close()

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("POST", PATH, None, json.dumps(STREAM).encode())
        connection.start()
        assert blocked.wait(20), f"the upstream could send all of {total} bytes to a client that reads nothing"


# --- the upstream's own errors, and connections ---


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (
            429,
            [("Content-Type", "application/json"), ("Retry-After", "7"), ("x-ratelimit-reset", "1s")],
            b'{"error":{}}',
        ),
        (500, [("Content-Type", "text/html")], b"<h1>\xff odd</h1>"),
        (503, [], b""),
        (401, [("Content-Type", "application/json")], b'{"error":{"message":"Invalid API Key","code":401}}'),
        (307, [("Location", "https://elsewhere.example/")], b""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_upstream_errors(
    stream: bool, status: int, headers: list[tuple[str, str]], body: bytes, running: Gateway, provider: StandIn
) -> None:
    """Status, headers and body of an upstream's error come back as they came."""
    provider.script = lambda visit: visit.reply(status, headers, body)
    answer = post(running.port, PATH, {**STREAM, "stream": stream})
    assert answer.status == status
    assert answer.headers == [*headers, ("Content-Length", str(len(body)))]
    assert answer.body == body
    assert len(provider.seen) == 1


def test_stale_connection(running: Gateway, provider: StandIn) -> None:
    """A call whose pooled connection closes before any byte of an answer is sent once more, on a fresh one."""
    assert post(running.port, PATH, {"model": "m"}).status == 200
    first = provider.one.connection

    def script(visit: Visit) -> None:
        if visit.seen.connection == first:
            visit.close()
        chat(visit)

    provider.script = script
    answer = post(running.port, PATH, {"model": "m"})
    assert answer.json() == completion()
    assert [seen.connection == first for seen in provider.seen] == [True, True, False]
    assert provider.seen[1].body == provider.seen[2].body


def test_idle_connection_closed_by_the_upstream(running: Gateway, provider: StandIn) -> None:
    """An upstream that closes its idle connections is noticed, and the next request goes on a fresh one at once."""
    assert post(running.port, PATH, {}).status == 200
    provider.drop_connections()
    until(lambda: not provider.open, "the connections to close")
    assert post(running.port, PATH, {}).status == 200
    assert len(provider.seen) == 2


def test_fresh_connection_is_not_tried_again(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A fresh connection that closes without an answer is 502, not another try: the upstream may have acted."""
    provider = stand_in()
    running = gateway(
        bind([ai_route("x", "hostOverride: provider.example")]), *provider.resolve("provider.example", 80)
    )
    provider.script = lambda visit: visit.close()
    answer = post(running.port, PATH, {})
    assert answer.status == 502
    assert answer.error["code"] == "upstream_closed"
    assert len(provider.seen) == 1


def test_upstream_that_closes_after_each_answer(running: Gateway, provider: StandIn) -> None:
    """`Connection: close` of an upstream is obeyed and not passed on, and an answer without a length ends with it."""

    def script(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n")
        visit.send(json.dumps(completion()).encode())
        visit.close()

    provider.script = script
    with Connection(running.port) as connection:
        for _ in range(2):
            answer = connection.ask("POST", PATH, None, b"{}")
            assert answer.json() == completion()
            assert answer.complete
            assert answer["connection"] is None
    assert len({seen.connection for seen in provider.seen}) == 2
