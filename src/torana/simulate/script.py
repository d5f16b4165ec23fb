"""Script: an answer in OpenAI's wire form, ready to be performed. A Whole is one body, a Stream is events in time."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from torana.http.message import Field, Fields
from torana.simulate import words
from torana.simulate.answer import Answer, Choice, seconds_of
from torana.simulate.asks import EmbeddingAsk, inputs_of
from torana.simulate.dials import Dials, RoleContent, UsageForm
from torana.simulate.failure import ApiError

_JSON: Field = (b"content-type", b"content-type", b"application/json")
_DIMENSIONS = 1536  # of text-embedding-3-small
_DONE = b"data: [DONE]\n\n"


class Whole(NamedTuple):
    """Sent at once, `seconds` after the request."""

    status: int
    fields: Fields
    body: bytes
    seconds: float = 0.0


class Event(NamedTuple):
    """One event of a stream, due when the token numbered `token` (from 0) is."""

    data: bytes
    token: int


class Stream(NamedTuple):
    """`done` is what is sent after the events; `usage`, role and all else is in them."""

    events: Iterator[Event]
    done: bytes


Script: TypeAlias = Whole | Stream


def script_error(error: ApiError) -> Whole:
    fields: Fields = [_JSON]
    if error.retry_after is not None:
        fields.append((b"retry-after", b"retry-after", b"%d" % error.retry_after))
    if error.allow is not None:
        fields.append((b"allow", b"allow", error.allow.encode()))
    return Whole(error.status, fields, error.body())


def script_json(value: object, seconds: float = 0.0) -> Whole:
    return Whole(200, [_JSON], msgspec.json.encode(value), seconds)


class Style(NamedTuple):
    """What differs between chat completions and completions."""

    id_prefix: str
    kind: str
    chunk_kind: str
    whole: Callable[[Choice], dict[str, Any]]
    first: Callable[[Choice, RoleContent], list[dict[str, Any]]]
    piece: Callable[[Choice, str], dict[str, Any]]
    last: dict[str, Any]


def script_whole(answer: Answer, style: Style, dials: Dials) -> Whole:
    choices = [
        {"index": index, **style.whole(choice), "logprobs": None, "finish_reason": choice.finish_reason}
        for index, choice in enumerate(answer.choices)
    ]
    body = {**_head(answer, style, style.kind), "choices": choices}
    if dials.usage is not UsageForm.NEVER:
        body["usage"] = answer.usage
    return script_json(body, seconds_of(answer, dials))


def script_stream(answer: Answer, style: Style, dials: Dials, *, wants_usage: bool) -> Stream:
    form = dials.usage
    if form is UsageForm.AS_ASKED:
        form = UsageForm.EVERY_NULL if wants_usage else UsageForm.NEVER
    return Stream(_events(answer, style, dials.role_content, form), _DONE if dials.done else b"")


def _events(answer: Answer, style: Style, content: RoleContent, form: UsageForm) -> Iterator[Event]:
    head = _head(answer, style, style.chunk_kind)
    every = {"usage": None} if form is UsageForm.EVERY_NULL else {}

    def event(token: int, choices: list[dict[str, Any]], more: dict[str, Any] = every) -> Event:
        return Event(b"data: " + msgspec.json.encode({**head, "choices": choices, **more}) + b"\n\n", token)

    def choice(index: int, said: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": index, **said, "logprobs": None, "finish_reason": finish_reason}]

    for index, one in enumerate(answer.choices):
        for said in style.first(one, content):
            yield event(0, choice(index, said))
    longest = max(len(one.pieces) for one in answer.choices)
    for token in range(longest):
        for index, one in enumerate(answer.choices):
            if token < len(one.pieces):
                yield event(token, choice(index, style.piece(one, one.pieces[token])))
    end = max(longest - 1, 0)
    usage = {"usage": answer.usage}
    for index, one in enumerate(answer.choices):
        inside = form is UsageForm.LAST_CHOICE and index == len(answer.choices) - 1
        yield event(end, choice(index, style.last, one.finish_reason), usage if inside else every)
    if form in (UsageForm.SEPARATE, UsageForm.EVERY_NULL):
        yield event(end, [], usage)


def _head(answer: Answer, style: Style, kind: str) -> dict[str, Any]:
    identity = f"{style.id_prefix}-{answer.digest}"
    return {"id": identity, "object": kind, "created": answer.created, "model": answer.model}


# chat completions


def _message(choice: Choice) -> dict[str, Any]:
    text = "".join(choice.pieces)
    if choice.call is None:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}
    function = {"name": choice.call.name, "arguments": text}
    calls = [{"id": choice.call.id, "type": "function", "function": function}]
    return {"message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}}


def _chat_first(choice: Choice, content: RoleContent) -> list[dict[str, Any]]:
    """The role, and for a tool call its name: what comes before the first token."""
    delta: dict[str, Any] = {"role": "assistant"}
    if content is not RoleContent.ABSENT:
        delta["content"] = None if content is RoleContent.NULL else ""
    first = [{"delta": delta}]
    if choice.call is not None:
        function = {"name": choice.call.name, "arguments": ""}
        calls = [{"index": 0, "id": choice.call.id, "type": "function", "function": function}]
        first.append({"delta": {"tool_calls": calls}})
    return first


def _chat_piece(choice: Choice, piece: str) -> dict[str, Any]:
    if choice.call is None:
        return {"delta": {"content": piece}}
    return {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}


CHAT = Style("chatcmpl", "chat.completion", "chat.completion.chunk", _message, _chat_first, _chat_piece, {"delta": {}})


# completions: whole and chunks have the same form


def _text(choice: Choice) -> dict[str, Any]:
    return {"text": "".join(choice.pieces)}


def _text_first(_: Choice, __: RoleContent) -> list[dict[str, Any]]:
    return []


def _text_piece(_: Choice, piece: str) -> dict[str, Any]:
    return {"text": piece}


COMPLETION = Style("cmpl", "text_completion", "text_completion", _text, _text_first, _text_piece, {"text": ""})


# embeddings


def script_embeddings(ask: EmbeddingAsk, dials: Dials) -> Whole:
    """A vector depends on its text and the model alone, so a batch gives the same as its inputs one by one."""
    inputs = inputs_of(ask.input)
    dimensions = ask.dimensions or _DIMENSIONS
    data = []
    for index, text in enumerate(inputs):
        packed = words.vector(f"{ask.model}\n{text}".encode("utf-8", "replace"), dimensions)
        vector: object = base64.b64encode(packed).decode()
        if ask.encoding_format != "base64":
            vector = struct.unpack(f"<{dimensions}f", packed)
        data.append({"object": "embedding", "index": index, "embedding": vector})
    body: dict[str, object] = {"object": "list", "data": data, "model": dials.model or ask.model}
    if dials.usage is not UsageForm.NEVER:
        count = sum(len(text.split()) for text in inputs)
        body["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return script_json(body, dials.first_token)
