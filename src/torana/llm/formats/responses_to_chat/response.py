"""What is written to a client of Responses: the response, the items of its output, and their parts.

https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from torana.llm.formats.chat import Choice, Completion, Kind, text_of
from torana.llm.formats.responses_to_chat.memo import Memo, Tool
from torana.llm.formats.responses_to_chat.tools import INPUT
from torana.llm.usage import UNREADABLE, Usage

Item = dict[str, Any]
Part = dict[str, Any]

encode: Final = msgspec.json.Encoder().encode

IN_PROGRESS: Final = "in_progress"
COMPLETED: Final = "completed"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"

REPEATED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "user": None,
}
"""Settings of the request that the response repeats, and what it says of those that were not set."""

# What a chat provider does, whatever was asked.
_FIXED: Final = {"background": False, "previous_response_id": None, "store": False, "truncation": "disabled"}

_REASONS: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Head:
    """What is the same in a response from its first event to its last."""

    __slots__ = ("created_at", "id", "memo", "model", "service_tier")

    def __init__(self, completion: Completion, asked_model: str | None, memo: Memo, now: int) -> None:
        self.id = text_of(completion.id) or "resp_0"
        self.created_at = completion.created if type(completion.created) is int else now
        self.model = asked_model or text_of(completion.model)
        self.service_tier = text_of(completion.service_tier)
        self.memo = memo

    def response(
        self, status: str, output: Sequence[Item], usage: Usage | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """`reason` tells why it is incomplete."""
        response = {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self.model,
            "output": output,
            "usage": _tokens(usage),
            **_FIXED,
            **REPEATED,
            **self.memo.settings,
        }
        if self.service_tier:
            response["service_tier"] = self.service_tier
        return response

    # --- items ---

    def message(self, index: int, parts: Sequence[Part], status: str) -> Item:
        item_id = f"msg_{self.id}_{index}"
        return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": parts}

    def reasoning(self, index: int, parts: Sequence[Part], source: str, status: str) -> Item:
        """`source` is the member that the thoughts came by; it is sealed, and the thoughts where that was asked for."""
        item: Item = {"id": f"rs_{self.id}_{index}", "type": "reasoning", "status": status, "summary": []}
        item["content"] = parts
        if source and status != IN_PROGRESS:
            thoughts = "".join(part["text"] for part in parts)
            item["encrypted_content"] = f"{source}:{thoughts}" if self.memo.sealed else source
        return item

    def call(self, index: int, call_id: str, tool: Tool, arguments: str, status: str) -> Item:
        """`arguments` are the input of a custom tool."""
        item: Item = {"call_id": call_id, "name": tool.name}
        if tool.namespace:
            item["namespace"] = tool.namespace
        if tool.custom:
            return {"id": f"ctc_{self.id}_{index}", "type": "custom_tool_call", **item, INPUT: arguments}
        return {
            "id": f"fc_{self.id}_{index}", "type": "function_call", "status": status, **item, "arguments": arguments,
        }  # fmt: skip

    def call_id(self, number: int) -> str:
        """For a call whose provider gave it no id: no other call of the conversation has it."""
        return f"call_{self.id}_{number}"


def reason_of(choice: Choice) -> str | None:
    """Why the answer is incomplete; None when it is not."""
    return _REASONS.get(choice.finish_reason or "")


def part(kind: Kind, text: str, logprobs: Sequence[Any] = ()) -> Part:
    match kind:
        case Kind.TEXT:
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
        case Kind.REFUSAL:
            return {"type": "refusal", "refusal": text}
        case Kind.THINKING:
            return {"type": "reasoning_text", "text": text}


def logprobs_of(choice: Choice) -> list[Any]:
    """Both APIs write them the same way."""
    content = choice.logprobs.get("content") if isinstance(choice.logprobs, dict) else None
    return content if isinstance(content, list) else []


def given(tool: Tool, arguments: str) -> str:
    """The arguments of a call; for a custom tool the input in them. A model that wrote the input bare is understood."""
    if not tool.custom:
        return arguments if arguments.strip() else "{}"
    try:
        return _input(arguments).input
    except UNREADABLE:
        return arguments


class _Input(msgspec.Struct):
    input: str


_input: Final = msgspec.json.Decoder(_Input).decode


def _tokens(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_creation_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
