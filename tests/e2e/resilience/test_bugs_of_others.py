"""Bugs that cost the users of other gateways, as rules of this one; docs/resilience.md lists where the others are."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.resilience.page import PAGE
from tests.e2e.routes import ai_route, bind
from tests.e2e.stand_in import StandIn, Visit, delta
from tests.e2e.wire import TIMEOUT, Connection, events, post

PATH = "/x/v1/chat/completions"
STREAM = {"model": "m", "messages": [], "stream": True}

_MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def provider(shared_stand_in: StartStandIn) -> StandIn:
    return shared_stand_in()


@pytest.fixture(scope="module")
def running(shared_gateway: StartGateway, provider: StandIn) -> Gateway:
    host = f'hostOverride: "127.0.0.1:{provider.port}"'
    return shared_gateway(bind([ai_route("x", host), ai_route("idle", host, "timeout: {streamIdleTimeout: 2s}")]))


@pytest.fixture(autouse=True)
def _forget(provider: StandIn) -> None:
    provider.forget()


def _streaming(*documents: object) -> Callable[[Visit], None]:
    def script(visit: Visit) -> None:
        visit.begin()
        for document in documents:
            visit.event(document)
        visit.event(b"[DONE]")
        visit.end()

    return script


def _tool_delta(arguments: str) -> dict[str, object]:
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "write", "arguments": arguments}}
    return {**delta(""), "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}


def test_long_tool_calls(running: Gateway, provider: StandIn) -> None:
    """Tool-call deltas of many kilobytes, and text beside a tool call in one turn, reach the client unchanged."""
    sent = [delta("I shall write it."), *(_tool_delta("x" * size) for size in (5_000, 20_000, 300_000))]
    provider.script = _streaming(*sent)
    assert events(post(running.port, PATH, STREAM).body) == [*sent, "[DONE]"]


def test_done_glued_to_the_last_chunk(running: Gateway, provider: StandIn) -> None:
    """`data: [DONE]` arrives byte for byte though it came in one piece with the last chunk."""
    last = b"data: " + json.dumps(delta("bye")).encode() + b"\n\ndata: [DONE]\n\n"

    def script(visit: Visit) -> None:
        visit.begin()
        visit.chunk(last)
        visit.end()

    provider.script = script
    assert post(running.port, PATH, STREAM).body == last


def test_usage_only_chunk_at_the_end(running: Gateway, provider: StandIn) -> None:
    """A last chunk of usage without choices takes nothing with it: the finish reason and each `data: ` are there."""
    stop = {**delta(""), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {**delta(""), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
    provider.script = _streaming(delta("Hi"), stop, usage)
    hidden = post(running.port, PATH, STREAM)
    shown = post(running.port, PATH, {**STREAM, "stream_options": {"include_usage": True}})
    assert events(hidden.body) == [delta("Hi"), stop, "[DONE]"]
    assert events(shown.body) == [delta("Hi"), stop, usage, "[DONE]"]


def test_unknown_fields_and_nulls(running: Gateway, provider: StandIn) -> None:
    """Id, created, model, fields nobody knows and nulls of a chunk are the upstream's own, byte for byte."""
    odd = (
        b'{"id":"x-1",  "created":1e3,"model":"their/name","vendor":{"a":null},"choices":[{"delta":{"content":null}}]}'
    )
    provider.script = _streaming(odd)
    assert post(running.port, PATH, STREAM).body == b"data: " + odd + b"\n\ndata: [DONE]\n\n"


def test_comments_keep_a_stream_open(running: Gateway, provider: StandIn) -> None:
    """A stream in which only comments come, for longer than it may be silent, stays open and ends well."""

    def script(visit: Visit) -> None:
        visit.begin()
        for _ in range(10):
            time.sleep(0.25)  # the pace of the comments is what is tested
            visit.chunk(b": still thinking\n\n")
        visit.event(delta("done"))
        visit.event(b"[DONE]")
        visit.end()

    provider.script = script
    answer = post(running.port, "/idle/v1/chat/completions", STREAM)
    assert answer.complete
    assert events(answer.body) == [delta("done"), "[DONE]"]


def test_first_byte_is_not_delayed(running: Gateway, provider: StandIn) -> None:
    """Of a stream of 5 ms a token, the first content is with the client before more than half of them are sent."""
    received = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        for number in range(60):
            visit.event(delta(f"token {number}"))
            time.sleep(0.005)  # the pace of the tokens is what is tested
            assert number != 30 or received.wait(TIMEOUT), "the first content is held back"
        visit.event(b"[DONE]")
        visit.end()

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("POST", PATH, None, json.dumps(STREAM).encode())
        connection.start()
        got = connection.reader.chunk()
        received.set()
        while chunk := connection.reader.chunk():
            got += chunk
    assert events(got)[-1] == "[DONE]"


def test_large_embedding_answer(running: Gateway, provider: StandIn) -> None:
    """20 MiB of embeddings come back, every byte of them, and their usage is in the log."""
    vectors = [{"object": "embedding", "index": 0, "embedding": "A" * (20 * _MEBIBYTE)}]
    usage = {"prompt_tokens": 31, "total_tokens": 31}
    body = json.dumps({"object": "list", "data": vectors, "model": "large-embedding", "usage": usage}).encode()
    provider.script = lambda visit: visit.reply(200, [("Content-Type", "application/json")], body)
    answer = post(running.port, "/x/v1/embeddings", {"model": "m", "input": ["a"]})
    assert answer.body == body
    assert "input_tokens=31" in running.wait_for_log("gen_ai.response.model=large-embedding")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_clients_own_mistakes(status: int, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A 400, 404 or 422 is the client's to see, as it came: nobody else is asked, and it becomes no 5xx and no 200."""
    refusing, other = stand_in(), stand_in()
    refusing.script = lambda visit: visit.reply(status, [("X-Why", "yours")], b'{"error":{"message":"no"}}')
    groups = ", ".join(
        f'{{providers: [{{hostOverride: "127.0.0.1:{one.port}", provider: {{openAI: {{}}}}}}]}}'
        for one in (refusing, other)
    )
    running = gateway(bind([f"    - backends: [{{ai: {{groups: [{groups}]}}}}]\n"]))
    answer = post(running.port, "/v1/chat/completions", {"model": "m"})
    assert (answer.status, answer["x-why"], answer.body) == (status, "yours", b'{"error":{"message":"no"}}')
    assert not other.seen


def test_each_test_on_the_page_is_there() -> None:
    """The tests that docs/resilience.md names for the bugs of others exist."""
    _, _, text = PAGE.read_text().partition("## Bugs of others")
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", text)
    assert len(named) > 20
    root = Path(PAGE).parents[1]
    missing = [f"{file}::{name}" for file, name in named if not re.search(rf"def {name}\(", (root / file).read_text())]
    assert not missing
