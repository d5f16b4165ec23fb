"""Pattern: the regular expressions of a configuration, in RE2's dialect, which is agentgateway's and Envoy's as well.

RE2 takes time in proportion to the text, whatever the expression: with Python's own `re` a path of 28 bytes can hold up
every connection for seconds. It speaks of bytes, as requests are made of, and always of the whole value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import re2

_MEMORY: Final = 1 << 20  # bytes that RE2 may keep for one expression
_LARGEST: Final = 2000  # instructions; at worst each is looked at for each byte: a quarter of a second for 32 KiB

_WORDS: Final = {
    "missing )": "a `(` is never closed",
    "unexpected )": "a `)` closes nothing",
    "missing ]": "a `[` is never closed",
    "trailing \\": "a single `\\` ends it",
    "no argument for repetition operator": "{} has nothing to repeat",
    "bad repetition operator": "{} repeats a repetition",
    "invalid repetition size": "{} is out of order, or more than 1000 with those around it",
    "invalid character class range": "{} is no range or class of characters",
    "invalid escape sequence": "{} is no escape in RE2's syntax",
    "invalid perl operator": "{} is not in RE2's syntax, which has no look-around",
    "invalid named capture group": "{} does not name a group",
    "pattern too large - compile failed": "it is too large",
}
"""RE2's reasons, which the offending piece follows after a colon, in ours."""
_OF_THE_WHOLE: Final = frozenset({"missing )", "unexpected )", "trailing \\"})
"""The piece is all of the expression, or nothing."""


class PatternError(ValueError):
    """An expression that is none. `reason` quotes nothing of it; `position` is in characters, None where unknown."""

    def __init__(self, message: str, reason: str, position: int | None) -> None:
        super().__init__(message)
        self.reason = reason
        self.position = position


def check(text: str) -> None:
    """Raises PatternError for what is not to be matched: no expression, or one that is too large."""
    if _compiled(text).programsize > _LARGEST:
        raise PatternError("it is too large", "it is too large", None)


def whole(text: str) -> Callable[[bytes], bool]:
    """Whether all of a value fits the expression. Raises PatternError."""
    fullmatch = _compiled(text).fullmatch
    return lambda value: fullmatch(value) is not None


def escaped(text: str) -> str:
    """The expression that is just this text."""
    return str(re2.escape(text))


def _compiled(text: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a character is a byte
    options.never_capture = True  # groups are counted by nobody, and cost most of the time
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(text.encode(), options)
    except UnicodeEncodeError as error:  # half of a pair, which JSON can write
        raise PatternError(words := "it holds half a character", words, error.start) from error
    except re2.error as error:
        raise _told(text, error.args[0].decode(errors="replace")) from error


def _told(text: str, told: str) -> PatternError:
    kind, _, piece = told.partition(": ")
    words = _WORDS.get(kind, kind)
    # Only a piece that is there once can be pointed at.
    position = text.find(piece) if piece and kind not in _OF_THE_WHOLE and text.count(piece) == 1 else None
    return PatternError(words.format(f"`{piece}`"), words.format("a part of it"), position)
