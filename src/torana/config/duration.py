"""Durations as Go and Kubernetes write them: `5s`, `100ms`, `1m30s`, `1.5h`."""

from __future__ import annotations

import re

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_UNIT = r"ns|us|µs|ms|s|m|h"

PATTERN = rf"^(?:{_NUMBER}(?:{_UNIT}))+$"
"""What a duration looks like, for a JSON Schema; groups do not capture."""

EXPECTED = "a duration such as 5s, 100ms or 1m30s"

_part = re.compile(rf"({_NUMBER})({_UNIT})")
_whole = re.compile(PATTERN)


def seconds(text: str) -> float:
    """`1m30s` is 90.0. Raises ValueError on anything that is no duration."""
    if not _whole.fullmatch(text):
        raise ValueError(EXPECTED)
    return sum(float(number) * _SECONDS[unit] for number, unit in _part.findall(text))
