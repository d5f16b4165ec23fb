"""What is written to a client of chat: the completion, and the chunks of its stream.

https://platform.openai.com/docs/api-reference/chat/object, .../chat-streaming. A message does not tell when it was
made: its `created` is told from outside.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.llm.usage import Usage

encode: Final = msgspec.json.Encoder().encode


class Function(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET
    arguments: str = ""


class Call(msgspec.Struct):
    """`index` is for deltas alone, `id` and `type` for all but those that go on."""

    index: int | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    function: Function = msgspec.field(default_factory=Function)


class Thought(msgspec.Struct):
    """A block of Claude's thoughts in a stream. OpenAI's SDKs put the deltas of a list together by `index`."""

    index: int
    type: str
    thinking: str | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET
    data: str | msgspec.UnsetType = msgspec.UNSET


class Output(msgspec.Struct):
    """A `message`, or the `delta` of one."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType | None = msgspec.UNSET
    refusal: str | msgspec.UnsetType | None = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    thinking_blocks: list[msgspec.Raw] | list[Thought] | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[Call] | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct):
    index: int = 0
    message: Output | msgspec.UnsetType = msgspec.UNSET
    delta: Output | msgspec.UnsetType = msgspec.UNSET
    finish_reason: str | None = None


class InputDetails(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(msgspec.Struct):
    reasoning_tokens: int


class Tokens(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: InputDetails
    completion_tokens_details: OutputDetails


class Completion(msgspec.Struct):
    """`usage` of a chunk is null, but in the last, when the client asked for the last; else no chunk has it."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Tokens | msgspec.UnsetType | None = msgspec.UNSET
    service_tier: str | msgspec.UnsetType = msgspec.UNSET


_FINISHES: Final = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}

# `usage.service_tier`: Anthropic's names, and OpenAI's for the same.
_TIERS: Final = {"standard": "default", "priority": "priority"}


def finish_of(stop_reason: str | None, *, called: bool) -> str:
    """The `finish_reason` for a message's `stop_reason`; one that is not known ends a message as any other."""
    return _FINISHES.get(stop_reason or "") or ("tool_calls" if called else "stop")


def refusal_of(stop_reason: str | None, details: Any) -> str | None:
    """Why Claude's safeguards ended the answer, where it is told (`stop_details.explanation`)."""
    match details:
        case {"explanation": str(words)} if words and stop_reason == "refusal":
            return words
    return None


def tokens_of(usage: Usage) -> Tokens:
    return Tokens(
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens + usage.output_tokens,
        InputDetails(usage.cached_tokens, usage.cache_creation_tokens),
        OutputDetails(usage.reasoning_tokens),
    )


def tier_of(usage: Any) -> str | msgspec.UnsetType:
    tier = usage.get("service_tier") if isinstance(usage, dict) else None
    return _TIERS.get(tier, msgspec.UNSET) if isinstance(tier, str) else msgspec.UNSET


def id_of(message_id: str | None) -> str:
    """The provider's id, under which it can be asked about the answer."""
    return message_id or "msg_0"
