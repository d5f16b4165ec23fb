"""Findings: what is wrong with the objects, collected."""

from __future__ import annotations

import msgspec

from torana.config.kubernetes.objects import Object
from torana.config.problem import Problem, Severity


class Findings:
    """Problems, each once and with its hint, in whatever order they are found. No text holds a Secret's value."""

    def __init__(self) -> None:
        self._problems: dict[Problem, Problem] = {}

    def error(self, obj: Object, what: str, hint: str = "") -> None:
        self._add(obj, what, hint, Severity.ERROR)

    def warning(self, obj: Object, what: str, hint: str = "") -> None:
        self._add(obj, what, hint, Severity.WARNING)

    def _add(self, obj: Object, what: str, hint: str, severity: Severity) -> None:
        where = obj.place.where if obj.place else "cluster"
        line, column = (obj.place.line, obj.place.column) if obj.place else (0, 0)
        plain = Problem(where, line, column, str(obj.key), what, "", severity)
        if hint or plain not in self._problems:
            self._problems[plain] = msgspec.structs.replace(plain, hint=hint)

    def in_order(self) -> tuple[Problem, ...]:
        """By file, line and object."""
        return tuple(sorted(self._problems.values(), key=lambda p: (p.where, p.line, p.column, p.path, p.what, p.hint)))
