"""A whole answer: a chat completion as a response."""

from __future__ import annotations

from itertools import groupby

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat import Call, Choice, Kind, Output, Piece, pieces, read_answer
from torana.llm.formats.responses_to_chat.memo import read_memo
from torana.llm.formats.responses_to_chat.response import (
    COMPLETED,
    INCOMPLETE,
    Head,
    Item,
    Part,
    encode,
    given,
    logprobs_of,
    part,
    reason_of,
)
from torana.llm.usage import usage_of


def translate_answer(body: bytes, asked_model: str | None, memo: bytes, now: int) -> bytes:
    """See `Translation.answer`."""
    completion, choice, output = read_answer(body)
    head = Head(completion, asked_model, read_memo(memo), now)
    reason = reason_of(choice)
    status = INCOMPLETE if reason else COMPLETED
    items = _prose(head, choice, output, status)
    for number, call in enumerate(output.tool_calls or []):
        items.append(_call(head, len(items), number, call, status))
    for item in items[:-1]:
        if "status" in item:
            item["status"] = COMPLETED
    return encode(head.response(status, items, usage_of(completion.usage), reason))


def _prose(head: Head, choice: Choice, output: Output, status: str) -> list[Item]:
    """Thoughts of one source are an item, and so is what was said between them."""
    items: list[Item] = []
    logprobs = logprobs_of(choice)
    for source, group in groupby(pieces(output), key=_source):
        parts: list[Part] = []
        for kind, same in groupby(group, key=lambda piece: piece.kind):
            text = "".join(piece.text for piece in same)
            parts.append(part(kind, text, logprobs if kind is Kind.TEXT else ()))
        if source is None:
            items.append(head.message(len(items), parts, status))
            logprobs = []
        else:
            items.append(head.reasoning(len(items), parts, source, status))
    return items


def _source(piece: Piece) -> str | None:
    """None for what was not thought but said."""
    return piece.source if piece.kind is Kind.THINKING else None


def _call(head: Head, index: int, number: int, call: Call, status: str) -> Item:
    if not call.name():
        raise GatewayError(Reason.BAD_ANSWER, "The provider's model called a tool without naming it.")
    tool = head.memo.tool(call.name())
    return head.call(index, call.id or head.call_id(number), tool, given(tool, call.arguments()), status)
