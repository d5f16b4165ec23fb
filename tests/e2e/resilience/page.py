"""The table of failures in docs/resilience.md, row by row: read, compared with what was seen, and written anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

PAGE = Path(__file__).parents[3] / "docs" / "resilience.md"

_BEGIN = "<!-- failures: `make golden` writes them -->\n"
_END = "<!-- end of failures -->\n"
_HEADING = "| what breaks | | call | the client gets | the next is asked | told as |\n|---|---|---|---|---|---|\n"


class Row(NamedTuple):
    phase: str
    name: str
    call: str
    gets: str
    asked: str
    why: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self[:3]


class Page:
    """The rows of the page as they stand there."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows = {row.key: row for row in rows}

    @classmethod
    def read(cls) -> Self:
        _, _, rest = PAGE.read_text().partition(_BEGIN)
        lines = rest.partition(_END)[0].splitlines()[2:]
        return cls(Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines)

    def write(self, order: Iterable[tuple[str, str, str]]) -> None:
        """Put the rows that there are into the page, in this order."""
        before, _, rest = PAGE.read_text().partition(_BEGIN)
        rows = (self.rows[key] for key in order if key in self.rows)
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        PAGE.write_text(before + _BEGIN + _HEADING + table + _END + rest.partition(_END)[2])
