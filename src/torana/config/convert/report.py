"""The Report of a conversion: what became of each thing that was read."""

from __future__ import annotations

from enum import Enum

import msgspec


class Fidelity(Enum):
    """How much of a thing came across.

    EXACT: means the same. APPROXIMATE: runs, with a difference that is told. MANUAL: left out, and there is something
    to do by hand. UNSUPPORTED: left out, and there is nothing to put in its place.
    """

    EXACT = "exact"
    APPROXIMATE = "approximate"
    MANUAL = "manual"
    UNSUPPORTED = "unsupported"


class Finding(msgspec.Struct, frozen=True):
    """`line` counts from 1; 0 is no line. No text of it ever holds a credential or a variable's value."""

    where: str
    line: int
    fidelity: Fidelity
    subject: str
    what: str = ""

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}" if self.line else self.where
        return f"{place}: {self.fidelity.value}: {self.subject}" + (f": {self.what}" if self.what else "")


class Report:
    """Collects findings; the same one counts once."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._findings: dict[Finding, None] = {}

    def add(self, fidelity: Fidelity, subject: str, what: str = "", *, line: int = 0) -> None:
        self._findings[Finding(self.where, line, fidelity, subject, what)] = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In the order of their lines; those without one come last."""
        return tuple(sorted(self._findings, key=lambda finding: (finding.line == 0, finding.line)))

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return all(each.fidelity in (Fidelity.EXACT, Fidelity.APPROXIMATE) for each in self._findings)

    @property
    def summary(self) -> str:
        counts = {kind: sum(each.fidelity is kind for each in self._findings) for kind in Fidelity}
        return ", ".join(f"{count} {kind.value}" for kind, count in counts.items())


class Converted(msgspec.Struct, frozen=True):
    """What a conversion makes: the text, and what is to be known of it."""

    text: str
    report: Report
