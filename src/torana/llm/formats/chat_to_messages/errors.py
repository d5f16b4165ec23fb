"""Errors in the form of OpenAI's API. The type is Anthropic's, whose names OpenAI has used too; clients read the code.

https://docs.claude.com/en/api/errors, https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from typing import Any, Final

from torana.llm.errors import body_of
from torana.llm.formats.errors import NAMES, decoded, message_of, type_of

_CODES: Final = {
    "authentication_error": "invalid_api_key",
    "billing_error": "insufficient_quota",
    "not_found_error": "model_not_found",
    "overloaded_error": "overloaded",
    "rate_limit_error": "rate_limit_exceeded",
}

# How Anthropic begins to say what OpenAI has a code for; agents shorten the conversation when they see it.
_TOO_LONG: Final = ("prompt is too long", "input length and `max_tokens` exceed context limit")


def translate_error(status: int, body: bytes) -> bytes:
    """See `Translation.error`; the message is the provider's own, found in whichever form it uses."""
    value = decoded(body)
    return _body(value, type_of(status), f"The provider answered with status {status}.")


def streamed_error(value: Any) -> bytes:
    """An `error` event, in a stream whose status was 200."""
    return _body(value, "api_error", "The provider's stream ended with an error.")


def _body(value: Any, kind: str, message: str) -> bytes:
    match value:
        case {"error": {"type": str(named)}} if named in NAMES:
            kind = named
    message = message_of(value) or message
    code = _CODES.get(kind)
    if message.startswith(_TOO_LONG):
        code = "context_length_exceeded"
    return body_of(message, kind, code)
