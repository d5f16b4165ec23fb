"""JSON that is nested too deeply to be decoded, without its depths.

An API server takes a thousand levels where a schema takes anything. One such object in a list would keep all the
others from being read.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

DEEPEST: Final = 200
"""Levels that are kept: more than is read of any object (`decode`), and fewer than a decoder takes."""

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)

T = TypeVar("T")


def decoded(content: bytes, kind: type[T]) -> T:
    """Raises msgspec.MsgspecError."""
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError:
        return msgspec.json.decode(shallow(content), type=kind)


def shallow(content: bytes) -> bytes:
    """With null in place of what is nested deeper than DEEPEST."""
    pieces: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(content):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth == DEEPEST + 1:
                    pieces += [content[start : token.start()], b"null"]
            case b"]" | b"}":
                if depth == DEEPEST + 1:
                    start = token.end()
                depth -= 1
    return b"".join([*pieces, content[start:]])
