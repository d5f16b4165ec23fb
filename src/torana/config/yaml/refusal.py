"""What PyYAML says of a text that is no YAML: the place of the mistake, and what would be right.

Nothing here repeats the text, which may hold a secret: the words are the parser's own.
"""

from __future__ import annotations

from typing import NamedTuple

import yaml
from yaml.reader import ReaderError

_UNCLOSED = "unexpected end of stream"
_COLON = (
    "a `: ` begins a value: does the line before lack a space behind its `:`, or have the two another indentation? "
    "Text that holds a `: ` has to be in quotes"
)
_CURES = (
    ("mapping values are not allowed", _COLON),
    ("sequence entries are not allowed", "begin a list in a line of its own"),
    ("tab character", "indent with spaces"),
    ("cannot start any token", "indent with spaces; text that begins with `@`, `%` or a backquote has to be in quotes"),
    ("alphabetic or numeric character", "text that begins with `*` or `&` has to be in quotes"),
    ("escape character", "in double quotes a `\\` begins an escape: use single quotes"),
    ("characters are not allowed", "remove it, or write it as an escape in double quotes"),
    (_UNCLOSED, "the quote that opens here is never closed"),
    ("parsing a block mapping", "keys of one object begin in one column, and quotes go around the whole of a text"),
    ("parsing a block collection", "items of one list begin in one column"),
    ("parsing a flow", "what opens with a bracket has to be closed, and commas stand between its members"),
    ("<document start>", "the keys at the top begin in one column"),
)
"""A piece of what either of PyYAML's parsers says -> what is most often wrong. Of several the first."""


class Refusal(NamedTuple):
    """`offset` counts the text's characters."""

    offset: int
    words: str
    hint: str


def refusal(error: yaml.YAMLError, text: str) -> Refusal:
    if isinstance(error, ReaderError):
        words, place = str(error.reason), error.position
        if error.encoding != "unicode":  # libyaml counts bytes where it refuses a character
            place = len(text.encode()[:place].decode(errors="ignore"))
        return Refusal(place, words, _cure(words))
    assert isinstance(error, yaml.MarkedYAMLError)
    words, context = error.problem or "unreadable", error.context or ""
    # What is never closed is missed at the end of the text, and to be looked for where it begins.
    mark = (error.context_mark if _UNCLOSED in words else None) or error.problem_mark or error.context_mark
    return Refusal(min(mark.index if mark is not None else 0, len(text)), words, _cure(f"{context} {words}"))


def _cure(words: str) -> str:
    return next((hint for piece, hint in _CURES if piece in words), "")
