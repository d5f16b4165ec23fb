"""Names of Kubernetes' objects, RFC 1123's labels, each once; and other texts in forms that its API asks for."""

from __future__ import annotations

import re

_LONGEST = 50
"""Of the 63 characters of a label; the rest is for what is put behind it."""

_PRECISE_HOSTNAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def precise_hostname(host: str) -> str | None:
    """The host as Gateway API's PreciseHostname; None for what has no such form, such as an IPv6 address."""
    return host.lower() if _PRECISE_HOSTNAME.fullmatch(host.lower()) else None


def gateway_duration(seconds: float) -> str:
    """GEP-2257: at most four whole numbers of five digits, the smallest of milliseconds."""
    rest, parts = max(round(seconds * 1000), 1 if seconds else 0), ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        if rest >= size and (unit in ("s", "ms") or rest > 99_999 * 1000):
            count, rest = divmod(rest, size)
            parts += f"{count}{unit}"
    return parts or "0s"


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
