"""Configuration faults are values: each says where it is, what is wrong and what would be right.

They are collected, never raised one at a time, so that a user sees everything that is wrong with a file in one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import msgspec

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would break a line of the log, or steer the terminal that shows it."""


class Severity(Enum):
    """ERROR: the configuration is refused. WARNING: it runs, and probably not as meant."""

    ERROR = "error"
    WARNING = "warning"


class Problem(msgspec.Struct, frozen=True):
    """One fault. `where` is a file name, `<stdin>`, `-c` or `environment`; line and column count from 1, 0 is unknown.

    `path` is the key path, such as `binds[0].listeners[0].routes[0].policies.backendTLS`. No text of it ever holds a
    value that came from an environment variable or a file.
    """

    where: str
    line: int
    column: int
    path: str
    what: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}:{self.column}" if self.line else self.where
        path = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return _CONTROL.sub(" ", f"{place}: {self.severity.value}: {path}{self.what}{hint}")


class ConfigError(Exception):
    """A configuration that cannot run. `problems` holds every error and warning found, in file order.

    `files` are those it names, as far as it was read: when one changes, another try may succeed.
    """

    def __init__(self, problems: Iterable[Problem], files: Iterable[Path] = ()) -> None:
        self.problems = in_order(problems)
        self.files = tuple(files)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """File by file in the order of their first problems, and in file order; what has no line comes last."""
    found = tuple(problems)
    files = {where: number for number, where in enumerate(dict.fromkeys(problem.where for problem in found))}

    def place(problem: Problem) -> tuple[bool, int, int, int]:
        return problem.line == 0, files[problem.where], problem.line, problem.column

    return tuple(sorted(found, key=place))
