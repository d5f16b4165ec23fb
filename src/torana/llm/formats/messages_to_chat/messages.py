"""What is written to a client of Messages: the message, its blocks, the events of its stream.

https://docs.claude.com/en/api/messages, https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Final

import msgspec

from torana.llm.formats.chat import Choice
from torana.llm.usage import Usage

encode: Final = msgspec.json.Encoder().encode


class Text(msgspec.Struct, tag="text"):
    text: str


class Thinking(msgspec.Struct, tag="thinking"):
    thinking: str
    signature: str


class ToolUse(msgspec.Struct, tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw


Block = Text | Thinking | ToolUse


class OutputDetails(msgspec.Struct):
    thinking_tokens: int


class Tokens(msgspec.Struct):
    """`usage`: the input without what was read from a cache or written to one."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputDetails | msgspec.UnsetType = msgspec.UNSET


def tokens_of(usage: Usage | None) -> Tokens:
    """All zeros where the provider did not say: clients require the counts."""
    if usage is None:
        usage = Usage()
    return Tokens(
        max(usage.input_tokens - usage.cached_tokens - usage.cache_creation_tokens, 0),
        usage.cache_creation_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        OutputDetails(usage.reasoning_tokens) if usage.reasoning_tokens else msgspec.UNSET,
    )


class Stop(msgspec.Struct):
    stop_reason: str
    stop_sequence: str | None = None


_STOPS: Final = {"length": "max_tokens", "content_filter": "refusal"}


def stop_of(choice: Choice, *, called: bool, refused: bool) -> Stop:
    """Why the model stopped. That it called tools is read from the calls: some servers say `stop` with them."""
    reason = _STOPS.get(choice.finish_reason or "")
    if reason is not None:
        return Stop(reason)
    if called:
        return Stop("tool_use")
    if refused:
        return Stop("refusal")
    if choice.finish_reason == "stop" and choice.stop_reason and isinstance(choice.stop_reason, str):
        return Stop("stop_sequence", choice.stop_reason)
    return Stop("end_turn")


class Message(msgspec.Struct, tag="message"):
    id: str
    role: str
    model: str
    content: list[Block]
    stop_reason: str | None
    stop_sequence: str | None
    usage: Tokens


# --- events ---


class TextDelta(msgspec.Struct, tag="text_delta"):
    text: str


class ThinkingDelta(msgspec.Struct, tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, tag="signature_delta"):
    signature: str


class InputDelta(msgspec.Struct, tag="input_json_delta"):
    partial_json: str


Delta = TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class MessageStart(msgspec.Struct, tag="message_start"):
    message: Message


class BlockStart(msgspec.Struct, tag="content_block_start"):
    index: int
    content_block: Block


class BlockDelta(msgspec.Struct, tag="content_block_delta"):
    index: int
    delta: Delta


class BlockStop(msgspec.Struct, tag="content_block_stop"):
    index: int


class MessageDelta(msgspec.Struct, tag="message_delta"):
    delta: Stop
    usage: Tokens


class MessageStop(msgspec.Struct, tag="message_stop"):
    pass


class Error(msgspec.Struct):
    type: str
    message: str


class ErrorBody(msgspec.Struct, tag="error"):
    """An error: alone as an answer's body, or as an event of a stream."""

    error: Error


Event = MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | ErrorBody


def render(event: Event) -> bytes:
    """One server-sent event; its name is the type once more, which is what the SDKs go by."""
    return b"event: %b\ndata: %b\n\n" % (str(event.__struct_config__.tag).encode(), encode(event))
