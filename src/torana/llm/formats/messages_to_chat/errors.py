"""Errors in the form of Anthropic's API.

https://docs.claude.com/en/api/errors
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError
from torana.llm.formats.messages_to_chat.messages import Error, ErrorBody, encode
from torana.llm.usage import UNREADABLE

_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# Anthropic's names, which OpenAI's types partly are too.
_NAMES: Final = frozenset(_TYPES.values()) | {"invalid_request_error", "api_error"}

# A page of a proxy in between is not worth more.
_LONGEST_MESSAGE: Final = 2_000

# `{"detail": [{"msg": "..."}]}` is the deepest of the known forms.
_DEEPEST_MESSAGE: Final = 4

_decode = msgspec.json.Decoder().decode


def type_of(status: int) -> str:
    """The type that Anthropic's table has for a status, and the general one of its class for any other."""
    return _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")


def translate_error(status: int, body: bytes) -> bytes:
    """See `Translation.error`; the message is the provider's own, found in whichever form it uses."""
    try:
        value = _decode(body)
    except UNREADABLE:
        value = _plain_text(body)
    message = message_of(value) or f"The provider answered with status {status}."
    return encode(ErrorBody(Error(type_of(status), message)))


def own_error(error: GatewayError) -> ErrorBody:
    """An error of the gateway's own."""
    return ErrorBody(Error(type_of(error.reason.fault.status), error.message))


def streamed_error(value: Any) -> ErrorBody:
    """The `error` of a chunk, in a stream whose status was 200: the code is a status with some, else a word."""
    code, kind = (value.get("code"), value.get("type")) if isinstance(value, dict) else (None, None)
    if type(code) is int and 400 <= code < 600:
        name = type_of(code)
    elif isinstance(kind, str) and kind in _NAMES:
        name = kind
    else:
        name = "api_error"
    return ErrorBody(Error(name, message_of(value) or "The provider's stream ended with an error."))


def message_of(value: Any) -> str:
    """The words of an error: OpenAI's `error.message`, in a list with Google, and the forms of smaller servers."""
    for _ in range(_DEEPEST_MESSAGE):
        match value:
            case str():
                return value[:_LONGEST_MESSAGE]
            case [first, *_]:
                value = first
            case {"error": dict() | str() as inner}:
                value = inner
            case {"message": str(inner)} | {"msg": str(inner)} | {"detail": inner}:  # `detail` is FastAPI's
                value = inner
            case _:
                break
    return ""


def _plain_text(body: bytes) -> str:
    """A body that is no JSON; nobody wants to read HTML in an error."""
    text = body.decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text
