"""A whole answer: a message as a chat completion."""

from __future__ import annotations

from typing import Any

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages.chat import (
    Call,
    Choice,
    Completion,
    Function,
    Output,
    encode,
    finish_of,
    id_of,
    refusal_of,
    tier_of,
    tokens_of,
)
from torana.llm.formats.chat_to_messages.messages import decode_block, decode_message
from torana.llm.usage import UNREADABLE, usage_of


def translate_answer(body: bytes, asked_model: str | None, now: int) -> bytes:
    """See `Translation.answer`. What tools did at Anthropic is not told: the text says what came of it."""
    try:
        message = decode_message(body)
        if message.content is None:
            raise GatewayError(Reason.BAD_ANSWER, "The provider's answer has no content.")
        output = _output(message.content)
    except UNREADABLE:
        raise GatewayError(Reason.BAD_ANSWER, "The provider's answer is not a message.") from None
    called = output.tool_calls is not msgspec.UNSET
    output.refusal = refusal_of(message.stop_reason, message.stop_details)
    if not output.content and (called or output.refusal is not None):
        output.content = None
    usage = usage_of(message.usage)
    completion = Completion(
        id_of(message.id),
        "chat.completion",
        now,
        asked_model or message.model or "",
        [Choice(message=output, finish_reason=finish_of(message.stop_reason, called=called))],
        msgspec.UNSET if usage is None else tokens_of(usage),
        tier_of(message.usage),
    )
    return encode(completion)


def _output(content: list[msgspec.Raw]) -> Output:
    texts: list[str] = []
    thoughts: list[str] = []
    thinking_blocks: list[msgspec.Raw] = []
    calls: list[Call] = []
    for raw in content:
        block = decode_block(raw)
        match block.type:
            case "text":
                texts.append(block.text or "")
            case "thinking":
                thoughts.append(block.thinking or "")
                thinking_blocks.append(raw)
            case "redacted_thinking":
                thinking_blocks.append(raw)
            case "tool_use":
                function = Function(block.name or "", block.arguments())
                calls.append(Call(id=block.id or "", type="function", function=function))
    output = Output(role="assistant", content="".join(texts))
    thought = "".join(thoughts)
    output.reasoning_content = _or_unset(thought)
    output.thinking_blocks = _or_unset(thinking_blocks)
    output.tool_calls = _or_unset(calls)
    return output


def _or_unset(value: Any) -> Any:
    return value or msgspec.UNSET
