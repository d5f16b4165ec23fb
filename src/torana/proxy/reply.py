"""Answers the gateway makes itself: errors in the API's own form, and what policies reply."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable
from urllib.parse import quote

from torana.errors import GatewayError
from torana.exchange import LocalReply
from torana.http.message import Fields, date, field, render, status_line
from torana.http.server import ServerConnection
from torana.llm.errors import ANTHROPIC, error_body
from torana.llm.operation import Operation

_NOTHING: frozenset[bytes] = frozenset()
_LONGEST = 1024  # bytes of a list in a field; a client may have sent thousands of things
_VISIBLE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"  # of ASCII, beside letters, digits and `_.-~`; without `%`, which escapes
_ID = re.compile(rb"[!-~]{1,128}\Z").match


def error_reply(error: GatewayError, request_id: str, operation: Operation | None = None) -> LocalReply:
    """An error in the words of the client's API, with the id under which the log has its details.

    OpenAI's and Anthropic's SDKs repeat by status, unless `x-should-retry` tells them that it would not help.
    """
    fields: Fields = [
        (b"content-type", b"content-type", b"application/json"),
        (b"x-request-id", b"x-request-id", request_id.encode("latin-1")),
    ]
    if operation in ANTHROPIC:  # where its SDKs look for the id
        fields.append((b"request-id", b"request-id", request_id.encode("latin-1")))
    if error.retry_after is not None:
        fields.append((b"retry-after", b"retry-after", b"%d" % math.ceil(error.retry_after)))
    if not error.reason.fault.mends:
        fields.append((b"x-should-retry", b"x-should-retry", b"false"))
    return LocalReply(error.reason.fault.status, fields, error_body(error, operation))


def request_id(fields: Fields) -> str:
    """The client's own `x-request-id` when it is a short visible text, else a new one."""
    given = field(fields, b"x-request-id")
    return given.decode("ascii") if given is not None and _ID(given) else new_id()


def new_id() -> str:
    return uuid.uuid4().hex


def listed(names: Iterable[str]) -> bytes:
    """Names that somebody has chosen, as a field's value: what is no visible ASCII is escaped as in a URL."""
    text = ", ".join(names)[:_LONGEST]
    return quote(text, safe=_VISIBLE, errors="replace")[:_LONGEST].encode("ascii")


def render_reply(reply: LocalReply) -> list[bytes]:
    """The head of a reply, without its blank line."""
    parts = [status_line(reply.status), b"date: ", date(), b"\r\n"]
    render(parts, reply.fields, _NOTHING)
    if reply.status not in (204, 304):
        parts.append(b"content-length: %d\r\n" % len(reply.body))
    return parts


def refusal(error: GatewayError, request_id: str) -> bytes:
    """The whole answer to something that never became a request; the connection closes after it."""
    reply = error_reply(error, request_id)
    return b"".join([*render_reply(reply), b"connection: close\r\n\r\n", reply.body])


def refuse(error: GatewayError, _: ServerConnection) -> bytes:
    """`refusal` for servers that keep no account of it."""
    return refusal(error, new_id())
