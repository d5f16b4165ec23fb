"""What a handler does with a client's connection: it answers, in one piece or as it comes, or changes the protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from torana.http.body import Source
from torana.http.client import UpstreamConnection
from torana.http.message import Framing
from torana.http.request import Request
from torana.http.upgrade import Tunnel

if TYPE_CHECKING:
    from torana.http.server import Server

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class AnsweringConnection(asyncio.Protocol):
    """The writing half of a ServerConnection, which reads: `respond`, or `start`, `write` and `finish`, or `switch`."""

    __slots__ = (
        "_coupled", "_framing", "_held", "_lived", "_started", "_task", "_transport", "_tunnel", "_write_paused",
        "active", "closing", "server",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        # configured
        self.server = server
        # per connection
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._lived = 0  # sweeps since the connection was made
        self._write_paused = False
        self._held: bytes | None = None  # what came after an offer of WebSocket that is not decided yet
        self._tunnel: Tunnel | None = None
        self.closing = False
        # per request being answered
        self.active: Request | None = None
        self._coupled: Source | None = None
        self._framing = Framing.NONE
        self._started = False

    def respond(self, head: list[bytes], body: bytes) -> None:
        """A whole answer in one write. `head` ends before the blank line and has Content-Length in it."""
        self._started = True
        self._framing = Framing.LENGTH
        self._close_header(head)
        head += (b"\r\n", body)
        self._send(b"".join(head))

    def start(self, head: list[bytes], framing: Framing) -> None:
        """The head of an answer whose body follows by `write`, with what the framing needs; nothing is sent yet."""
        self._started = True
        request = self.active
        assert request is not None
        if framing is Framing.CHUNKED and request.version == "1.0":
            framing = Framing.CLOSE
        self._framing = framing
        if framing is Framing.CHUNKED:
            head.append(b"transfer-encoding: chunked\r\n")
        elif framing is Framing.CLOSE:
            request.keep_alive = False
        self._close_header(head)
        head.append(b"\r\n")

    def write(self, chunks: list[bytes], before: list[bytes] | None = None) -> None:
        """Body octets, in the chunks they came in, all in one write; `before` is a head not sent yet."""
        out = before if before is not None else []
        if self._framing is Framing.CHUNKED:
            for chunk in chunks:
                if chunk:  # an empty chunk would be the end
                    out += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
        else:
            out += chunks
        if out:
            self._send(b"".join(out))

    def finish(self, before: list[bytes] | None = None, chunks: list[bytes] | None = None) -> None:
        """The end of the answer, with the head and the last chunks when they have not been sent yet."""
        out = before if before is not None else []
        if self._framing is Framing.CHUNKED:
            for chunk in chunks or ():
                if chunk:
                    out += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
            out.append(b"0\r\n\r\n")
        elif chunks:
            out += chunks
        if out:
            self._send(b"".join(out))

    def abort(self) -> None:
        """Cut the connection, so that no client takes what it has got for complete."""
        self.closing = True
        if self._tunnel is not None:
            self._tunnel.abort()
        self._transport.abort()

    def cut(self) -> None:
        """Close without an ending, after what has been written is sent: an incomplete message (RFC 9112, 8)."""
        if self._framing is Framing.CLOSE:
            self.abort()  # only a reset tells that something is missing
        else:
            self._close()

    def switch(self, head: list[bytes], upstream: UpstreamConnection) -> Tunnel:
        """The answer is a 101: `head`, and after it bytes both ways, until either end is lost.

        The handler is no longer cancelled when the client leaves: the tunnel ends, and tells.
        """
        self._started = True
        self._task = None
        self._send(b"".join((*head, b"\r\n")))
        self.server.sweep.outbox.flush()
        transport, early = upstream.hand_over()
        self._tunnel = tunnel = Tunnel(self.server, self._transport, transport, self.connection_lost)
        tunnel.begin(self._held or b"", early)
        return tunnel

    def couple(self, source: Source | None) -> None:
        """While the client takes no more, `source` is paused; None undoes it."""
        self._coupled = source
        if source is not None and self._write_paused:
            source.pause()

    @property
    def answer_started(self) -> bool:
        return self._started

    @property
    def will_close(self) -> bool:
        request = self.active
        if self.server.draining or request is None or not request.keep_alive:
            return True
        return self.server.age_intervals is not None and self._lived >= self.server.age_intervals

    # inside

    def _continue(self) -> None:
        if not self._started and not self._transport.is_closing():
            self.server.sweep.outbox.write(self._transport, _CONTINUE)

    def _send(self, data: bytes) -> None:
        if self._transport.is_closing():
            return  # the client has left; its request is being cancelled
        server = self.server
        server.sent_bytes += len(data)
        server.sweep.outbox.write(self._transport, data)

    def _close_header(self, head: list[bytes]) -> None:
        request = self.active
        assert request is not None
        if not request.body.done:
            request.keep_alive = False  # answered before it was received: what is left of it will not be read
        if self.will_close:
            head.append(b"connection: close\r\n")
        elif request.version == "1.0":
            head.append(b"connection: keep-alive\r\n")

    def _close(self) -> None:
        """After what has been written is sent."""
        self.closing = True
        self.server.sweep.outbox.flush()
        self._transport.close()
