"""A whole answer: a chat completion as a message."""

from __future__ import annotations

from typing import Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat import Call, Choice, Completion, Kind, Output, pieces, read_answer, text_of
from torana.llm.formats.messages_to_chat.messages import (
    Block,
    Message,
    Text,
    Thinking,
    ToolUse,
    encode,
    stop_of,
    tokens_of,
)
from torana.llm.usage import UNREADABLE, usage_of

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
NO_INPUT: Final = msgspec.Raw(b"{}")


def translate_answer(body: bytes, asked_model: str | None) -> bytes:
    """See `Translation.answer`."""
    completion, choice, output = read_answer(body)
    message_id = id_of(completion)
    stop = stop_of(choice, called=bool(output.tool_calls), refused=bool(output.refusal))
    message = Message(
        message_id,
        "assistant",
        asked_model or text_of(completion.model),
        _blocks(message_id, choice, output),
        stop.stop_reason,
        stop.stop_sequence,
        tokens_of(usage_of(completion.usage)),
    )
    return encode(message)


def id_of(completion: Completion) -> str:
    """The provider's id, under which it can be asked about the answer."""
    return text_of(completion.id) or "msg_0"


def call_id(message_id: str, number: int) -> str:
    """For a call whose provider gave it no id: no other call of the conversation has it."""
    return f"{message_id}_{number}"


def _blocks(message_id: str, choice: Choice, output: Output) -> list[Block]:
    blocks: list[Block] = []
    for piece in pieces(output):
        if piece.kind is Kind.THINKING:
            blocks.append(Thinking(piece.text, piece.source))
        else:
            blocks.append(Text(piece.text))
    for number, call in enumerate(output.tool_calls or []):
        blocks.append(ToolUse(call.id or call_id(message_id, number), call.name(), _input(call, choice)))
    return blocks


def _input(call: Call, choice: Choice) -> msgspec.Raw:
    """The arguments, which must be an object here. Those that were cut off (`length`) are left out, not mended."""
    arguments = call.arguments().strip()
    if not arguments:
        return NO_INPUT
    try:
        _object(arguments)
    except UNREADABLE:
        if choice.finish_reason == "length":
            return NO_INPUT
        message = "The provider's model called a tool with arguments that are not a JSON object."
        raise GatewayError(Reason.BAD_ANSWER, message) from None
    return msgspec.Raw(arguments.encode())
