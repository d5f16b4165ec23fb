"""The downstream end: a port, and what its connections share."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from torana.errors import GatewayError
from torana.http.connection import ServerConnection
from torana.http.request import Request
from torana.http.sweep import Sweep, intervals

if TYPE_CHECKING:
    from torana.model.config import Limits

__all__ = ["Handler", "Refusal", "Server", "ServerConnection"]

Handler: TypeAlias = Callable[[Request, ServerConnection], Awaitable[None]]
Refusal: TypeAlias = Callable[[GatewayError, ServerConnection], bytes]

_BACKLOG = 4096  # connections the kernel may hold for us; it cuts this to its own limit
_HANDSHAKE = 15.0  # seconds a TLS handshake may take; agentgateway's default


class Server:
    """One listening port: what its connections share."""

    def __init__(self, handler: Handler, refusal: Refusal, limits: Limits, sweep: Sweep, port: int = 0) -> None:
        self.handler = handler
        self.refusal = refusal
        self.port = port
        self.sweep = sweep
        self.connections: set[ServerConnection] = set()
        self.accepted = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.draining = False
        self.cutting = False  # the time to drain is over
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Take effect for every connection at once, open ones included."""
        self.limits = limits
        self.header_intervals = intervals(limits.header_timeout)
        self.idle_intervals = intervals(limits.idle_timeout)
        self.send_intervals = intervals(limits.send_timeout)
        self.age_intervals = intervals(limits.max_connection_age) if limits.max_connection_age else None

    async def accept_on(self, sock: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Accept connections on a bound socket, which is the returned server's from now on."""
        loop = asyncio.get_running_loop()
        handshake = None if tls is None else _HANDSHAKE
        return await loop.create_server(
            lambda: ServerConnection(self), sock=sock, ssl=tls, ssl_handshake_timeout=handshake, backlog=_BACKLOG
        )

    def drain(self) -> None:
        """Take no new request: idle connections close now, busy ones after the answer under way."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_when_idle()

    async def drained(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the open connections, then cut what is left. True when none was cut."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.connections and loop.time() < deadline:  # noqa: ASYNC110 - once in a server's life
            await asyncio.sleep(0.02)
        self.cutting = True
        late = tuple(self.connections)
        for connection in late:
            connection.abort()
        return not late
