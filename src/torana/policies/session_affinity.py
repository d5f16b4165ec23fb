"""sessionAffinity: what requests that belong together have in common, so that they go to the same endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torana.exchange import Exchange
from torana.http.message import field
from torana.model.policy import Affinity
from torana.policies.expression import Expression, Sees

AffinityKey: TypeAlias = Callable[[Exchange], bytes | None]
"""None for a request that has nothing in common with others: without the header, the cookie, or a value."""


def compile_affinity(affinity: Affinity | None) -> AffinityKey | None:
    """None where there is no affinity. Raises ValueError for an expression with a fault."""
    if affinity is None:
        return None
    if affinity.header is not None:
        header = affinity.header.lower().encode()
        return lambda exchange: field(exchange.fields, header) or None
    if affinity.cookie is not None:
        cookie = affinity.cookie.encode()
        return lambda exchange: _cookie(exchange, cookie) or None
    expression = Expression(affinity.expression or "null", Sees.REQUEST)
    return lambda exchange: _text(expression.evaluate(exchange))


def _cookie(exchange: Exchange, name: bytes) -> bytes | None:
    """The first of that name (RFC 6265, 4.2)."""
    for lower, _, value in exchange.fields:
        if lower == b"cookie":
            for pair in value.split(b";"):
                given, _, content = pair.partition(b"=")
                if given.strip() == name:
                    return content.strip()
    return None


def _text(value: object) -> bytes | None:
    """Values that are equal give equal bytes; an empty one is none."""
    return None if value is None else str(value).encode() or None
