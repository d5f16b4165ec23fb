"""What requests for a chat-completions provider have in common, whichever form the client's had.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

Part = dict[str, Any]
ChatMessage = dict[str, Any]

CHAT_OPTIONS: Final = (
    "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "response_format",
    "reasoning_effort", "verbosity", "prompt_cache_key", "safety_identifier", "user",
)  # fmt: skip
"""Members that another form has with the same name and meaning, or that a client can only mean for this upstream."""

NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
"""The schema of a function that takes nothing."""

_NEEDS_COMPLETION_TOKENS: Final = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-[5-9])(?![a-z0-9])").match


def limit_name(model: str) -> str:
    """The member that limits the output's tokens.

    OpenAI's reasoning models refuse `max_tokens`; many servers of other models know nothing else.
    """
    return "max_completion_tokens" if _NEEDS_COMPLETION_TOKENS(model) else "max_tokens"


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def plain(parts: Sequence[Part]) -> str | Sequence[Part]:
    """One string where there is nothing but text, because many servers take only that; line feeds as vLLM joins."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join([part["text"] for part in parts])
    return parts
