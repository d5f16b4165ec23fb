"""Names of Kubernetes' objects: RFC 1123's labels, each once."""

from __future__ import annotations

import re

_LONGEST = 50
"""Of the 63 characters of a label; the rest is for what is put behind it."""


def label(text: str) -> str:
    """The text as a name: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST].strip("-") or "all"


class Names:
    """Names that have been given out."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def fresh(self, text: str) -> str:
        """The text as a name, with a number behind it when it is taken."""
        name, number = label(text), 2
        while name in self._given:
            name, number = f"{label(text)}-{number}", number + 1
        self._given.add(name)
        return name
