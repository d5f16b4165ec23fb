"""How long an upstream asks to be left alone, in the headers that providers use for it.

`retry-after` is RFC 9110, 10.2.3; `retry-after-ms` is OpenAI's and Azure's. Of `x-ratelimit-reset*` there is one a
limit, whose `x-ratelimit-remaining*` tells whether it is the one that ran out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_RESET: Final = b"x-ratelimit-reset"
_REMAINING: Final = b"x-ratelimit-remaining"
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_PARTS: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST: Final = 3600.0  # seconds; an upstream that asks for a longer pause is believed no further
_EPOCH: Final = 1e9  # a number of seconds above this is a date (2001 and later), not a length of time


def pause_of(status: int, fields: Iterable[tuple[bytes, bytes, bytes]], wall: float) -> float | None:
    """Seconds from `wall` (seconds since 1970) on, an hour at most; None when no time that is to come is named.

    The limits are told in every answer, so only a 429 speaks of one that ran out.
    """
    asked: list[float | None] = []
    resets: dict[bytes, float] = {}
    spent: set[bytes] = set()
    for lower, _, value in fields:
        text = value.decode("latin-1").strip()
        if lower == b"retry-after":
            asked.append(_time(text, wall))
        elif lower == b"retry-after-ms":
            asked.append(float(text) / 1000 if _NUMBER.fullmatch(text) else None)
        elif status == 429 and lower.startswith(_RESET):
            seconds = _time(text, wall)
            if seconds is not None:
                resets[lower.removeprefix(_RESET)] = seconds
        elif lower.startswith(_REMAINING) and text == "0":
            spent.add(lower.removeprefix(_REMAINING))
    pauses = [seconds for seconds in asked if seconds is not None]
    if not pauses:
        # The limit that ran out says when it is over; if none is told to have, the first to be over may be it.
        ran_out = resets.keys() & spent
        pauses = [max(resets[name] for name in ran_out)] if ran_out else [*resets.values()]
    pause = min(pauses, default=0.0)
    return min(pause, _LONGEST) if pause > 0 else None


def _time(text: str, wall: float) -> float | None:
    """`120`, `1.5`, `6m0s`, `20ms`, a time since 1970 in seconds or milliseconds, or an HTTP date."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number > _EPOCH * 1000:
            number /= 1000
        return number - wall if number > _EPOCH else number
    if text and not _PARTS.sub("", text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _PARTS.findall(text))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall
