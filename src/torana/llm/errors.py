"""Errors in the form of OpenAI's API: as an answer's body, and as an event of a stream that has begun."""

from __future__ import annotations

import msgspec

from torana.errors import GatewayError


class Error(msgspec.Struct):
    """The `error` of an answer's body. Source: https://platform.openai.com/docs/guides/error-codes."""

    message: str
    type: str
    param: str | None
    code: str | None


class _Body(msgspec.Struct):
    error: Error


_encode = msgspec.json.Encoder().encode


def error_body(error: GatewayError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`; the error's `detail` stays inside."""
    return _encode(_Body(error_of(error)))


def error_of(error: GatewayError) -> Error:
    fault = error.reason.fault
    return Error(error.message, fault.type, error.param, fault.code)


def body_of(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """The same as `error_body` for an error that is not the gateway's own."""
    return _encode(_Body(Error(message, kind, param, code)))


def error_event(error: GatewayError) -> bytes:
    """The same as one SSE event, as OpenAI's SDKs expect it in a stream: they raise on a `data` object with `error`.

    When the client has half an event (`StreamReader.mid_event`), that must be ended first, with two line feeds.
    """
    return event_of(error_body(error))


def event_of(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"
