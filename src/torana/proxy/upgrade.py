"""WebSocket: the upstream has taken the client's offer, and from here on what passes is theirs alone."""

from __future__ import annotations

from torana.exchange import Exchange
from torana.http.message import HOP_BY_HOP, end_hop, render
from torana.http.server import ServerConnection
from torana.http.upgrade import LINES
from torana.proxy.answer import apply_policies
from torana.proxy.ask import Asked
from torana.proxy.snapshot import CompiledRoute

_DROPS = HOP_BY_HOP | {b"content-length"}  # a 101 has no body (RFC 9110, 8.6)


async def switch(exchange: Exchange, client: ServerConnection, asked: Asked, route: CompiledRoute) -> None:
    """The 101 and what follows it, to the end. What ended it other than the ends themselves is noted in the record."""
    head, record = asked.head, exchange.record
    record.status = head.status
    end_hop(head.fields)
    apply_policies(exchange, asked, route)
    parts = [b"HTTP/1.1 101 %b\r\n" % head.phrase, LINES]
    render(parts, head.fields, _DROPS)
    tunnel = client.switch(parts, asked.connection)
    try:
        await tunnel.ended
    finally:
        record.answer_bytes = tunnel.sent_bytes
    error = asked.connection.body.error or tunnel.error
    if error is not None:
        record.reason = error.reason.fault.label
        record.error = error.message
