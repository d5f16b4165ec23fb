"""A stream of Anthropic's events as chunks of a chat completion: which, in which order, and however it was cut."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages import CHAT_TO_MESSAGES
from torana.llm.formats.chat_to_messages.request import TELL_USAGE
from torana.llm.formats.translated_stream import ALIVE
from torana.llm.usage import Usage

COUNTS = {"input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 1}
COUNTED = Usage(5, 7, 3)
FIRST = Usage(5, 1, 3)

Chunk = dict[str, Any]


# --- the provider's side ---


def event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())


def start(**members: Any) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": COUNTS,
    }  # fmt: skip
    return event("message_start", message={**message, **members})


def opened(index: int, kind: str, **members: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **members})


def added(index: int, kind: str, **members: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **members})


def closed(index: int) -> bytes:
    return event("content_block_stop", index=index)


def text(index: int, *texts: str) -> list[bytes]:
    return [opened(index, "text", text=""), *(added(index, "text_delta", text=each) for each in texts), closed(index)]


def thought(index: int, signature: str, *texts: str) -> list[bytes]:
    deltas = [added(index, "thinking_delta", thinking=each) for each in texts]
    sealed = [added(index, "signature_delta", signature=signature)] if signature else []
    return [opened(index, "thinking", thinking="", signature=""), *deltas, *sealed, closed(index)]


def tool(index: int, call_id: str, *arguments: str, **given: Any) -> list[bytes]:
    deltas = [added(index, "input_json_delta", partial_json=each) for each in arguments]
    return [opened(index, "tool_use", id=call_id, name="f", input=given), *deltas, closed(index)]


def end(reason: str | None = "end_turn", **members: Any) -> list[bytes]:
    delta = {"stop_reason": reason, "stop_sequence": None, **members}
    return [event("message_delta", delta=delta, usage={"output_tokens": 7}), STOP]


START = start()
PING = event("ping")
STOP = event("message_stop")
SEARCH = opened(0, "server_tool_use", id="s1", name="web_search", input={})
FOUND = opened(1, "web_search_tool_result", tool_use_id="s1", content=[{"type": "web_search_result"}])


# --- the client's side ---


def chunk(finish: str | None = None, /, **delta: Any) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "msg_1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


def call(index: int, call_id: str) -> Chunk:
    function = {"name": "f", "arguments": ""}
    return chunk(tool_calls=[{"index": index, "id": call_id, "type": "function", "function": function}])


def argued(index: int, *arguments: str) -> list[Chunk]:
    return [chunk(tool_calls=[{"index": index, "function": {"arguments": each}}]) for each in arguments]


def signed(index: int, **members: Any) -> Chunk:
    return chunk(thinking_blocks=[{"index": index, **members}])


def failed(message: str, kind: str = "api_error", code: str | None = None) -> Chunk:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


DONE = "[DONE]"
ROLE = chunk(role="assistant", content="")
HELLO = chunk(content="Hello")
FINISH = chunk("stop")
CALLED = chunk("tool_calls")


def parsed(told: bytes) -> list[Any]:
    """The chunks, and DONE."""
    events = told.replace(ALIVE, b"").split(b"\n\n")
    assert events.pop() == b""
    data = [each.removeprefix(b"data: ").decode() for each in events]
    return [each if each == DONE else json.loads(each) for each in data]


class Case(NamedTuple):
    """A provider's stream, and the client's; what is learned: deltas, usage, done and error."""

    name: str
    stream: list[bytes]
    chunks: list[Any]
    learned: tuple[int, Usage | None, bool, str | None]


CUT = failed("The provider's stream ended before its answer was complete.", code="upstream_closed")
ODD = failed("The provider's stream holds an event that is not one of a message.", code="bad_upstream_answer")
BIG = json.dumps({"text": 'a "quoted" \\ line\n' * 400})
BIG_PIECES = [BIG[at : at + 7] for at in range(0, len(BIG), 7)]
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}

CASES = [
    Case("text", [START, PING, *text(0, "Hello", " you"), PING, *end()],
         [ROLE, HELLO, chunk(content=" you"), FINISH, DONE], (2, COUNTED, True, None)),
    Case("text from the start of its block", [START, opened(0, "text", text="Hello"), closed(0), *end()],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("nothing", [START, *end()], [ROLE, FINISH, DONE], (0, COUNTED, True, None)),
    Case("a limit", [START, *text(0, "Hello"), *end("max_tokens")], [ROLE, HELLO, chunk("length"), DONE],
         (1, COUNTED, True, None)),
    Case("a stop sequence", [START, *text(0, "Hello"), *end("stop_sequence", stop_sequence="#")],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("a refusal", [START, *text(0, "Hello"), *end("refusal", stop_details={"explanation": "no"})],
         [ROLE, HELLO, chunk(refusal="no"), chunk("content_filter"), DONE], (1, COUNTED, True, None)),
    Case("a refusal without words", [START, *end("refusal", stop_details=None)],
         [ROLE, chunk("content_filter"), DONE], (0, COUNTED, True, None)),
    Case("no stop_reason", [START, *text(0, "Hello"), STOP], [ROLE, HELLO, FINISH, DONE], (1, FIRST, True, None)),
    Case("no stop_reason after a call", [START, *tool(0, "t1", "{}"), STOP],
         [ROLE, call(0, "t1"), *argued(0, "{}"), CALLED, DONE], (2, FIRST, True, None)),
    Case("no message_stop", [START, *text(0, "Hello"), end()[0]], [ROLE, HELLO, FINISH, DONE],
         (1, COUNTED, False, None)),
    Case("the last event without its empty line", [START, *text(0, "Hello"), end()[0][:-2]],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, False, None)),
    Case("more after the end", [START, *text(0, "Hello"), *end(), *text(1, "Hello"), STOP],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("no message_start", [*text(0, "Hello"), *end()],
         [{**each, "id": "msg_0"} for each in (ROLE, HELLO, FINISH)] + [DONE], (1, Usage(0, 7), True, None)),
    Case("usage never",
         [start(usage=None), *text(0, "Hello"), event("message_delta", delta={"stop_reason": "end_turn"}), STOP],
         [ROLE, HELLO, FINISH, DONE], (1, None, True, None)),
    Case("a tier", [start(usage={**COUNTS, "service_tier": "priority"}), *end()],
         [{**ROLE, "service_tier": "priority"}, {**FINISH, "service_tier": "priority"}, DONE],
         (0, COUNTED, True, None)),
    Case("thoughts, then text", [START, *thought(0, "s", "h", "m"), *text(1, "Hello"), *end()],
         [ROLE, chunk(reasoning_content="h"), chunk(reasoning_content="m"), signed(0, **THINKING), HELLO, FINISH, DONE],
         (3, COUNTED, True, None)),
    Case("thoughts that nobody signed", [START, *thought(0, "", "hm"), *text(1, "Hello"), *end()],
         [ROLE, chunk(reasoning_content="hm"), HELLO, FINISH, DONE], (2, COUNTED, True, None)),
    Case("thoughts that are kept from us",
         [START, *thought(0, "s"), opened(1, "redacted_thinking", data="x"), closed(1), *text(2, "Hello"), *end()],
         [ROLE, signed(0, type="thinking", thinking="", signature="s"), signed(1, type="redacted_thinking", data="x"),
          HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("thoughts from the start of their block",
         [START, opened(0, "thinking", thinking="hm", signature="s"), closed(0), *end()],
         [ROLE, chunk(reasoning_content="hm"), signed(0, **THINKING), FINISH, DONE], (1, COUNTED, True, None)),
    Case("a call", [START, *tool(0, "t1", "", '{"x"', ":1}"), *end("tool_use")],
         [ROLE, call(0, "t1"), *argued(0, '{"x"', ":1}"), CALLED, DONE], (3, COUNTED, True, None)),
    Case("a call without arguments", [START, *tool(0, "t1", ""), *end("tool_use")],
         [ROLE, call(0, "t1"), *argued(0, "{}"), CALLED, DONE], (2, COUNTED, True, None)),
    Case("arguments from the start of their block", [START, *tool(0, "t1", x=1), *end("tool_use")],
         [ROLE, call(0, "t1"), *argued(0, '{"x": 1}'), CALLED, DONE], (2, COUNTED, True, None)),
    Case("large arguments", [START, *tool(0, "t1", *BIG_PIECES), *end("tool_use")],
         [ROLE, call(0, "t1"), *argued(0, *BIG_PIECES), CALLED, DONE], (1 + len(BIG_PIECES), COUNTED, True, None)),
    Case("text, then calls", [START, *text(0, "Hello"), *tool(1, "t1", "{}"), *tool(2, "t2", "{}"), *end("tool_use")],
         [ROLE, HELLO, call(0, "t1"), *argued(0, "{}"), call(1, "t2"), *argued(1, "{}"), CALLED, DONE],
         (5, COUNTED, True, None)),
    Case("calls that are mixed",
         [START, *tool(0, "t1", '{"x"')[:2], *tool(1, "t2", '{"y"')[:2],
          added(0, "input_json_delta", partial_json=":1}"), added(1, "input_json_delta", partial_json=":2}"),
          closed(0), closed(1), *end("tool_use")],
         [ROLE, call(0, "t1"), *argued(0, '{"x"'), call(1, "t2"), *argued(1, '{"y"'), *argued(0, ":1}"),
          *argued(1, ":2}"), CALLED, DONE], (6, COUNTED, True, None)),
    Case("a call that is cut off", [START, *tool(0, "t1", '{"x"')[:2], *end("max_tokens")],
         [ROLE, call(0, "t1"), *argued(0, '{"x"'), chunk("length"), DONE], (2, COUNTED, True, None)),
    Case("a block that is not closed", [START, *tool(0, "t1")[:1], *end("tool_use")],
         [ROLE, call(0, "t1"), *argued(0, "{}"), CALLED, DONE], (2, COUNTED, True, None)),
    Case("tools at Anthropic, and sources",
         [START, SEARCH, added(0, "input_json_delta", partial_json="{}"), closed(0), FOUND, closed(1),
          opened(2, "text", text=""), added(2, "citations_delta", citation={"type": "x"}),
          added(2, "text_delta", text="Hello"), closed(2), *end()],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("kinds to come", [START, event("message_mood", mood="good"), opened(0, "dance", steps=[1]),
                           added(0, "dance_delta", steps=2), closed(0), *text(1, "Hello"), *end()],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("a stream of nothing", [], [CUT], (0, None, False, "upstream_closed")),
    Case("nothing but the end", [STOP], [CUT], (0, None, True, "upstream_closed")),
    Case("a stream that stops", [START, *text(0, "Hello")[:2]], [ROLE, HELLO, CUT],
         (1, FIRST, False, "upstream_closed")),
    Case("an error", [START, *text(0, "Hello")[:2],
                      event("error", error={"type": "overloaded_error", "message": "busy"}), *end()],
         [ROLE, HELLO, failed("busy", "overloaded_error", "overloaded")], (1, FIRST, False, "overloaded_error")),
    Case("an error of a kind to come", [event("error", error={"type": "x", "message": "no"})], [failed("no")],
         (0, None, False, "x")),
    Case("an error without words", [event("error")], [failed("The provider's stream ended with an error.")],
         (0, None, False, "unspecified")),
    Case("what is no JSON", [START, b"data: oops\n\n", *end()], [ROLE, ODD], (0, FIRST, False, "bad_upstream_answer")),
    Case("what is no event", [b'data: {"type":"message_start","message":7}\n\n'], [ODD],
         (0, None, False, "bad_upstream_answer")),
    Case("comments and other fields", [b": ping\n\n", b"id: 1\n" + START, b"retry: 5\n\n", b"data:\n\n",
                                       b": a\n" + text(0, "Hello")[1], *end()],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("data on several lines", [START.replace(b", ", b",\ndata: "), *text(0, "Hello"), *end()],
         [ROLE, HELLO, FINISH, DONE], (1, COUNTED, True, None)),
    Case("words that look like events", [START, *text(0, "\n\ndata: [DONE]\n\n"), *end()],
         [ROLE, chunk(content="\n\ndata: [DONE]\n\n"), FINISH, DONE], (1, COUNTED, True, None)),
]  # fmt: skip

ids = [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_streams(case: Case) -> None:
    """Each stream becomes the chunks that a client of OpenAI's expects, and tells what accounting needs."""
    stream = CHAT_TO_MESSAGES.stream("m")
    told = b"".join(map(stream.feed, case.stream)) + stream.finish()
    assert parsed(told) == case.chunks
    assert (stream.deltas, stream.usage, stream.done, stream.error) == case.learned


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_streams_cut_anywhere(case: Case, ending: bytes) -> None:
    """Where the network cuts a stream, and how its lines end, changes nothing in what the client gets."""
    data = b"".join(case.stream).replace(b"\n", ending)
    step = 1 if len(data) < 5_000 else 9_973  # every byte, unless the case is a large one
    cuts = [(data[:at], data[at:]) for at in range(0, len(data) + 1, step)]
    for pieces in [*cuts, [data[at : at + 1] for at in range(len(data))]]:
        stream = CHAT_TO_MESSAGES.stream("m")
        told = b"".join(map(stream.feed, pieces)) + stream.finish()
        assert parsed(told) == case.chunks


def test_usage_is_told_to_those_who_asked() -> None:
    """With `include_usage` the last chunk tells the usage and has no choice, and every other says that it does not."""
    stream = CHAT_TO_MESSAGES.stream("m", memo=TELL_USAGE)
    *chunks, last, done = parsed(b"".join(map(stream.feed, [START, *text(0, "Hello"), *end()])) + stream.finish())
    assert chunks == [{**each, "usage": None} for each in (ROLE, HELLO, FINISH)]
    assert last == {**ROLE, "choices": [], "usage": {
        "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }}  # fmt: skip
    assert done == DONE


def test_chunks_to_the_byte() -> None:
    """The bytes are server-sent events as OpenAI writes them: one line of data, no name, all of one time."""
    stream = CHAT_TO_MESSAGES.stream(None, now=7)
    head = b'data: {"id":"msg_1","object":"chat.completion.chunk","created":7,"model":"claude-1","choices":'
    assert stream.feed(b"".join([START, *text(0, "Hello"), *end()])) == (
        head + b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
        + head + b'[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
        + head + b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )  # fmt: skip
    assert (stream.model, stream.finish(), stream.feed(START)) == ("claude-1", b"", b"")


def test_what_can_be_told_is_told_at_once() -> None:
    """No chunk waits for the next read: a word goes out in the feed that completes its event."""
    stream = CHAT_TO_MESSAGES.stream("m")
    block = text(0, "Hello")
    assert parsed(stream.feed(START)) == [ROLE]
    assert stream.deltas == 0
    assert parsed(stream.feed(block[0] + block[1])) == [HELLO]
    assert stream.deltas == 1
    assert parsed(stream.feed(block[2])) == []
    assert parsed(stream.feed(end()[0])) == [FINISH]
    assert parsed(stream.feed(STOP)) == [DONE]


def test_a_ping_goes_on() -> None:
    """Anthropic's pings are comments to a client of chat, so that nobody hangs up while Claude thinks."""
    assert CHAT_TO_MESSAGES.stream("m").feed(PING) == ALIVE


def test_a_stream_that_breaks_off() -> None:
    """After a broken connection the client gets an error and no made-up end, once."""
    stream = CHAT_TO_MESSAGES.stream("m")
    stream.feed(START + STOP[:20])
    error = GatewayError(Reason.UPSTREAM_TIMEOUT, "Too slow.", "a detail")
    assert parsed(stream.broken(error)) == [failed("Too slow.", code="upstream_timeout")]
    assert (stream.error, stream.done) == ("upstream_timeout", False)
    assert stream.broken(error) + stream.feed(STOP) + stream.finish() == b""


def test_what_comes_after_the_end_breaks_nothing() -> None:
    """An answer that was complete stays so, whatever becomes of the connection."""
    stream = CHAT_TO_MESSAGES.stream("m")
    stream.feed(b"".join([START, *end()]))
    assert stream.broken(GatewayError(Reason.UPSTREAM_CLOSED, "Closed.")) == b""
    assert stream.error is None


def test_an_event_without_end() -> None:
    """An event that grows without end is an error before it fills the memory."""
    stream = CHAT_TO_MESSAGES.stream("m")
    assert stream.feed(b"data: ") == b""
    told = [stream.feed(b"x" * 1_048_576) for _ in range(18)]
    assert parsed(b"".join(told)) == [
        failed("An event of the provider's stream is too long.", code="bad_upstream_answer")
    ]


def test_a_call_that_is_no_utf_8_breaks_nothing() -> None:
    """Arguments told with a call's beginning are read as far as they are UTF-8: a stream never raises."""
    begun = event(
        "content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {"a": "?"}}
    )
    told = CHAT_TO_MESSAGES.stream("m").feed(start() + begun.replace(b"?", b"\xff") + closed(0))
    assert '{\\"a\\":\\"\ufffd\\"}' in told.decode().replace('\\" ', '\\"').replace(": ", ":")
