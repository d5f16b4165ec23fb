"""A stream of chat completion chunks as the events of a message: which, in which order, and however it was cut."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT
from torana.llm.formats.translated_stream import ALIVE
from torana.llm.usage import Usage

NOTHING = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
COUNTS = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
COUNTED = {**NOTHING, "input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 2}
READ = Usage(5, 2, 3)

Event = dict[str, Any]


# --- the provider's side ---


def chunk(**members: Any) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "model": "m-1", **members}, separators=(",", ":")).encode() + b"\n\n"


def delta(finish: str | None = None, /, **members: Any) -> bytes:
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": finish}])


def call(index: int | None, arguments: Any = None, name: str | None = None, call_id: str | None = None) -> bytes:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    members = {key: value for key, value in (("index", index), ("id", call_id)) if value is not None}
    return delta(tool_calls=[{**members, "function": function}])


ROLE = delta(role="assistant", content="")
HELLO = delta(content="Hello")
STOP = delta("stop")
CALLED = delta("tool_calls")
USAGE = chunk(choices=[], usage=COUNTS)
DONE = b"data: [DONE]\n\n"


# --- the client's side ---


def start(usage: dict[str, Any] | None = None) -> Event:
    message: dict[str, Any] = {
        "type": "message", "id": "c1", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": usage or NOTHING,
    }  # fmt: skip
    return {"type": "message_start", "message": message}


def opened(index: int, kind: str, **members: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **members}}


def added(index: int, kind: str, **members: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def closed(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def text(index: int, *texts: str) -> list[Event]:
    return [opened(index, "text", text=""), *(added(index, "text_delta", text=each) for each in texts), closed(index)]


def thought(index: int, signature: str, *texts: str) -> list[Event]:
    deltas = [added(index, "thinking_delta", thinking=each) for each in texts]
    sealed = [added(index, "signature_delta", signature=signature)] if signature else []
    return [opened(index, "thinking", thinking="", signature=""), *deltas, *sealed, closed(index)]


def tool(index: int, call_id: str, name: str) -> Event:
    return opened(index, "tool_use", id=call_id, name=name, input={})


def given(index: int, *arguments: str) -> list[Event]:
    return [added(index, "input_json_delta", partial_json=each) for each in arguments]


def end(reason: str = "end_turn", usage: dict[str, Any] | None = None, sequence: str | None = None) -> list[Event]:
    stop = {"stop_reason": reason, "stop_sequence": sequence}
    return [{"type": "message_delta", "delta": stop, "usage": usage or NOTHING}, {"type": "message_stop"}]


def failed(kind: str, message: str) -> Event:
    return {"type": "error", "error": {"type": kind, "message": message}}


def parsed(told: bytes) -> list[Event]:
    """The events, whose name and type must be the same and which must stand on lines of their own."""
    events = []
    for event in told.replace(ALIVE, b"").split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        value = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + value["type"].encode()
        events.append(value)
    assert not told or told.endswith(b"\n\n")
    return events


class Case(NamedTuple):
    """A provider's stream, and the client's; what is learned: deltas, usage, done and error."""

    name: str
    stream: list[bytes]
    events: list[Event]
    learned: tuple[int, Usage | None, bool, str | None]


CUT = "The provider's stream ended before its answer was complete."
ODD = "The provider's stream holds an event that is not a chunk of a chat completion."
UNNAMED = "The provider's model called a tool without naming it."
BIG = json.dumps({"text": 'a "quoted" \\ line\n' * 400})

CASES = [
    Case("text", [ROLE, HELLO, delta(content=" you"), STOP, USAGE, DONE],
         [start(), *text(0, "Hello", " you"), *end(usage=COUNTED)], (2, READ, True, None)),
    Case("usage never", [ROLE, HELLO, STOP, DONE], [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("usage with the end", [HELLO, chunk(choices=[{"delta": {}, "finish_reason": "stop"}], usage=COUNTS), DONE],
         [start(), *text(0, "Hello"), *end(usage=COUNTED)], (1, READ, True, None)),
    Case("usage in the choice", [HELLO, chunk(choices=[{"delta": {}, "finish_reason": "stop", "usage": COUNTS}]), DONE],
         [start(), *text(0, "Hello"), *end(usage=COUNTED)], (1, READ, True, None)),
    Case("usage from the start",
         [chunk(choices=[{"delta": {"content": "Hello"}}], usage={"prompt_tokens": 5, "completion_tokens": 1}), STOP,
          USAGE, DONE],
         [start({**NOTHING, "input_tokens": 5, "output_tokens": 1}), *text(0, "Hello"), *end(usage=COUNTED)],
         (1, READ, True, None)),
    Case("no [DONE]", [HELLO, STOP], [start(), *text(0, "Hello"), *end()], (1, None, False, None)),
    Case("no [DONE] but usage", [HELLO, STOP, USAGE], [start(), *text(0, "Hello"), *end(usage=COUNTED)],
         (1, READ, False, None)),
    Case("no finish_reason", [HELLO, DONE], [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("the last event without its empty line", [HELLO, STOP[:-2]], [start(), *text(0, "Hello"), *end()],
         (1, None, False, None)),
    Case("more after the end", [HELLO, STOP, DONE, HELLO, DONE], [start(), *text(0, "Hello"), *end()],
         (1, None, True, None)),
    Case("content null", [delta(role="assistant", content=None), HELLO, delta("stop", content=None), DONE],
         [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("content absent", [delta(role="assistant"), STOP, DONE], [start(), *end()], (0, None, True, None)),
    Case("delta absent", [chunk(choices=[{"index": 0, "finish_reason": "stop"}]), DONE], [start(), *end()],
         (0, None, True, None)),
    Case("no choices first", [chunk(id="", model="", choices=[], prompt_filter_results=[]), HELLO, STOP, DONE],
         [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("other choices are not the answer", [HELLO, chunk(choices=[{"index": 1, "delta": {"content": "x"}}]), STOP],
         [start(), *text(0, "Hello"), *end()], (1, None, False, None)),
    Case("text with the end", [delta("length", content="Hello"), DONE],
         [start(), *text(0, "Hello"), *end("max_tokens")], (1, None, True, None)),
    Case("a filter", [HELLO, delta("content_filter"), DONE], [start(), *text(0, "Hello"), *end("refusal")],
         (1, None, True, None)),
    Case("a refusal", [delta(refusal="no"), STOP, DONE], [start(), *text(0, "no"), *end("refusal")],
         (1, None, True, None)),
    Case("a stop sequence",
         [HELLO, chunk(choices=[{"delta": {}, "finish_reason": "stop", "stop_reason": "###"}]), DONE],
         [start(), *text(0, "Hello"), *end("stop_sequence", sequence="###")], (1, None, True, None)),
    Case("thoughts, then text", [delta(reasoning_content="h"), delta(reasoning_content="m"), HELLO, STOP, DONE],
         [start(), *thought(0, "reasoning_content", "h", "m"), *text(1, "Hello"), *end()], (3, None, True, None)),
    Case("thoughts by their newer name", [delta(reasoning="hm", content=""), HELLO, STOP, DONE],
         [start(), *thought(0, "reasoning", "hm"), *text(1, "Hello"), *end()], (2, None, True, None)),
    Case("thoughts in parts", [delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
                               HELLO, STOP, DONE],
         [start(), *thought(0, "", "hm"), *text(1, "Hello"), *end()], (2, None, True, None)),
    Case("thoughts, text, thoughts", [delta(reasoning="a"), HELLO, delta(reasoning="b"), STOP, DONE],
         [start(), *thought(0, "reasoning", "a"), *text(1, "Hello"), *thought(2, "reasoning", "b"), *end()],
         (3, None, True, None)),
    Case("a call", [ROLE, call(0, "", "f", "t1"), call(0, '{"x"'), call(0, ":1}"), CALLED, USAGE, DONE],
         [start(), tool(0, "t1", "f"), *given(0, '{"x"', ":1}"), closed(0), *end("tool_use", COUNTED)],
         (3, READ, True, None)),
    Case("a call at once", [call(0, '{"x":1}', "f", "t1"), delta("stop"), DONE],
         [start(), tool(0, "t1", "f"), *given(0, '{"x":1}'), closed(0), *end("tool_use")], (1, None, True, None)),
    Case("a call without arguments", [call(0, None, "f", "t1"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), closed(0), *end("tool_use")], (1, None, True, None)),
    Case("arguments as an object", [call(0, {"x": 1}, "f", "t1"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, '{"x":1}'), closed(0), *end("tool_use")], (1, None, True, None)),
    Case("large arguments", [call(0, "", "f", "t1"), *(call(0, BIG[at : at + 7]) for at in range(0, len(BIG), 7)),
                             CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, *(BIG[at : at + 7] for at in range(0, len(BIG), 7))), closed(0),
          *end("tool_use")], (1 + -(-len(BIG) // 7), None, True, None)),
    Case("text, then a call", [HELLO, call(0, "{}", "f", "t1"), CALLED, DONE],
         [start(), *text(0, "Hello"), tool(1, "t1", "f"), *given(1, "{}"), closed(1), *end("tool_use")],
         (2, None, True, None)),
    Case("a call, then text", [call(0, "{}", "f", "t1"), HELLO, CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, "{}"), closed(0), *text(1, "Hello"), *end("tool_use")],
         (2, None, True, None)),
    Case("one call after the other",
         [call(0, "", "f", "t1"), call(0, "{}"), call(1, "", "g", "t2"), call(1, '{"y":2}'), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, "{}"), closed(0), tool(1, "t2", "g"), *given(1, '{"y":2}'), closed(1),
          *end("tool_use")], (4, None, True, None)),
    Case("calls that are mixed",
         [call(0, '{"x"', "f", "t1"), call(1, '{"y"', "g", "t2"), call(0, ":1}"), call(1, ":2}"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, '{"x"'), tool(1, "t2", "g"), *given(1, '{"y"'), *given(0, ":1}"),
          *given(1, ":2}"), closed(0), closed(1), *end("tool_use")], (4, None, True, None)),
    Case("two calls in one chunk",
         [delta(tool_calls=[{"index": index, "id": f"t{index}", "function": {"name": "f", "arguments": "{}"}}
                            for index in (0, 1)]), CALLED, DONE],
         [start(), tool(0, "t0", "f"), *given(0, "{}"), closed(0), tool(1, "t1", "f"), *given(1, "{}"), closed(1),
          *end("tool_use")], (1, None, True, None)),
    Case("calls that are all number 0", [call(0, "{}", "f", "t1"), call(0, "{}", "f", "t2"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, "{}"), closed(0), tool(1, "t2", "f"), *given(1, "{}"), closed(1),
          *end("tool_use")], (2, None, True, None)),
    Case("calls without numbers and ids", [call(None, "{}", "f"), call(None, '{"x"', "g"), call(None, ":1}"), CALLED],
         [start(), tool(0, "c1_0", "f"), *given(0, "{}"), closed(0), tool(1, "c1_1", "g"), *given(1, '{"x"', ":1}"),
          closed(1), *end("tool_use")], (3, None, False, None)),
    Case("an id of its own with every piece", [call(0, "", "f", "t1"), call(0, "{}", None, "t2"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, "{}"), closed(0), *end("tool_use")], (2, None, True, None)),
    Case("a name that comes late", [call(0, '{"x"', None, "t1"), call(0, ":1}", "f"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, '{"x":1}'), closed(0), *end("tool_use")], (1, None, True, None)),
    Case("a name told twice", [call(0, "{", "f", "t1"), call(0, "}", "f", "t1"), CALLED, DONE],
         [start(), tool(0, "t1", "f"), *given(0, "{", "}"), closed(0), *end("tool_use")], (2, None, True, None)),
    Case("a name that never comes", [call(0, "{}", None, "t1"), CALLED, DONE],
         [start(), failed("api_error", UNNAMED)], (0, None, False, "bad_upstream_answer")),
    Case("arguments cut off", [call(0, '{"x"', "f", "t1"), delta("length"), DONE],
         [start(), tool(0, "t1", "f"), *given(0, '{"x"'), closed(0), *end("max_tokens")], (1, None, True, None)),
    Case("a stream of nothing", [], [failed("api_error", CUT)], (0, None, False, "upstream_closed")),
    Case("nothing but [DONE]", [DONE], [failed("api_error", CUT)], (0, None, True, "upstream_closed")),
    Case("a stream that stops", [ROLE, HELLO], [start(), *text(0, "Hello")[:2], failed("api_error", CUT)],
         (1, None, False, "upstream_closed")),
    Case("an error", [HELLO, chunk(error={"message": "busy", "code": 503}), HELLO, DONE],
         [start(), *text(0, "Hello")[:2], failed("overloaded_error", "busy")], (1, None, False, "503")),
    Case("an error at once", [b'data: {"error":{"message":"no","type":"invalid_request_error","code":"x"}}\n\n'],
         [failed("invalid_request_error", "no")], (0, None, False, "invalid_request_error x")),
    Case("an error of an unknown kind", [b'event: error\ndata: {"error":{"type":["x"],"message":"no"}}\n\n'],
         [failed("api_error", "no")], (0, None, False, "unspecified")),
    Case("an error without words", [b'data: {"error":{}}\n\n'],
         [failed("api_error", "The provider's stream ended with an error.")], (0, None, False, "unspecified")),
    Case("an error in vLLM's older form", [b'data: {"object":"error","message":"no","code":400}\n\n'],
         [failed("api_error", "no")], (0, None, False, "unspecified")),
    Case("what is no JSON", [ROLE, b"data: oops\n\n", HELLO], [start(), failed("api_error", ODD)],
         (0, None, False, "bad_upstream_answer")),
    Case("what is no chunk", [b'data: {"choices":7}\n\n'], [failed("api_error", ODD)],
         (0, None, False, "bad_upstream_answer")),
    Case("comments and other fields", [b": ping\n\n", b"event: x\nid: 1\n" + HELLO, b"retry: 5\n\n", b"data:\n\n",
                                       b": a\n: b\n" + STOP, DONE],
         [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("no space after data", [HELLO.replace(b": ", b":", 1), STOP, b"data:[DONE]\n\n"],
         [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("data on several lines", [HELLO.replace(b",", b",\ndata: "), STOP, DONE],
         [start(), *text(0, "Hello"), *end()], (1, None, True, None)),
    Case("words that look like events", [delta(content="\n\ndata: [DONE]\n\n"), STOP, DONE],
         [start(), *text(0, "\n\ndata: [DONE]\n\n"), *end()], (1, None, True, None)),
]  # fmt: skip

ids = [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_streams(case: Case) -> None:
    """Each stream becomes the events that a client of Anthropic's expects, and tells what accounting needs."""
    stream = MESSAGES_TO_CHAT.stream("m")
    told = b"".join(map(stream.feed, case.stream)) + stream.finish()
    assert parsed(told) == case.events
    assert (stream.deltas, stream.usage, stream.done, stream.error) == case.learned


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_streams_cut_anywhere(case: Case, ending: bytes) -> None:
    """Where the network cuts a stream, and how its lines end, changes nothing in what the client gets."""
    data = b"".join(case.stream).replace(b"\n", ending)
    step = 1 if len(data) < 5_000 else 9_973  # every byte, unless the case is a large one
    cuts = [(data[:at], data[at:]) for at in range(0, len(data) + 1, step)]
    for pieces in [*cuts, [data[at : at + 1] for at in range(len(data))]]:
        stream = MESSAGES_TO_CHAT.stream("m")
        told = b"".join(map(stream.feed, pieces)) + stream.finish()
        assert parsed(told) == case.events


def test_events_to_the_byte() -> None:
    """The bytes are server-sent events as Anthropic writes them: a name, one line of data."""
    stream = MESSAGES_TO_CHAT.stream(None)
    assert stream.feed(HELLO + STOP + DONE) == (
        b'event: message_start\ndata: {"type":"message_start","message":{"type":"message","id":"c1",'
        b'"role":"assistant","model":"m-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        b'{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
        b'{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
        b'{"type":"text_delta","text":"Hello"}}\n\n'
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    assert (stream.model, stream.finish(), stream.feed(HELLO)) == ("m-1", b"", b"")


def test_what_can_be_told_is_told_at_once() -> None:
    """No event waits for the next read: a word goes out in the feed that completes its chunk, a block's end too."""
    stream = MESSAGES_TO_CHAT.stream("m")
    assert parsed(stream.feed(ROLE)) == [start()]
    assert stream.deltas == 0
    assert parsed(stream.feed(HELLO)) == text(0, "Hello")[:2]
    assert stream.deltas == 1
    assert parsed(stream.feed(STOP)) == [closed(0)]
    assert parsed(stream.feed(USAGE)) == []
    assert parsed(stream.feed(DONE)) == end(usage=COUNTED)


def test_a_sign_of_life_goes_on() -> None:
    """A comment by which a provider says that it is still there is told as one, so that nobody hangs up meanwhile."""
    stream = MESSAGES_TO_CHAT.stream("m")
    assert stream.feed(b": keep-alive\n\n") == ALIVE
    assert parsed(stream.feed(ROLE + b": keep")) == [start()]
    assert stream.feed(b"-alive\n\n") == ALIVE
    assert ALIVE not in stream.feed(b": keep-alive\n\n" + HELLO)
    assert stream.feed(b"id: 1\n\n") == b""
    assert stream.feed(DONE + b":\n\n").endswith(b'{"type":"message_stop"}\n\n')
    assert stream.feed(b":\n\n") == b""


def test_a_stream_that_breaks_off() -> None:
    """After a broken connection the client gets an error and no made-up end, once."""
    stream = MESSAGES_TO_CHAT.stream("m")
    stream.feed(HELLO + STOP[:20])
    error = GatewayError(Reason.UPSTREAM_TIMEOUT, "Too slow.", "a detail")
    assert parsed(stream.broken(error)) == [failed("timeout_error", "Too slow.")]
    assert (stream.error, stream.done) == ("upstream_timeout", False)
    assert stream.broken(error) + stream.feed(STOP + DONE) + stream.finish() == b""


def test_what_comes_after_the_end_breaks_nothing() -> None:
    """An answer that was complete stays so, whatever becomes of the connection."""
    stream = MESSAGES_TO_CHAT.stream("m")
    stream.feed(HELLO + STOP + DONE)
    assert stream.broken(GatewayError(Reason.UPSTREAM_CLOSED, "Closed.")) == b""
    assert stream.error is None


def test_an_event_without_end() -> None:
    """An event that grows without end is an error before it fills the memory."""
    stream = MESSAGES_TO_CHAT.stream("m")
    megabyte = b"x" * 1_048_576
    assert stream.feed(b"data: ") == b""
    told = [stream.feed(megabyte) for _ in range(18)]
    assert parsed(b"".join(told)) == [failed("api_error", "An event of the provider's stream is too long.")]
    assert stream.error == "bad_upstream_answer"
