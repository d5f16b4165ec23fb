"""Errors in the form of OpenAI's API: https://platform.openai.com/docs/guides/error-codes."""

from __future__ import annotations

from typing import Any

from torana.llm.errors import Error, body_of
from torana.llm.formats.errors import decoded, message_of, type_of


def translate_error(status: int, body: bytes) -> bytes:
    """See `Translation.error`: nearly all chat providers have this form, and what they say in it stays."""
    error = _error(decoded(body), type_of(status), f"The provider answered with status {status}.")
    return body_of(error.message, error.type, error.code, error.param)


def streamed_error(value: Any) -> Error:
    """The `error` of a chunk, in a stream whose status was 200."""
    return _error({"error": value}, "api_error", "The provider's stream ended with an error.")


def _error(value: Any, kind: str, message: str) -> Error:
    """`kind` and `message` are for an error that does not tell them."""
    first = value[0] if isinstance(value, list) and value else value  # Google's are in a list
    told = first.get("error") if isinstance(first, dict) else None
    members = told if isinstance(told, dict) else {}
    code = members.get("code")
    return Error(
        message_of(value) or message,
        _word(members.get("type")) or kind,
        _word(members.get("param")),
        str(code) if type(code) is int else _word(code),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
