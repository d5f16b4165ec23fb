"""Fields and heads: the parts of HTTP messages both ends share, as bytes.

A field is `(lower, name, value)`: the name in lower case for comparing, the name as it came for sending on. Fields stay
in the order they came in, repeated ones included, because a gateway has no business reordering them (RFC 9110, 5.3).
"""

from __future__ import annotations

import time
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import TypeAlias

import msgspec

Field: TypeAlias = tuple[bytes, bytes, bytes]
Fields: TypeAlias = list[Field]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields that speak about one connection (RFC 9110, 7.6.1); never forwarded in either direction."""

_PLAIN_CONNECTION = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close"))
_ENDED_ELSEWHERE = HOP_BY_HOP | {b"content-length"}


class Framing(Enum):
    """How the end of a body is told (RFC 9112, 6.3)."""

    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "close"
    NONE = "none"


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    status: int
    phrase: bytes
    fields: Fields
    framing: Framing


def field(fields: Fields, lower: bytes) -> bytes | None:
    """The first value of a field, None when it is absent."""
    for name, _, value in fields:
        if name == lower:
            return value
    return None


def end_hop(fields: Fields) -> None:
    """Take out what `Connection` declares to be for this hop only (RFC 9110, 7.6.1), beside the well-known ones.

    Before any rule on fields is applied: who sends a message must not name away what a rule adds to it. Content-Length
    stays, or the next hop could not tell where the body ends.
    """
    for lower, _, value in fields:
        if lower == b"connection" and value not in _PLAIN_CONNECTION:
            break
    else:
        return
    named = {
        option.strip().lower() for lower, _, value in fields if lower == b"connection" for option in value.split(b",")
    } - _ENDED_ELSEWHERE
    fields[:] = [field for field in fields if field[0] not in named]


def render(parts: list[bytes], fields: Fields, drop: frozenset[bytes]) -> None:
    """Append the fields that are not in `drop` to `parts`, in wire form."""
    for lower, name, value in fields:
        if lower not in drop:
            parts += (name, b": ", value, b"\r\n")


@lru_cache(maxsize=128)
def status_line(status: int) -> bytes:
    """`HTTP/1.1 404 Not Found` and its line end, for answers the gateway makes itself."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = {499: "Client Closed Request"}.get(status, "Status")
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


@lru_cache(maxsize=2)
def _date_of(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


def date() -> bytes:
    """The value of a `Date` field now; rendered once a second."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=256)
def readable_encodings(accept: bytes) -> bytes:
    """An `Accept-Encoding` cut down to the codings whose content the gateway reads for usage: gzip, deflate, identity.

    `*` becomes `gzip`. What is left empty becomes `identity`: an absent field allows everything (RFC 9110, 12.5.3).
    """
    kept = []
    for item in accept.split(b","):
        coding = item.split(b";", 1)[0].strip().lower()
        if coding in (b"gzip", b"x-gzip", b"deflate", b"identity"):
            kept.append(item.strip())
        elif coding == b"*":
            kept.append(item.strip().replace(b"*", b"gzip", 1))
    return b", ".join(kept) or b"identity"
