"""Trouble: what keeps a gateway that follows a cluster from knowing the newest, or from telling what it knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Trouble(NamedTuple):
    """`kind` of resource and `reason` are words for labels, `words` are for people and hold no secret.

    `stale`: what runs may not be the newest. Without it only the telling of statuses suffers.
    """

    kind: str
    reason: str
    words: str
    stale: bool = True


def told(troubles: Iterable[Trouble]) -> str:
    """In one line. One server that is gone is one trouble, not a dozen: the same words are said once, of no kind."""
    kinds: dict[str, list[str]] = {}
    for trouble in troubles:
        kinds.setdefault(trouble.words, []).append(trouble.kind)
    return "; ".join(f"{whose[0]}: {words}" if len(whose) == 1 else words for words, whose in kinds.items())
