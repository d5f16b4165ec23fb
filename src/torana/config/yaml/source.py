"""A configuration's text after expansion, and where each of its characters was in what the user wrote.

Every later step works on offsets into the expanded text. Only here are they turned into lines and columns of the
original, and only here is it known which of the text came from a variable and must therefore never be shown.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import cached_property

import msgspec

from torana.model.secret import Secret


class Place(msgspec.Struct, frozen=True):
    """A line and a column of the original text, both from 1."""

    line: int
    column: int


class Span(msgspec.Struct, frozen=True):
    """The expanded text from `start` to `end` stands for the original text from `written` to `written_end`."""

    start: int
    end: int
    written: int
    written_end: int


class Source(msgspec.Struct, frozen=True, dict=True):
    """`text` is expanded, `original` is as written; `spans` are the expansions, in order and apart."""

    where: str
    original: str
    text: str
    spans: tuple[Span, ...] = ()

    def place(self, offset: int) -> Place:
        """Where the character at this offset of the expanded text was written; an expanded one: where its `$` was."""
        return self._written_place(self._written(offset))

    def hides(self, start: int, end: int) -> bool:
        """Whether any of the text from `start` to `end` came from a variable."""
        i = bisect_right(self._starts, start) - 1
        last = bisect_left(self._starts, end)
        return any(span.end > start and self._is_variable(span) for span in self.spans[max(i, 0) : last])

    def _is_variable(self, span: Span) -> bool:
        return self.original[span.written : span.written_end] != "$$"

    def gives_nothing(self, start: int, end: int) -> bool:
        """Whether nothing stands from `start` to `end` where a variable does: an empty one, or one that is a comment.

        One whose default is empty says itself that there may be nothing: `${NAME:-}`.
        """
        line, space = self._behind(end, " \t"), self._behind(end, " \t\r\n")
        near = self.spans[bisect_left(self._starts, start) : bisect_right(self._starts, space)]
        return any(
            span.start <= (line if self.text[span.start : span.end].strip() else space)
            and not self.original[span.written : span.written_end].endswith(":-}")
            for span in near
        )

    def _behind(self, offset: int, blanks: str) -> int:
        while self.text[offset : offset + 1] in tuple(blanks):
            offset += 1
        return offset

    @property
    def hidden(self) -> frozenset[Secret]:
        """The texts that came from variables."""
        return frozenset(Secret(self.text[span.start : span.end]) for span in self.spans if self._is_variable(span))

    def hides_line(self, offset: int) -> bool:
        """Whether the line of the expanded text around this offset holds text from a variable."""
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        return self.hides(start, end if end >= 0 else len(self.text) + 1)

    @cached_property
    def _starts(self) -> list[int]:
        return [span.start for span in self.spans]

    @cached_property
    def _written_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.original))]

    def _written(self, offset: int) -> int:
        i = bisect_right(self._starts, offset) - 1
        if i < 0:
            return offset
        span = self.spans[i]
        return span.written if offset < span.end else span.written_end + offset - span.end

    def _written_place(self, offset: int) -> Place:
        line = bisect_right(self._written_starts, offset)
        return Place(line, offset - self._written_starts[line - 1] + 1)
