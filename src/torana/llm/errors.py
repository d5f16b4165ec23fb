"""Errors in the words of the client's API: as an answer's body, and as an event of a stream that has begun."""

from __future__ import annotations

from typing import Final

import msgspec

from torana.errors import GatewayError
from torana.llm.operation import Operation


class Error(msgspec.Struct):
    """The `error` of an answer's body. Source: https://platform.openai.com/docs/guides/error-codes."""

    message: str
    type: str
    param: str | None
    code: str | None


class _Body(msgspec.Struct):
    error: Error


class _AnthropicError(msgspec.Struct):
    type: str
    message: str


class _AnthropicBody(msgspec.Struct):
    type: str
    error: _AnthropicError


class _ResponsesError(msgspec.Struct):
    type: str
    code: str | None
    message: str
    param: str | None
    error: Error
    sequence_number: int = 0


_encode = msgspec.json.Encoder().encode

ANTHROPIC: Final = frozenset((Operation.MESSAGES, Operation.COUNT_TOKENS))
"""The operations of its API."""

_ANTHROPIC_TYPES: Final = {
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


def type_of(status: int) -> str:
    """The type that Anthropic's table has for a status, and the general one of its class for any other."""
    return _ANTHROPIC_TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")


def error_body(error: GatewayError, operation: Operation | None = None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`; the error's `detail` stays inside.

    For operations of Anthropic's API in its form: `{"type": "error", "error": {"type", "message"}}`.

    Sources: https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors
    """
    fault = error.reason.fault
    if operation in ANTHROPIC:
        return _encode(_AnthropicBody("error", _AnthropicError(type_of(fault.status), error.message)))
    return body_of(error.message, fault.type, fault.code, error.param)


def error_of(error: GatewayError) -> Error:
    """OpenAI's form, to be put into something larger."""
    fault = error.reason.fault
    return Error(error.message, fault.type, error.param, fault.code)


def body_of(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """The same as `error_body` for an error that is not the gateway's own."""
    return _encode(_Body(Error(message, kind, param, code)))


def error_event(error: GatewayError, operation: Operation | None = None) -> bytes:
    """The same as one SSE event, in the form that the operation's API has for it: SDKs raise by it.

    With Responses it is one event among others (`ResponseErrorEvent`); OpenAI's SDKs raise by its member `error`.

    When the client has half an event (`StreamReader.mid_event`), that must be ended first, with two line feeds.
    """
    if operation in ANTHROPIC:
        return b"event: error\n" + event_of(error_body(error, operation))
    if operation is Operation.RESPONSES:
        # https://platform.openai.com/docs/api-reference/responses-streaming/error
        content = _ResponsesError("error", error.reason.fault.code, error.message, error.param, error_of(error))
        return b"event: error\n" + event_of(_encode(content))
    return event_of(error_body(error))


def event_of(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"
