"""requestHeaderModifier and responseHeaderModifier: remove, set and add header fields."""

from __future__ import annotations

from torana.exchange import Exchange
from torana.http.message import Field, Fields
from torana.model.policy import HeaderModifier


class HeaderModifierPolicy:
    """Remove first, then set, then add: a name that is both removed and set is there afterwards.

    Gateway API, HTTPHeaderFilter: `set` overwrites whatever there is, `add` appends to it; names have no case.
    """

    def __init__(self, modifier: HeaderModifier) -> None:
        self._gone = frozenset(
            [name.lower().encode() for name in modifier.remove] + [name.lower().encode() for name, _ in modifier.set]
        )
        self._new: list[Field] = [
            (name.lower().encode(), name.encode(), value.encode()) for name, value in (*modifier.set, *modifier.add)
        ]

    def on_request(self, exchange: Exchange) -> None:
        for lower, _, value in self._new:
            if lower == b"host":  # Host is not a field like others: it decides what the rest of the way works with
                exchange.host = value
        self.apply(exchange.fields)

    def on_response(self, _: Exchange, fields: Fields) -> None:
        self.apply(fields)

    def apply(self, fields: Fields) -> None:
        if self._gone:
            fields[:] = [field for field in fields if field[0] not in self._gone]
        fields += self._new
