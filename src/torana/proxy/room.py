"""The memory that the long bodies of requests may take together: beyond it the next one is refused, and nothing falls.

maxBufferSize bounds each body, and maxConnections their number; the product of both is more than any machine has.
"""

from __future__ import annotations

from typing import Final

from torana.errors import GatewayError, Reason

FREE: Final = 64 * 1024
"""Bytes of a body that is not counted: maxConnections is bound enough for these."""

_RETRY_AFTER = 1.0  # seconds: as long as most providers take to begin their answer, with which a body is let go


class Room:
    """Bytes of bodies that one process holds. `limit` may change at any time; what is held stays."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, size: int, held: int) -> None:
        """`size` octets more for a body that has `held`. Raises OVERLOADED; a body alone is never refused."""
        if self.taken > held and self.taken + size > self.limit:
            raise GatewayError(
                Reason.OVERLOADED,
                f"The gateway holds as many bytes of other requests' bodies as it may ({self.limit:,}). Try again, or "
                "raise frontendPolicies.http.maxTotalBufferSize in its configuration.",
                retry_after=_RETRY_AFTER,
            )
        self.taken += size

    def give(self, size: int) -> None:
        self.taken -= size
