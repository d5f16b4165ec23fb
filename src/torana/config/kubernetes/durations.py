"""Durations as the Gateway API writes them (GEP-2257): `1h30m`, `500ms`, of at most four numbers of five digits."""

from __future__ import annotations

import re

from torana.config import duration

_WHOLE = re.compile(r"(?:[0-9]{1,5}(?:h|m|s|ms)){1,4}")


def seconds(field: str, text: str) -> float:
    """Raises ValueError, with words that name the field, for anything else."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f'{field} "{text}" is no duration such as 1h30m or 500ms')
    return duration.seconds(text)
