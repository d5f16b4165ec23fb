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
    return _encode(_Body(_Error(error.message, fault.type, error.param, fault.code)))


def error_event(error: GatewayError) -> bytes:
    """The same as one SSE event, as OpenAI's SDKs expect it in a stream: they raise on a `data` object with `error`.

    When the client has half an event (`StreamReader.mid_event`), that must be ended first, with two line feeds.
    """
    return b"data: " + error_body(error) + b"\n\n"
