"""One client's connection: requests handed over one at a time, in order, and their answers written.

A connection parses what arrives and gives each request to the handler as soon as its head is complete; the handler
answers through the connection. Requests that were pipelined wait their turn, and reading stops while they do. When the
client leaves, the handler's task is cancelled, whatever it is waiting for; a client that only ends its own side
(shutdown(SHUT_WR)) has left too, as it has for most servers, since nothing else tells the two apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from torana.errors import GatewayError, Reason
from torana.http.answering import AnsweringConnection
from torana.http.body import Body
from torana.http.message import Fields
from torana.http.request import Request, check_head, framing_lines, head_too_large, size_of_head
from torana.http.sweep import intervals
from torana.http.upgrade import offers_websocket

if TYPE_CHECKING:
    from torana.http.server import Server

_log = logging.getLogger(__name__)

_NO_PARSER: Final = httptools.HttpRequestParser(object())  # before and after a connection: its own holds it

_LINGER = 2.0  # seconds for a client to read a refusal while it still sends (RFC 9112, 9.6), or to end TLS in its turn
_WRITE_HIGH = 64 * 1024  # bytes waiting for the client before its upstream is paused


class ServerConnection(AnsweringConnection):
    """One client connection, whose reading is here and whose answers are its base's."""

    __slots__ = (
        "_age", "_deaf", "_fields", "_idle", "_in_head", "_incoming", "_lingering", "_loop", "_offer", "_overhead",
        "_parser", "_pieces", "_pieces_size", "_quiet", "_reading_paused", "_refusal", "_stalled", "_target", "_unsent",
        "_waiting", "peer", "sni", "tls",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._loop = asyncio.get_running_loop()
        # per connection
        self._parser = _NO_PARSER
        self._waiting: deque[Request] = deque()
        self._idle: asyncio.Future[None] | None = None  # what the task waits for when there is no request
        self._quiet = 0  # sweeps since the last byte came in
        self._stalled = 0  # sweeps since the client last took something of what waits for it
        self._unsent = 0  # bytes that waited for it then
        self._age = 0  # sweeps since the request being received began
        self._reading_paused = False
        self._lingering = 0
        self._deaf = False  # the parser has met something it cannot read on from
        self._refusal: GatewayError | None = None  # the answer to it, once the requests before it are answered
        self.tls = False
        self.sni: str | None = None
        self.peer = "unix"
        # per request being received
        self._incoming: Request | None = None
        self._fields: Fields = []  # where the parser's fields go
        self._target = b""
        self._in_head = True
        self._overhead = 0  # bytes received since the last one that was a body's: head, chunk sizes, trailers
        self._offer: Request | None = None  # it offers another protocol and has a body, see `_decline_upgrade`
        self._pieces: list[bytes] = []
        self._pieces_size = 0

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        server = self.server
        server.accepted += 1
        server.connections.add(self)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = f"[{peer[0]}]:{peer[1]}" if len(peer) > 2 else f"{peer[0]}:{peer[1]}"
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.tls = True
            self.sni = getattr(tls, "torana_sni", None)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)
        server.sweep.members.add(self)
        if len(server.connections) > server.limits.max_connections:
            message = "The gateway has as many connections open as it may. Try again shortly."
            self._refuse(GatewayError(Reason.OVERLOADED, message))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        server = self.server
        server.connections.discard(self)
        server.sweep.members.discard(self)
        self._left()
        self._parser = _NO_PARSER
        self._coupled = None
        if self.active is not None:
            self.active.body.lose_source()
        if self._incoming is not None and not self._in_head:
            self._incoming.body.lose_source()

    def eof_received(self) -> bool:
        self._left()  # at once: the transport may take long to send what is still waiting
        return False  # the transport closes

    def pause_writing(self) -> None:
        self._write_paused = True
        self._stalled = self._unsent = 0
        if self._coupled is not None:
            self._coupled.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._coupled is not None:
            self._coupled.resume()
        if self._waiting and self.active is None:
            self._next()

    def data_received(self, data: bytes) -> None:
        self._quiet = 0
        if self._held is not None:
            self._hold(data)
            return
        self.server.received_bytes += len(data)
        while data and not self._deaf:  # what comes for deaf ears is thrown away
            self._overhead += len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._upgraded(data[upgrade.args[0] :])
            except httptools.HttpParserCallbackError as error:
                cause = error.__context__
                if not isinstance(cause, GatewayError):
                    cause = GatewayError(Reason.INTERNAL, "The gateway failed to read the request.", repr(cause))
                self._refuse(cause)
                return
            except httptools.HttpParserError as error:
                self._refuse(GatewayError(Reason.BAD_HTTP, f"The request is not valid HTTP/1.1: {error}."))
                return
            else:
                break
        if self._pieces:
            self._deliver()
        if self._overhead > self.server.limits.max_header_bytes and self._incoming is not None:
            self._refuse(self._too_large())

    def swept(self) -> None:
        """One interval has passed: end what has been quiet for too long."""
        server = self.server
        self._quiet += 1
        self._age += 1
        self._lived += 1
        if self._write_paused or (self.closing and self._transport.get_write_buffer_size()):
            unsent = self._transport.get_write_buffer_size()
            self._stalled = self._stalled + 1 if unsent >= self._unsent else 0
            self._unsent = unsent
            if self._stalled >= server.send_intervals:
                self.abort()
        elif self._lingering:
            self._lingering -= 1
            if not self._lingering:
                self._transport.abort()
        elif self._incoming is not None:
            if (self._age if self._in_head else self._quiet) >= server.header_intervals and not self._reading_paused:
                self._late()
        elif self.active is None and self._quiet >= server.idle_intervals:
            self._close_idle()

    # the parser's side

    def on_message_begin(self) -> None:
        self._incoming = request = Request()
        self._fields = request.fields
        self._target = b""
        self._age = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), name, value.rstrip()))  # llhttp leaves the space behind it (RFC 9112, 5.1)

    def on_headers_complete(self) -> None:
        request = self._incoming
        assert request is not None
        if self._offer is not None:  # this head was made up, and the body that follows is that request's
            self._incoming, self._offer = self._offer, None
            return
        parser = self._parser
        limits = self.server.limits
        most = limits.max_header_bytes
        if len(request.fields) > limits.max_headers or (
            self._overhead > most and size_of_head(request, self._target) > most
        ):
            raise self._too_large()
        self._fields = []  # trailers; not forwarded (RFC 9110, 6.5.1 lets an intermediary discard them)
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive()
        waits = check_head(request, self._target, parser.get_http_version())
        request.body = Body(self._loop, self, self._continue if waits else None)
        self._in_head = False
        self._overhead = 0
        if parser.should_upgrade():
            if framing_lines(request):
                self._offer = request
            elif offers_websocket(request):
                request.upgrade = True
                self._held = b""
        if self.active is None and not self._write_paused:
            self._begin(request)
        else:
            self._waiting.append(request)

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._pieces_size += len(data)

    def on_message_complete(self) -> None:
        if self._offer is not None:
            return  # for llhttp the head is all there is of it
        if self._pieces:
            self._deliver()
        request, self._incoming = self._incoming, None
        assert request is not None
        self._in_head = True
        self._overhead = 0
        request.body.end()
        if self._waiting:
            self.pause()

    # the server's side

    def close_when_idle(self) -> None:
        if self.active is None and self._incoming is None and not self._waiting:
            self._close_idle()

    # a body's source

    def pause(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._reading_paused and len(self._waiting) == 0 and not self._transport.is_closing():
            self._reading_paused = False
            self._quiet = 0
            self._transport.resume_reading()

    # inside

    def _begin(self, request: Request) -> None:
        self.active = request
        self._started = False
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _serve(self) -> None:
        """The requests of this connection, one after the other: a task for each would cost more than waiting does."""
        while True:
            request = self.active or await self._following()
            try:
                await self.server.handler(request, self)
            except Exception:  # noqa: BLE001 - a handler's fault is its connection's, not the server's
                _log.exception("a request's handler failed")
                self.abort()
            self._coupled = None
            self._quiet = 0
            if self.closing or self._transport.is_closing():
                return
            if not request.body.done:
                self._linger()
                return
            if self.will_close:
                self._close()
                return
            self._next()
            if request.upgrade:
                self._read_on()

    async def _following(self) -> Request:
        """The next request, when it comes."""
        self._idle = self._loop.create_future()
        await self._idle
        assert self.active is not None
        return self.active

    def _next(self) -> None:
        self.active = None
        if self._waiting:
            if not self._write_paused:  # else it waits until the client has taken the answers it has
                self._begin(self._waiting.popleft())
                self.resume()
        elif self._refusal is not None:
            self._send(self.server.refusal(self._refusal, self))
            self._linger()
        elif self._reading_paused:
            self.resume()  # a body nobody took

    def _deliver(self) -> None:
        """What one receive brought of a body, handed over as one."""
        pieces, size = self._pieces, self._pieces_size
        self._pieces, self._pieces_size = [], 0
        self._overhead = 0
        request = self._incoming
        assert request is not None
        request.body.feed(pieces, size)

    def _refuse(self, error: GatewayError) -> None:
        """Something that is no request, or too much of one: answer it in its turn, and close."""
        self._deaf = True
        self._pieces, self._pieces_size = [], 0
        incoming, self._incoming = self._incoming, None
        if incoming is not None and (incoming is self.active or incoming in self._waiting):
            incoming.keep_alive = False
            incoming.body.fail(error)  # its head was good: its handler gives the answer
        elif self.active is not None or self._waiting:
            self._refusal = error
        else:
            self._send(self.server.refusal(error, self))
            self._linger()

    def _late(self) -> None:
        what, lacking = ("head", "it was not complete") if self._in_head else ("body", "nothing more came")
        limit = f"{self.server.limits.header_timeout:g} seconds (frontendPolicies.http.headerReadTimeout)"
        message = f"The request's {what} did not arrive in time: {lacking} within {limit}."
        self._refuse(GatewayError(Reason.REQUEST_TIMEOUT, message))

    def _linger(self) -> None:
        """Close, but let the client read what it was told first: it may still be sending."""
        self.closing = self._deaf = True
        self._lingering = intervals(_LINGER)
        self._reading_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self.server.sweep.outbox.flush()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _close_idle(self) -> None:
        """Over TLS an end has an answer, which a client that keeps the connection for later may never read to give."""
        self._close()
        self._lingering = intervals(_LINGER)

    def _decline_upgrade(self) -> None:
        """A request that offers another protocol (h2c, for one) is served in this one (RFC 9110, 7.8).

        For llhttp the message ends with its head, and what follows is the other protocol's. Read on like that, a body
        would be taken for the next request; so a new parser reads on, told by a made-up head what body there is.
        """
        self._parser = httptools.HttpRequestParser(self)
        if self._offer is not None:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing_lines(self._offer) + b"\r\n")

    def _upgraded(self, rest: bytes) -> bytes:
        """For llhttp, `rest` is not HTTP. What of it is to be read on as such, now."""
        if self._held is None:
            self._decline_upgrade()
            return rest
        self.server.received_bytes -= len(rest)  # counted when it is known what it is
        self._hold(rest)
        return b""

    def _hold(self, data: bytes) -> None:
        """What follows an offer of WebSocket is that protocol's or the next request, by what the upstream answers."""
        if data:
            assert self._held is not None
            self._held += data
            self.pause()

    def _read_on(self) -> None:
        """The offer was not taken: what came after it was HTTP."""
        held, self._held = self._held, None
        self._decline_upgrade()
        if held:
            self.data_received(held)

    def _left(self) -> None:
        """The client takes no more answers: what is under way for it ends."""
        self.closing = self._deaf = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _too_large(self) -> GatewayError:
        limits = self.server.limits
        target = self._target if self._in_head else b""
        return head_too_large(target, limits.max_headers, limits.max_header_bytes)
