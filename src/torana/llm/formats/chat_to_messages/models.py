"""What Anthropic's models take, by their names: the API refuses what a model does not know, with status 400.

https://docs.claude.com/en/docs/about-claude/models/migration-guide, .../docs/build-with-claude/adaptive-thinking
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple


class Version(NamedTuple):
    """Of a Claude model: `claude-opus-4-6` is 4, 6."""

    major: int
    minor: int = 0


class Thinking(Enum):
    """How a model is asked to think: not at all, with a budget of tokens, or as much as it finds right."""

    NEVER = "never"
    BUDGET = "enabled"
    ADAPTIVE = "adaptive"


# `claude-3-5-haiku-20241022`, `us.anthropic.claude-opus-4-6-v1`, `anthropic/claude-4.5-sonnet`; the date in
# `claude-sonnet-4-20250514` is no minor version.
_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)*v?(\d)(?:[-.](\d{1,2})(?!\d))?").search
_NEWEST: Final = Version(99)

_FIRST_THINKING: Final = Version(3, 7)
_FIRST_ADAPTIVE: Final = Version(4, 6)
_LAST_SAMPLING: Final = Version(4, 6)
_FIRST_THINKING_UNASKED: Final = Version(5)


def version_of(model: str) -> Version | None:
    """None: no Claude. A Claude without a number counts as the newest."""
    name = model.lower()
    found = _VERSION(name)
    if found is not None:
        return Version(int(found[1]), int(found[2] or 0))
    return _NEWEST if "claude" in name else None


def thinking_of(version: Version | None) -> Thinking:
    """Other makers' models behind Messages know the older form."""
    if version is None:
        return Thinking.BUDGET
    if version < _FIRST_THINKING:
        return Thinking.NEVER
    return Thinking.BUDGET if version < _FIRST_ADAPTIVE else Thinking.ADAPTIVE


def samples(version: Version | None) -> bool:
    """Whether temperature, top_p and top_k can be set: until Opus 4.6 (https://docs.claude.com/en/api/messages)."""
    return version is None or version <= _LAST_SAMPLING


def thinks_unasked(version: Version | None) -> bool:
    """Whether a Claude thinks when the request says nothing; some of them refuse to be told not to."""
    return version is not None and version >= _FIRST_THINKING_UNASKED
