"""Streamed answers, watched while they are passed on, however the network cuts them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.llm.stream import HELD, INSPECTED, StreamReader
from torana.llm.usage import Usage


class Seen(NamedTuple):
    """All a reader has told at the end of a stream."""

    deltas: int = 0
    usage: Usage | None = None
    finish_reason: str | None = None
    done: bool = False
    error: str | None = None
    model: str | None = None


class Case(NamedTuple):
    """A stream in pieces; a piece is one event, and `hidden` tells which one the client does not get."""

    name: str
    events: list[bytes]
    seen: Seen
    hidden: int | None = None


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps({"id": "x", "model": "m", **members}, separators=(",", ":")).encode() + b"\n\n"


def delta(finish_reason: str | None = None, /, **members: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": members, "finish_reason": finish_reason}])


ROLE = delta(role="assistant", content="")
HELLO = delta(content="Hello")
STOP = delta("stop")
DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
USAGE = event(choices=[], usage=COUNTS)
READ = Usage(5, 2)
BIG_CALL = delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "x\\" * 20_000}}])


def spaced(data: bytes) -> bytes:
    """The event as a server that puts spaces into JSON writes it."""
    return b"data: " + json.dumps(json.loads(data[6:])).encode() + b"\n\n"


def named(**members: Any) -> bytes:
    """An event of Responses or Messages, which names its kind twice."""
    return f"event: {members['type']}\ndata: {json.dumps(members)}\n\n".encode()


RESPONSES = [
    named(type="response.created", response={"model": "m", "usage": None, "error": None}),
    named(type="response.output_item.added", item={"type": "message", "content": []}),
    named(type="response.output_text.delta", delta="Hi"),
    named(type="response.completed", response={"error": None, "usage": {"input_tokens": 5, "output_tokens": 2}}),
]
INPUT = {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1}
MESSAGES = [
    named(type="message_start", message={"model": "m", "usage": INPUT}),
    named(type="ping"),
    named(type="content_block_start", content_block={"type": "text", "text": ""}),
    named(type="content_block_delta", delta={"type": "thinking_delta", "thinking": "hm"}),
    named(type="content_block_delta", delta={"type": "text_delta", "text": "Hi"}),
    named(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
    named(type="message_stop"),
]
TOKENS = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
TRANSCRIPTION = [
    named(type="transcript.text.delta", delta="Hel"),
    named(type="transcript.text.delta", delta="lo"),
    named(type="transcript.text.done", text="Hello", usage={"type": "tokens", **TOKENS}),
]
SPEECH = [named(type="speech.audio.delta", audio="UklG"), named(type="speech.audio.done", usage=TOKENS)]
IMAGE = [
    named(type="image_generation.partial_image", b64_json="x" * 100_000, partial_image_index=0),
    named(type="image_generation.completed", b64_json="y" * 300_000, usage=TOKENS),
]

CASES = [
    Case("usage never", [ROLE, HELLO, HELLO, STOP, DONE], Seen(2, None, "stop", done=True, model="m")),
    Case("usage in its own event", [ROLE, HELLO, STOP, USAGE, DONE], Seen(1, READ, "stop", done=True, model="m"), 3),
    Case(
        "usage in the last choice, unasked, and no end",
        [HELLO, event(choices=[{"delta": {}, "finish_reason": "stop"}], usage=COUNTS)],
        Seen(1, READ, "stop", model="m"),
    ),
    Case(
        "usage null on every event",
        [event(choices=[{"delta": {"content": "a"}}], usage=None), event(choices=[], usage=None), USAGE, DONE],
        Seen(1, READ, None, done=True, model="m"),
        2,
    ),
    Case(
        "usage on every event, counting up",
        [event(choices=[{"delta": {"content": "a"}}], usage={"prompt_tokens": 5, "completion_tokens": 1}), USAGE],
        Seen(1, READ, model="m"),
        1,
    ),
    Case("only one usage event is hidden", [HELLO, USAGE, USAGE, DONE], Seen(1, READ, None, done=True, model="m"), 1),
    Case("content null first", [delta(role="assistant", content=None), HELLO], Seen(1, model="m")),
    Case("content absent first", [delta(role="assistant"), HELLO], Seen(1, model="m")),
    Case("no key finish_reason", [event(choices=[{"delta": {"content": "a"}}])], Seen(1, model="m")),
    Case("reasoning is output", [delta(reasoning_content="hm"), delta(reasoning="hm")], Seen(2, model="m")),
    Case("a tool call is output", [delta(content=None, tool_calls=[{"index": 0}])], Seen(1, model="m")),
    Case("a large tool call", [ROLE, BIG_CALL, STOP, USAGE, DONE], Seen(1, READ, "stop", done=True, model="m"), 3),
    Case("text completions", [event(choices=[{"text": ""}]), event(choices=[{"text": "a"}])], Seen(1, model="m")),
    Case("two choices at once", [event(choices=[{"delta": {"content": "a"}}] * 2)], Seen(2, model="m")),
    Case("spaces in JSON", [spaced(HELLO), spaced(USAGE), DONE], Seen(1, READ, None, done=True, model="m"), 1),
    Case("no space after data", [HELLO.replace(b": ", b":", 1), USAGE, b"data:[DONE]\n\n"],
         Seen(1, READ, None, done=True, model="m"), 1),
    Case("comments between", [b": ping\n\n", HELLO, b":\n\n", b": a\n: b\n\n", USAGE, DONE],
         Seen(1, READ, None, done=True, model="m"), 4),
    Case("other fields", [b"event: x\nid: 1\n" + HELLO, b"retry: 5\n\n", b"id: 2\n" + USAGE, b"event: e\n" + DONE],
         Seen(1, READ, None, done=True, model="m"), 2),
    Case("a comment in the middle of events", [b"event: x\n: c\n" + HELLO, b"id: 1\n: c\n" + USAGE],
         Seen(1, READ, model="m"), 1),
    Case("data on several lines", [HELLO.replace(b",", b",\ndata: "), USAGE.replace(b",", b",\ndata:"), DONE],
         Seen(1, READ, None, done=True, model="m"), 1),
    Case("empty lines between", [HELLO, b"\n", b"\n\n\n", USAGE, b"\n", DONE],
         Seen(1, READ, None, done=True, model="m"), 3),
    Case("the first event names no model", [event(model="", choices=[], prompt_filter_results=[]), HELLO, USAGE],
         Seen(1, READ, model="m"), 2),
    Case("an error in the stream", [HELLO, event(error={"message": "overloaded", "code": 503})],
         Seen(1, error="503", model="m")),
    Case("an error without words", [b'data: {"error":{}}\n\n'], Seen(error="unspecified")),
    Case("a finish that is an error", [delta("error"), event(error="bad")],
         Seen(0, None, "error", False, "unspecified", "m")),
    Case("what is no JSON", [b"data: oops\n\n", b"data: {\n\n", b"data: \xff\n\n", b"data\n\n", b"x\n\n", HELLO],
         Seen(1, model="m")),
    Case("odd types", [b'data: {"choices":7}\n\n', b'data: {"choices":[7]}\n\n', b"data: []\n\n", b"data: 1\n\n",
                       event(choices=None, model=7, usage=7), event(choices=[{"delta": 7, "finish_reason": 7}])],
         Seen(model="m")),
    Case("a byte order mark", [b"\xef\xbb\xbf" + HELLO, USAGE, DONE], Seen(1, READ, None, done=True, model="m"), 1),
    Case("words that look like members", [delta(content='"usage": {"x": [DONE]} "choices":[]\n\ndata: [DONE]')],
         Seen(1, model="m")),
    Case("usage without choices stays", [HELLO, event(usage=COUNTS)], Seen(1, READ, model="m")),
    Case("choices within an odd usage event",
         [b'data: {"usage":{"prompt_tokens":1,"x":{"choices":[{}]}},"choices":[]}\n\n'], Seen(0, Usage(1))),
    Case("choices in a comment", [b': "choices":[{\n' + USAGE], Seen(0, READ, model="m")),
    Case("Responses", RESPONSES, Seen(1, READ, "completed", done=True, model="m")),
    Case("Responses that fail", [b'data: {"type":"response.failed","response":{"error":{"message":"no"}}}\n\n'],
         Seen(0, None, "failed", True, "unspecified")),
    Case("a transcription", TRANSCRIPTION, Seen(2, READ, done=True)),
    Case("speech", SPEECH, Seen(1, READ, done=True)),
    Case("an image", IMAGE, Seen(1, READ, done=True)),
    Case("an edited image", [each.replace(b"generation", b"edit") for each in IMAGE], Seen(1, READ, done=True)),
    Case("an error of Responses", [*RESPONSES[:1], named(type="error", code="server_error", message="no", param=None)],
         Seen(error="server_error", model="m")),
    Case("an error of Responses that has no code", [named(type="error", code=None, message="no")],
         Seen(error="unspecified")),
    Case("an error of Responses that is told twice", [named(type="error", code="x", error={"code": "y"})],
         Seen(error="y")),
    Case("Messages", MESSAGES, Seen(2, Usage(5, 2, 2), "end_turn", done=True, model="m")),
    Case("Messages with odd types", [named(type=[]), named(type="message_delta", delta={"stop_reason": 7}),
                                     named(type="message_start", message=7)], Seen()),
    Case("Messages that fail", [b'event: error\ndata: {"type":"error","error":{"type":"x","message":"no"}}\n\n'],
         Seen(error="x")),
]  # fmt: skip

# What the hiding leaves of the one case whose comments belong to the hidden event.
LEFT = {"choices in a comment": b': "choices":[{\n'}


def expected(case: Case, line_end: bytes) -> bytes:
    left = LEFT.get(case.name)
    if left is not None:
        return left.replace(b"\n", line_end)
    return b"".join(e for i, e in enumerate(case.events) if i != case.hidden).replace(b"\n", line_end)


def read(pieces: list[bytes], *, hide_usage: bool) -> tuple[bytes, Seen]:
    reader = StreamReader(hide_usage=hide_usage)
    out = b"".join([reader.feed(piece) for piece in pieces]) + reader.finish()
    return out, Seen(reader.deltas, reader.usage, reader.finish_reason, reader.done, reader.error, reader.model)


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_line_end = pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])


@every_case
@every_line_end
@pytest.mark.parametrize("cut", ["whole", "by event", "byte by byte"])
@pytest.mark.parametrize("hide", [True, False], ids=["hiding", "watching"])
def test_every_stream(case: Case, line_end: bytes, cut: str, hide: bool) -> None:
    """What is seen, and which bytes the client gets, are the same whole, event by event and byte by byte."""
    events = [e.replace(b"\n", line_end) for e in case.events]
    stream = b"".join(events)
    match cut:
        case "whole":
            pieces = [stream]
        case "by event":
            pieces = events
        case _:
            pieces = [stream[at : at + 1] for at in range(len(stream))]
    out, seen = read(pieces, hide_usage=hide)
    assert seen == case.seen
    assert out == (expected(case, line_end) if hide else stream)


@given(st.data())
def test_every_stream_split_anywhere(data: st.DataObject) -> None:
    """Wherever the network cuts a stream, the same is seen and the client gets the same bytes."""
    case = data.draw(st.sampled_from(CASES))
    line_end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    hide = data.draw(st.booleans())
    # Cuts near line ends matter most; a stream's length bounds the others.
    stream = b"".join(case.events).replace(b"\n", line_end)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    out, seen = read(pieces, hide_usage=hide)
    assert seen == case.seen
    assert out == (expected(case, line_end) if hide else stream)


SOUP = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: ", b": c", b":", HELLO, USAGE, USAGE[:40], USAGE[40:], DONE, b"x"]),
    max_size=14,
)


@given(SOUP, st.data())
def test_any_bytes_split_anywhere(soup: list[bytes], data: st.DataObject) -> None:
    """Even bytes that no server sends are seen alike and passed on alike however they are cut."""
    stream = b"".join(soup)
    whole = read([stream], hide_usage=True)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    assert read([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)], hide_usage=True) == whole
    assert read([stream[at : at + 1] for at in range(len(stream))], hide_usage=True) == whole
    assert read([stream], hide_usage=False) == (stream, whole[1])


# --- when bytes go out ---


def test_whole_events_are_not_copied() -> None:
    """A read that ends with an event, and has nothing to hide, goes on as the same object."""
    reader = StreamReader(hide_usage=True)
    for data in (HELLO, HELLO * 200, HELLO.replace(b"\n", b"\r\n"), b": ping\n\n", DONE):
        assert reader.feed(data) is data


def test_a_watcher_never_holds() -> None:
    """Without a usage event to hide, every read goes on at once as the same object, whole events or not."""
    reader = StreamReader()
    for data in (HELLO[:10], HELLO[10:], USAGE[:-1], USAGE[-1:], b"data: [DONE]"):
        assert reader.feed(data) is data
    assert reader.finish() == b""
    assert reader.done


@pytest.mark.parametrize(
    ("tail", "held"),
    [
        (HELLO[: HELLO.index(b"[{") + 2], b""),
        (HELLO[: HELLO.index(b"[{") + 1], HELLO[: HELLO.index(b"[{") + 1]),
        (b'data: {"choices" : [ {', b""),
        (b"data: ", b"data: "),
        (b": ping", b""),
        (b": ping\ndata: {", b"data: {"),
        (USAGE[:-1], USAGE[:-1]),
        (b'data: {"x":"' + b"x" * HELD, b""),
    ],
)
def test_only_what_may_be_the_usage_event_is_held(tail: bytes, held: bytes) -> None:
    """Half an event is held back as long as it may become the usage event, and not a byte longer."""
    reader = StreamReader(hide_usage=True)
    assert reader.feed(HELLO + tail) == (HELLO + tail).removesuffix(held)
    assert reader.mid_event is (len(held) < len(tail))


def test_nothing_is_held_after_the_usage_event() -> None:
    """Once the usage event is hidden, every read goes on at once."""
    reader = StreamReader(hide_usage=True)
    assert reader.feed(USAGE + b"data: [DO") == b"data: [DO"
    assert reader.mid_event
    assert reader.feed(b"NE]\n\n") == b"NE]\n\n"
    assert reader.done
    assert not reader.mid_event


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("hide", [True, False])
def test_the_last_event_may_lack_its_empty_line(end: bytes, hide: bool) -> None:
    """At the end of the stream an unfinished event counts, and is hidden or given out."""
    for last, hidden in ((USAGE, hide), (HELLO, False)):
        reader = StreamReader(hide_usage=hide)
        stream = HELLO + last.rstrip() + end
        out = reader.feed(stream) + reader.finish()
        assert out == (HELLO if hidden else stream)
        assert (reader.usage, reader.deltas) == ((READ, 1) if last is USAGE else (None, 2))


def test_the_first_token_shows_in_its_own_feed() -> None:
    """`deltas` leaves 0 in the feed that brings the first output, not in the one that names the role."""
    reader = StreamReader()
    counts = []
    for data in (b": hi\n\n", ROLE, HELLO[:30], HELLO[30:], HELLO):
        reader.feed(data)
        counts.append(reader.deltas)
    assert counts == [0, 0, 0, 1, 2]


def test_mid_event() -> None:
    """The reader knows whether the client has half an event."""
    for hide in (True, False):
        reader = StreamReader(hide_usage=hide)
        states = []
        for data in (HELLO, HELLO[:-1], b"\n", HELLO[:-2], b"\n\n" + HELLO):
            reader.feed(data)
            states.append(reader.mid_event)
        assert states == [False, True, False, True, False]


# --- bounds ---


@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_giant_event_is_passed_on_unread(hide: bool, line_end: bytes) -> None:
    """An event beyond the limit goes through whole, memory stays bounded, and reading goes on after it."""
    giant = delta(content="x" * (2 * INSPECTED)).replace(b"\n", line_end)
    stream = giant + (HELLO + USAGE + DONE).replace(b"\n", line_end)
    reader = StreamReader(hide_usage=hide)
    out = b""
    for at in range(0, len(stream), 65_521):
        out += reader.feed(stream[at : at + 65_521])
        assert len(reader._tail) <= INSPECTED
    out += reader.finish()
    assert out == (stream.replace(USAGE.replace(b"\n", line_end), b"") if hide else stream)
    assert (reader.deltas, reader.usage, reader.done) == (1, READ, True)


@pytest.mark.parametrize("size", [HELD - 1, HELD, HELD + 1, HELD + 2])
def test_a_usage_event_larger_than_what_is_held_stays(size: int) -> None:
    """A usage event is hidden up to the size that is held back, whole and byte by byte alike."""
    filler = size - len(event(choices=[], usage=COUNTS, x=""))
    stream = event(choices=[], usage=COUNTS, x="y" * filler)
    pieces = [stream[: HELD // 2], *(stream[at : at + 1] for at in range(HELD // 2, len(stream)))]
    for cut in ([stream], [pieces[0], stream[HELD // 2 : -4], *pieces[-4:]]):
        out, seen = read(cut, hide_usage=True)
        assert out == (b"" if size <= HELD else stream)
        assert seen.usage == READ
