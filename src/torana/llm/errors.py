"""Errors in the form of OpenAI's API: as an answer's body, and as an event of a stream that has begun."""

from __future__ import annotations

import msgspec

from torana.errors import GatewayError


class _Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Body(msgspec.Struct):
    error: _Error


_encode = msgspec.json.Encoder().encode


def error_body(error: GatewayError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`; the error's `detail` stays inside.

    Source: https://platform.openai.com/docs/guides/error-codes
    """
    fault = error.reason.fault
    return body_of(error.message, fault.type, fault.code, error.param)


def body_of(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """The same for an error that is not the gateway's own."""
    return _encode(_Body(_Error(message, kind, param, code)))


def error_event(error: GatewayError) -> bytes:
    """The same as one SSE event, as OpenAI's SDKs expect it in a stream: they raise on a `data` object with `error`.

    When the client has half an event (`StreamReader.mid_event`), that must be ended first, with two line feeds.
    """
    return event_of(error_body(error))


def event_of(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"
