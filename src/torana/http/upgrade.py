"""WebSocket: the offer in a request, and the tunnel once the upstream has taken it (RFC 6455, 4; RFC 9110, 7.8).

From the 101 on nobody here reads what passes: whatever comes from one end goes to the other as it is, no faster than
the other takes it. What either end says last is passed on before both are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from torana.errors import GatewayError, Reason
from torana.http.message import Fields, field
from torana.http.request import Request
from torana.http.sweep import intervals

if TYPE_CHECKING:
    from torana.http.server import Server

_LAST_WORDS = 10.0  # seconds of silence that an end may take after the other has said its last; a close frame is short

LINES = b"connection: Upgrade\r\nupgrade: websocket\r\n"
"""What offers WebSocket in a request, and takes it in a 101."""


def offers_websocket(request: Request) -> bool:
    """Whether an offer to change the protocol is one that may be passed on: WebSocket's, by a GET of HTTP/1.1."""
    return request.method == b"GET" and request.version == "1.1" and names_websocket(request.fields)


def names_websocket(fields: Fields) -> bool:
    offered = field(fields, b"upgrade") or b""
    return any(each.strip().lower() == b"websocket" for each in offered.split(b","))


class Tunnel:
    """Two connections that pass on what they receive. `ended` is set when both are lost, and `error` is why, if known.

    Limits are the server's: `idle_timeout` for silence both ways, `send_timeout` for an end that takes nothing.
    """

    def __init__(
        self,
        server: Server,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        left: Callable[[Exception | None], None],
    ) -> None:
        """`left` is told when the client is lost."""
        self._server = server
        self._left = left
        self._quiet = 0  # sweeps since the last byte, from either end
        self._idle_intervals = server.idle_intervals
        self._client = _End(self, client)
        self._upstream = _End(self, upstream)
        self._client.other, self._upstream.other = self._upstream, self._client
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: GatewayError | None = None
        self.sent_bytes = 0
        """To the client."""

    def begin(self, from_client: bytes, from_upstream: bytes) -> None:
        """Take the connections over, with what has come from each already."""
        ends = (self._client, self._upstream)
        for end in ends:
            end.transport.set_protocol(end)
        self._server.sweep.members.add(self)
        for end, early in zip(ends, (from_client, from_upstream), strict=True):
            if early:
                self.pass_on(end, early)
        for end in ends:
            if end.transport.is_closing():
                self.lost(end, None)  # its own notice went to whoever had it before
            elif not end.other.full:
                end.transport.resume_reading()

    def abort(self) -> None:
        """Cut both ends, whatever is under way."""
        for end in (self._client, self._upstream):
            end.transport.abort()

    def close(self) -> None:
        """End both, each when it has taken what was sent to it."""
        for end in (self._client, self._upstream):
            end.transport.close()

    def swept(self) -> None:
        """One interval has passed: end what has been quiet, or takes nothing, for too long."""
        self._quiet += 1
        if any(end.stuck() >= self._server.send_intervals for end in (self._client, self._upstream)):
            self.abort()
        elif self._quiet >= self._idle_intervals and not self._client.transport.is_closing():
            if not (self._client.silent or self._upstream.silent):
                limit = self._server.limits.idle_timeout
                message = f"Nothing came from either end of the WebSocket within {limit:g} seconds."
                self.error = GatewayError(Reason.REQUEST_TIMEOUT, message)
            self.close()

    # the ends' side

    def pass_on(self, end: _End, data: bytes) -> None:
        """`data` came from `end`."""
        self._quiet = 0
        if end is self._client:
            self._server.received_bytes += len(data)
        else:
            self._server.sent_bytes += len(data)
            self.sent_bytes += len(data)
        if not end.other.transport.is_closing():
            end.other.transport.write(data)

    def silenced(self, end: _End) -> bool:
        """`end` sends no more, but may still be told something; whether it is, or its connection ends."""
        if end.silent:
            return True
        end.silent = True
        other = end.other
        if other.silent or not (end.transport.can_write_eof() and other.transport.can_write_eof()):
            self.close()  # TLS ends both ways at once
            return False
        self._quiet = 0
        self._idle_intervals = min(self._idle_intervals, intervals(_LAST_WORDS))
        if not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def lost(self, end: _End, error: Exception | None) -> None:
        """The connection of `end` is no more."""
        if end.lost:
            return
        end.lost = True
        if error is not None and self.error is None and not end.other.lost:
            reason, who = (
                (Reason.CLIENT_LEFT, "client") if end is self._client else (Reason.UPSTREAM_CLOSED, "upstream")
            )
            self.error = GatewayError(reason, f"The connection to the {who} broke: {error}.")
        end.other.transport.close()
        if end is self._client:
            self._left(error)
        if end.other.lost:
            self._server.sweep.members.discard(self)
            if not self.ended.done():
                self.ended.set_result(None)


class _End(asyncio.Protocol):
    """One of two connections. `silent`: it sends no more; `full`: it takes no more for now."""

    __slots__ = ("_stalled", "_tunnel", "_unsent", "full", "lost", "other", "silent", "transport")

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._stalled = 0  # sweeps since it last took something of what waits for it
        self._unsent = 0  # bytes that waited for it then
        self.transport = transport
        self.other: _End
        self.full = self.silent = self.lost = False

    def stuck(self) -> int:
        """For how many sweeps it has taken nothing of what waits for it."""
        unsent = 0 if self.lost else self.transport.get_write_buffer_size()
        self._stalled = self._stalled + 1 if unsent and unsent >= self._unsent else 0
        self._unsent = unsent
        return self._stalled

    # the transport's side

    def data_received(self, data: bytes) -> None:
        self._tunnel.pass_on(self, data)

    def pause_writing(self) -> None:
        self.full = True
        other = self.other
        if not (other.silent or other.transport.is_closing()):
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        other = self.other
        if not (other.silent or other.transport.is_closing()):
            other.transport.resume_reading()

    def eof_received(self) -> bool:
        return self._tunnel.silenced(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.lost(self, exc)
