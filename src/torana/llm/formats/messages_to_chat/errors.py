"""Errors in the form of Anthropic's API.

https://docs.claude.com/en/api/errors
"""

from __future__ import annotations

from typing import Any

from torana.errors import GatewayError
from torana.llm.formats.errors import NAMES, decoded, message_of, type_of
from torana.llm.formats.messages_to_chat.messages import Error, ErrorBody, encode


def translate_error(status: int, body: bytes) -> bytes:
    """See `Translation.error`; the message is the provider's own, found in whichever form it uses."""
    message = message_of(decoded(body)) or f"The provider answered with status {status}."
    return encode(ErrorBody(Error(type_of(status), message)))


def own_error(error: GatewayError) -> ErrorBody:
    """An error of the gateway's own."""
    return ErrorBody(Error(type_of(error.reason.fault.status), error.message))


def streamed_error(value: Any) -> ErrorBody:
    """The `error` of a chunk, in a stream whose status was 200: the code is a status with some, else a word."""
    code, kind = (value.get("code"), value.get("type")) if isinstance(value, dict) else (None, None)
    if type(code) is int and 400 <= code < 600:
        name = type_of(code)
    elif isinstance(kind, str) and kind in NAMES:
        name = kind
    else:
        name = "api_error"
    return ErrorBody(Error(name, message_of(value) or "The provider's stream ended with an error."))
