"""A stream of chat completion chunks as the events of a response: which, in which order, and however it was cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats.responses_to_chat import RESPONSES_TO_CHAT
from torana.llm.formats.translated_stream import ALIVE
from torana.llm.usage import Usage

COUNTS = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
COUNTED = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 7,
}
READ = Usage(5, 2, 3)

Event = dict[str, Any]

ASKED = {
    "model": "m",
    "input": "hi",
    "temperature": 0.5,
    "include": ["reasoning.encrypted_content"],
    "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "c"}],
}
MEMO = RESPONSES_TO_CHAT.request(json.dumps(ASKED).encode(), None).memo


# --- the provider's side ---


def chunk(**members: Any) -> bytes:
    whole = {"id": "c1", "created": 1, "model": "m-1", **members}
    return b"data: " + json.dumps(whole, separators=(",", ":")).encode() + b"\n\n"


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


class Shown(NamedTuple):
    """The events of one item of the output, and the item when it is complete."""

    events: list[Event]
    item: dict[str, Any]


def response(status: str, output: Sequence[Any] = (), usage: Any = None, **members: Any) -> Event:
    """Only what changes on the way; the settings are told with every one."""
    whole = {"id": "c1", "created_at": 1, "model": "m", "status": status, "output": list(output), "usage": usage,
             "error": None, "incomplete_details": None, "temperature": 0.5, **members}  # fmt: skip
    return {"type": f"response.{status}", "response": whole}


START = [{**response("in_progress"), "type": "response.created"}, response("in_progress")]

_WORDS = {"output_text": ("response.output_text", "text"), "refusal": ("response.refusal", "refusal"),
          "reasoning_text": ("response.reasoning_text", "text")}  # fmt: skip


def part(kind: str, text: str) -> dict[str, Any]:
    told = {"type": kind, _WORDS[kind][1]: text}
    return {**told, "annotations": [], "logprobs": []} if kind == "output_text" else told


def added(index: int, item: dict[str, Any], empty: dict[str, Any]) -> Event:
    started = {**item, "status": "in_progress", **empty}
    started.pop("encrypted_content", None)
    if item["type"] == "custom_tool_call":
        del started["status"]
    return {"type": "response.output_item.added", "output_index": index, "item": started}


def done(index: int, item: dict[str, Any]) -> Event:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def prose(index: int, item: dict[str, Any], parts: list[tuple[str, list[str]]]) -> Shown:
    events = [added(index, item, {"content": []})]
    for number, (kind, texts) in enumerate(parts):
        place = {"item_id": item["id"], "output_index": index, "content_index": number}
        name, member = _WORDS[kind]
        more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        whole = "".join(texts)
        events.append({"type": "response.content_part.added", **place, "part": part(kind, "")})
        events += [{"type": f"{name}.delta", **place, "delta": text, **more} for text in texts]
        events.append({"type": f"{name}.done", **place, member: whole, **more})
        events.append({"type": "response.content_part.done", **place, "part": part(kind, whole)})
    return Shown([*events, done(index, item)], item)


def message(index: int, *parts: tuple[str, list[str]], status: str = "completed") -> Shown:
    content = [part(kind, "".join(texts)) for kind, texts in parts]
    item = {"id": f"msg_c1_{index}", "type": "message", "status": status, "role": "assistant", "content": content}
    return prose(index, item, list(parts))


def text(index: int, *texts: str, status: str = "completed") -> Shown:
    return message(index, ("output_text", list(texts)), status=status)


def thought(index: int, source: str, *texts: str) -> Shown:
    whole = "".join(texts)
    item = {"id": f"rs_c1_{index}", "type": "reasoning", "status": "completed", "summary": [],
            "content": [part("reasoning_text", whole)]}  # fmt: skip
    if source:
        item["encrypted_content"] = f"{source}:{whole}"
    return prose(index, item, [("reasoning_text", list(texts))])


def tool(index: int, call_id: str, *arguments: str, name: str = "f", status: str = "completed") -> Shown:
    whole = "".join(arguments)
    item = {"id": f"fc_c1_{index}", "type": "function_call", "status": status, "call_id": call_id, "name": name,
            "arguments": whole}  # fmt: skip
    place = {"item_id": item["id"], "output_index": index}
    kind = "response.function_call_arguments"
    deltas = [{"type": f"{kind}.delta", **place, "delta": each} for each in arguments]
    told = {"type": f"{kind}.done", **place, "arguments": whole}
    return Shown([added(index, item, {"arguments": ""}), *deltas, told, done(index, item)], item)


def custom(index: int, call_id: str, whole: str) -> Shown:
    item = {"id": f"ctc_c1_{index}", "type": "custom_tool_call", "call_id": call_id, "name": "c", "input": whole}
    place = {"item_id": item["id"], "output_index": index}
    kind = "response.custom_tool_call_input"
    told = [{"type": f"{kind}.delta", **place, "delta": whole}, {"type": f"{kind}.done", **place, "input": whole}]
    return Shown([added(index, item, {"input": ""}), *told, done(index, item)], item)


def story(*shown: Shown, usage: Any = None, reason: str | None = None) -> list[Event]:
    """A whole stream: the items one after the other."""
    events = [event for each in shown for event in each.events]
    return [*START, *events, *end(*shown, usage=usage, reason=reason)]


def end(*shown: Shown, usage: Any = None, reason: str | None = None) -> list[Event]:
    details = {"incomplete_details": {"reason": reason}} if reason else {}
    return [response("incomplete" if reason else "completed", [each.item for each in shown], usage, **details)]


def failed(
    message: str, code: str | None, kind: str = "api_error", output: Sequence[Any] = (), **head: Any
) -> list[Event]:
    error = {"message": message, "type": kind, "param": None, "code": code}
    told = {"error": {"code": code or "server_error", "message": message}, **head}
    return [
        {"type": "error", "code": code, "message": message, "param": None, "error": error},
        response("failed", output, **told),
    ]


UNKNOWN: dict[str, Any] = {"id": "resp_0", "created_at": 0}


def parsed(told: bytes, first: int = 0) -> list[Event]:
    """The events without their numbers, which must count up; name and type must be the same."""
    events = []
    for number, event in enumerate(told.replace(ALIVE, b"").split(b"\n\n")[:-1], first):
        name, data = event.split(b"\n")
        value = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + value["type"].encode()
        assert value.pop("sequence_number") == number
        if "response" in value:
            value["response"] = {key: value["response"][key] for key in START[0]["response"]}
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
PIECES = [BIG[at : at + 97] for at in range(0, len(BIG), 97)]
HALF = {**text(0, "Hello").item, "status": "incomplete"}

CASES = [
    Case("text", [ROLE, HELLO, delta(content=" you"), STOP, USAGE, DONE],
         story(text(0, "Hello", " you"), usage=COUNTED), (2, READ, True, None)),
    Case("usage never", [ROLE, HELLO, STOP, DONE], story(text(0, "Hello")), (1, None, True, None)),
    Case("usage with the end", [HELLO, chunk(choices=[{"delta": {}, "finish_reason": "stop"}], usage=COUNTS), DONE],
         story(text(0, "Hello"), usage=COUNTED), (1, READ, True, None)),
    Case("usage in the choice", [HELLO, chunk(choices=[{"delta": {}, "finish_reason": "stop", "usage": COUNTS}]), DONE],
         story(text(0, "Hello"), usage=COUNTED), (1, READ, True, None)),
    Case("no [DONE]", [HELLO, STOP, USAGE], story(text(0, "Hello"), usage=COUNTED), (1, READ, False, None)),
    Case("no finish_reason", [HELLO, DONE], story(text(0, "Hello")), (1, None, True, None)),
    Case("the last event without its empty line", [HELLO, STOP[:-2]], story(text(0, "Hello")), (1, None, False, None)),
    Case("more after the end", [HELLO, STOP, DONE, HELLO, DONE], story(text(0, "Hello")), (1, None, True, None)),
    Case("content null", [delta(role="assistant", content=None), HELLO, delta("stop", content=None), DONE],
         story(text(0, "Hello")), (1, None, True, None)),
    Case("content absent", [delta(role="assistant"), STOP, DONE], story(), (0, None, True, None)),
    Case("delta absent", [chunk(choices=[{"index": 0, "finish_reason": "stop"}]), DONE], story(),
         (0, None, True, None)),
    Case("no choices first", [chunk(id="", choices=[], prompt_filter_results=[]), HELLO, STOP, DONE],
         story(text(0, "Hello")), (1, None, True, None)),
    Case("other choices are not the answer", [HELLO, chunk(choices=[{"index": 1, "delta": {"content": "x"}}]), STOP],
         story(text(0, "Hello")), (1, None, False, None)),
    Case("a limit", [delta("length", content="Hello"), DONE],
         story(text(0, "Hello", status="incomplete"), reason="max_output_tokens"), (1, None, True, None)),
    Case("a filter", [HELLO, delta("content_filter"), DONE],
         story(text(0, "Hello", status="incomplete"), reason="content_filter"), (1, None, True, None)),
    Case("a refusal", [delta(refusal="n"), delta(refusal="o"), STOP, DONE],
         story(message(0, ("refusal", ["n", "o"]))), (2, None, True, None)),
    Case("text, then a refusal", [HELLO, delta(refusal="no"), STOP, DONE],
         story(message(0, ("output_text", ["Hello"]), ("refusal", ["no"]))), (2, None, True, None)),
    Case("thoughts, then text", [delta(reasoning_content="h"), delta(reasoning_content="m"), HELLO, STOP, DONE],
         story(thought(0, "reasoning_content", "h", "m"), text(1, "Hello")), (3, None, True, None)),
    Case("thoughts by their newer name", [delta(reasoning="hm", content=""), HELLO, STOP, DONE],
         story(thought(0, "reasoning", "hm"), text(1, "Hello")), (2, None, True, None)),
    Case("thoughts in parts", [delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
                               HELLO, STOP, DONE],
         story(thought(0, "", "hm"), text(1, "Hello")), (2, None, True, None)),
    Case("thoughts, text, thoughts", [delta(reasoning="a"), HELLO, delta(reasoning="b"), STOP, DONE],
         story(thought(0, "reasoning", "a"), text(1, "Hello"), thought(2, "reasoning", "b")), (3, None, True, None)),
    Case("a call", [ROLE, call(0, "", "f", "t1"), call(0, '{"x"'), call(0, ":1}"), CALLED, USAGE, DONE],
         story(tool(0, "t1", '{"x"', ":1}"), usage=COUNTED), (3, READ, True, None)),
    Case("a call at once", [call(0, '{"x":1}', "f", "t1"), STOP, DONE], story(tool(0, "t1", '{"x":1}')),
         (1, None, True, None)),
    Case("a call without arguments", [call(0, None, "f", "t1"), CALLED, DONE], story(tool(0, "t1", "{}")),
         (1, None, True, None)),
    Case("arguments as an object", [call(0, {"x": 1}, "f", "t1"), CALLED, DONE], story(tool(0, "t1", '{"x":1}')),
         (1, None, True, None)),
    Case("large arguments", [call(0, "", "f", "t1"), *(call(0, piece) for piece in PIECES), CALLED, DONE],
         story(tool(0, "t1", *PIECES)), (1 + len(PIECES), None, True, None)),
    Case("text, then a call", [HELLO, call(0, "{}", "f", "t1"), CALLED, DONE],
         story(text(0, "Hello"), tool(1, "t1", "{}")), (2, None, True, None)),
    Case("a call, then text", [call(0, "{}", "f", "t1"), HELLO, CALLED, DONE],
         story(tool(0, "t1", "{}"), text(1, "Hello")), (2, None, True, None)),
    Case("one call after the other",
         [call(0, "", "f", "t1"), call(0, "{}"), call(1, "", "g", "t2"), call(1, '{"y":2}'), CALLED, DONE],
         story(tool(0, "t1", "{}"), tool(1, "t2", '{"y":2}', name="g")), (4, None, True, None)),
    Case("calls that are mixed",
         [call(0, '{"x"', "f", "t1"), call(1, '{"y"', "g", "t2"), call(0, ":1}"), call(1, ":2}"), CALLED, DONE],
         [*START, *(one := tool(0, "t1", '{"x"', ":1}")).events[:2],
          *(two := tool(1, "t2", '{"y"', ":2}", name="g")).events[:2], one.events[2], two.events[2], *one.events[3:],
          *two.events[3:], *end(one, two)], (4, None, True, None)),
    Case("two calls in one chunk",
         [delta(tool_calls=[{"index": index, "id": f"t{index}", "function": {"name": "f", "arguments": "{}"}}
                            for index in (0, 1)]), CALLED, DONE],
         story(tool(0, "t0", "{}"), tool(1, "t1", "{}")), (1, None, True, None)),
    Case("calls without numbers and ids", [call(None, "{}", "f"), call(None, '{"x"', "g"), call(None, ":1}"), CALLED],
         story(tool(0, "call_c1_0", "{}"), tool(1, "call_c1_1", '{"x"', ":1}", name="g")), (3, None, False, None)),
    Case("a name that comes late", [call(0, '{"x"', None, "t1"), call(0, ":1}", "f"), CALLED, DONE],
         story(tool(0, "t1", '{"x":1}')), (1, None, True, None)),
    Case("a call of a custom tool", [call(0, "", "c", "t1"), call(0, '{"input":"a'), call(0, '\\n"}'), CALLED, DONE],
         story(custom(0, "t1", "a\n")), (1, None, True, None)),
    Case("a name that never comes", [call(0, "{}", None, "t1"), CALLED, DONE],
         [*START, *failed(UNNAMED, "bad_upstream_answer")], (0, None, False, "bad_upstream_answer")),
    Case("arguments cut off", [call(0, '{"x"', "f", "t1"), delta("length"), DONE],
         story(tool(0, "t1", '{"x"', status="incomplete"), reason="max_output_tokens"), (1, None, True, None)),
    Case("a stream of nothing", [], failed(CUT, "upstream_closed", **UNKNOWN), (0, None, False, "upstream_closed")),
    Case("nothing but [DONE]", [DONE], failed(CUT, "upstream_closed", **UNKNOWN), (0, None, True, "upstream_closed")),
    Case("a stream that stops", [ROLE, HELLO],
         [*START, *text(0, "Hello").events[:3], *failed(CUT, "upstream_closed", output=[HALF])],
         (1, None, False, "upstream_closed")),
    Case("an error", [HELLO, chunk(error={"message": "busy", "code": 503}), HELLO, DONE],
         [*START, *text(0, "Hello").events[:3], *failed("busy", "503", output=[HALF])], (1, None, False, "503")),
    Case("an error in the middle of a call",
         [HELLO, call(0, '{"x":', "f", "t1"), chunk(error={"message": "busy", "type": "x"})],
         [*START, *text(0, "Hello").events, *tool(1, "t1", '{"x":').events[:2],
          *failed("busy", None, "x", [text(0, "Hello").item])], (2, None, False, "x")),
    Case("an error at once", [b'data: {"error":{"message":"no","type":"invalid_request_error","code":"x"}}\n\n'],
         failed("no", "x", "invalid_request_error", **UNKNOWN), (0, None, False, "invalid_request_error x")),
    Case("an error without words", [b'event: error\ndata: {"error":{}}\n\n'],
         failed("The provider's stream ended with an error.", None, **UNKNOWN), (0, None, False, "unspecified")),
    Case("what is no JSON", [ROLE, b"data: oops\n\n", HELLO], [*START, *failed(ODD, "bad_upstream_answer")],
         (0, None, False, "bad_upstream_answer")),
    Case("what is no chunk", [b'data: {"choices":7}\n\n'], failed(ODD, "bad_upstream_answer", **UNKNOWN),
         (0, None, False, "bad_upstream_answer")),
    Case("comments and other fields", [b": ping\n\n", b"event: x\nid: 1\n" + HELLO, b"retry: 5\n\n", b"data:\n\n",
                                       b": a\n: b\n" + STOP, DONE],
         story(text(0, "Hello")), (1, None, True, None)),
]  # fmt: skip

ids = [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_streams(case: Case) -> None:
    """Each stream becomes the events that a client of Responses expects, and tells what accounting needs."""
    stream = RESPONSES_TO_CHAT.stream("m", memo=MEMO)
    told = b"".join(map(stream.feed, case.stream)) + stream.finish()
    assert parsed(told) == case.events
    assert (stream.deltas, stream.usage, stream.done, stream.error) == case.learned


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_streams_cut_anywhere(case: Case, ending: bytes) -> None:
    """Where the network cuts a stream, and how its lines end, changes nothing in what the client gets."""
    data = b"".join(case.stream).replace(b"\n", ending)
    step = 1 if len(data) < 5_000 else 9_973  # every byte, unless the case is a large one
    cuts = [(data[:at], data[at:]) for at in range(0, len(data) + 1, step)]
    for pieces in [*cuts, [data[at : at + 1] for at in range(len(data))]]:
        stream = RESPONSES_TO_CHAT.stream("m", memo=MEMO)
        told = b"".join(map(stream.feed, pieces)) + stream.finish()
        assert parsed(told) == case.events


def test_events_to_the_byte() -> None:
    """The bytes are server-sent events as OpenAI writes them: a name, one line of data, numbers that count up."""
    stream = RESPONSES_TO_CHAT.stream(None)
    started, delta_event, *_ = stream.feed(ROLE), stream.feed(HELLO)
    first, second, *rest = started.split(b"\n\n")
    assert first.startswith(
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"c1",'
        b'"object":"response","created_at":1,"status":"in_progress",'
    )
    assert second.startswith(b'event: response.in_progress\ndata: {"type":"response.in_progress","sequence_number":1,')
    assert rest == [b""]
    assert delta_event.split(b"\n\n")[2] == (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":4,'
        b'"item_id":"msg_c1_0","output_index":0,"content_index":0,"delta":"Hello","logprobs":[]}'
    )
    assert stream.model == "m-1"


def test_what_can_be_told_is_told_at_once() -> None:
    """No event waits for the next read: a word goes out in the feed that completes its chunk, an item's end too."""
    stream = RESPONSES_TO_CHAT.stream("m", memo=MEMO)
    shown = text(0, "Hello")
    assert parsed(stream.feed(ROLE)) == START
    assert parsed(stream.feed(HELLO), 2) == shown.events[:3]
    assert parsed(stream.feed(STOP), 5) == shown.events[3:]
    assert parsed(stream.feed(USAGE), 8) == []
    assert parsed(stream.feed(DONE), 8) == end(shown, usage=COUNTED)


def test_logprobs_come_with_their_text() -> None:
    """Each delta brings its own logprobs, the end of a text all of them."""
    told = [{"token": token, "logprob": -1.0, "top_logprobs": []} for token in "ab"]
    chunks = [
        chunk(choices=[{"index": 0, "delta": {"content": each["token"]}, "logprobs": {"content": [each]}}])
        for each in told
    ]
    stream = RESPONSES_TO_CHAT.stream("m", memo=MEMO)
    events = parsed(b"".join(map(stream.feed, [*chunks, STOP, DONE])))
    assert [event["logprobs"] for event in events if "logprobs" in event] == [told[:1], told[1:], told]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == told


def test_a_stream_that_breaks_off() -> None:
    """After a broken connection the client gets an error and a response that failed, once, and no made-up end."""
    stream = RESPONSES_TO_CHAT.stream("m", memo=MEMO)
    stream.feed(HELLO + STOP[:20])
    error = GatewayError(Reason.UPSTREAM_TIMEOUT, "Too slow.", "a detail")
    assert parsed(stream.broken(error), 5) == failed("Too slow.", "upstream_timeout", output=[HALF])
    assert (stream.error, stream.done) == ("upstream_timeout", False)
    assert stream.broken(error) + stream.feed(STOP + DONE) + stream.finish() == b""


def test_what_comes_after_the_end_breaks_nothing() -> None:
    """An answer that was complete stays so, whatever becomes of the connection."""
    stream = RESPONSES_TO_CHAT.stream("m", memo=MEMO)
    stream.feed(HELLO + STOP + DONE)
    assert stream.broken(GatewayError(Reason.UPSTREAM_CLOSED, "Closed.")) == b""
    assert stream.error is None
