"""The upstream end: one connection, one request on it at a time.

`send` writes a request; `answer` waits for the head of its answer, whose body then arrives by itself. A connection is
`reusable` when the whole answer has been read and the upstream did not say it would close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, cast

import httptools

from torana.errors import GatewayError, Reason
from torana.http.body import Body, Source
from torana.http.message import Fields, Framing, ResponseHead
from torana.http.sweep import INTERVAL, Sweep, intervals
from torana.http.upgrade import names_websocket

_MAX_HEAD = 256 * 1024  # bytes of an answer's head; upstreams are trusted more than clients, not endlessly
_MAX_FIELDS = 1000
_NO_PARSER: Final = httptools.HttpResponseParser(object())  # before and after a connection: its own holds it
_WRITE_HIGH = 64 * 1024  # bytes waiting for the upstream before the client's body is paused


class Through(Protocol):
    """What a body is led through on its way."""

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Handed(NamedTuple):
    """A connection that speaks another protocol from now on, and what has come of that already."""

    transport: asyncio.Transport
    early: bytes


class UpstreamConnection(asyncio.Protocol):
    """A connection to one upstream address. Raises nothing into the event loop: faults end the request under way."""

    __slots__ = (
        "_answer", "_answer_intervals", "_broken", "_coupled", "_fields", "_framing", "_loop", "_no_body",
        "_on_idle_close", "_overhead", "_parser", "_phrase", "_pieces", "_pieces_size", "_quiet", "_reading_paused",
        "_silence", "_surplus", "_sweep", "_trailers", "_transport", "_uploading", "body", "busy", "complete", "offers",
        "received",
    )  # fmt: skip

    def __init__(self, sweep: Sweep, answer_timeout: float) -> None:
        # configured
        self._loop = asyncio.get_running_loop()
        self._sweep = sweep
        self._answer_intervals = intervals(answer_timeout)
        self._on_idle_close: Callable[[UpstreamConnection], None] | None = None
        # per connection
        self._transport: asyncio.Transport
        self._parser = _NO_PARSER
        self._broken = False
        self._reading_paused = False
        self._quiet = 0
        self._silence = self._answer_intervals
        self.busy = False
        # per request
        self._answer: asyncio.Future[ResponseHead] | None = None
        self._fields: Fields = []
        self._phrase = b""
        self._framing = Framing.CLOSE
        self._no_body = False
        self._trailers = False
        self._overhead = 0  # bytes received since the last one that was a body's
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        self._uploading = False
        self._coupled: Source | None = None
        self._surplus: bytes | None = None  # what came after a 101
        self.offers = False  # the request offers WebSocket, so a 101 is an answer
        self.body: Body
        self.received = False
        self.complete = False

    # the gateway's side

    def send(self, data: bytes, method: bytes, behind: tuple[bytes | memoryview, ...] = ()) -> None:
        """Write a request's head with its body when that is at hand, a large one's pieces `behind` it."""
        self.busy = True
        self.received = self.complete = self._trailers = self._uploading = False
        self._quiet = self._overhead = 0
        self._silence = self._answer_intervals
        self._no_body = method == b"HEAD"
        self._answer = self._loop.create_future()
        self.body = Body(self._loop, self)
        if self._broken or self._transport.is_closing():
            self._fail()
        else:
            self._sweep.outbox.write(self._transport, data, behind)

    def upload(self, body: Body, source: Source, *, chunked: bool, through: Through | None = None) -> None:
        """Send `body` as it arrives; `source`, where it comes from, is paused while the upstream takes no more.

        What `through` makes of it is sent in its place.
        """
        self._uploading = True
        self._coupled = source

        def write(chunks: list[bytes]) -> None:
            self._quiet = 0  # an upstream that still reads need not have answered
            if through is not None:
                chunks = [made for chunk in chunks if (made := through.feed(chunk))]
            send(chunks)

        def send(chunks: list[bytes]) -> None:
            if chunks and not self._transport.is_closing():
                parts = [part for chunk in chunks for part in (b"%x\r\n" % len(chunk), chunk, b"\r\n")]
                self._sweep.outbox.write(self._transport, b"".join(parts if chunked else chunks))

        def ended() -> None:
            self._coupled = None
            if body.error is not None:
                self.abandon(body.error)
                return
            self._uploading = False
            if through is not None and (rest := through.finish()):
                send([rest])
            if chunked and not self._transport.is_closing():
                self._sweep.outbox.write(self._transport, b"0\r\n\r\n")

        body.attach(write, ended)

    def answer(self) -> asyncio.Future[ResponseHead]:
        """The head of the answer (1xx ones are passed over). Raises UPSTREAM_CLOSED, BAD_ANSWER or UPSTREAM_TIMEOUT."""
        assert self._answer is not None
        return self._answer

    def bound_silence(self, seconds: float) -> None:
        """The longest silence of the upstream within the answer under way; anything it sends ends one."""
        self._silence = intervals(seconds)

    def hand_over(self) -> Handed:
        """After a 101: the connection is the caller's from now on."""
        self._sweep.members.discard(self)
        return Handed(self._transport, self._surplus or b"")

    def abandon(self, error: GatewayError) -> None:
        """End the wait of `answer`, and the connection, with `error`."""
        self._settle(error)
        self.close()

    @property
    def reusable(self) -> bool:
        return self.complete and not (self._broken or self._uploading or self.offers or self._transport.is_closing())

    def join_pool(self, on_close: Callable[[UpstreamConnection], None]) -> None:
        """Wait in a pool; `on_close` is told when the upstream ends the connection meanwhile."""
        self.busy = False
        self._on_idle_close = on_close
        self._coupled = None
        if self._reading_paused:
            self.resume()

    def leave_pool(self) -> None:
        self._on_idle_close = None

    def close(self) -> None:
        """At once, whatever is under way."""
        self._broken = True
        self._transport.abort()

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)
        self._sweep.members.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sweep.members.discard(self)
        intact = exc is None and not self._broken
        ended_body = intact and self.busy and self._answered and self._framing is Framing.CLOSE
        self._broken = True
        if self._on_idle_close is not None:
            self._on_idle_close(self)
        elif ended_body:
            self.complete = True  # a body without a length lasts until the connection closes (RFC 9112, 6.3)
            self.body.end()
        else:
            self._fail("" if exc is None else f"the connection broke: {exc}")
        self._parser = _NO_PARSER
        self._coupled = None
        if self._answer is not None:  # there was a request
            self.body.lose_source()

    def data_received(self, data: bytes) -> None:
        self._quiet = 0
        if self._broken:
            return
        if not self.busy:
            self.close()  # nobody asked: what comes now would be taken for the next request's answer
            return
        self.received = True
        if self._surplus is not None:
            self._surplus += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.pause()  # until the connection is handed over
            self._surplus = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            self._spoil(str(cause or error))
        else:
            if self._pieces:
                self._deliver()
                self._overhead = 0
            else:
                self._overhead += len(data)
                if self._overhead > _MAX_HEAD and not self.complete:
                    self._spoil(f"a head or trailer of more than {_MAX_HEAD} bytes")

    def pause_writing(self) -> None:
        if self._coupled is not None:
            self._coupled.pause()

    def resume_writing(self) -> None:
        if self._coupled is not None:
            self._coupled.resume()

    def swept(self) -> None:
        if self.busy and not self.complete and not self._reading_paused:
            self._quiet += 1
            if self._quiet >= self._silence:
                what = "nothing more came from the upstream" if self._answered else "the upstream did not answer"
                seconds = f"{self._silence * INTERVAL:g}"
                self.abandon(GatewayError(Reason.UPSTREAM_TIMEOUT, f"{what.capitalize()} within {seconds} seconds."))

    # the parser's side

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("it answered one request twice")
        self._fields = []
        self._phrase = b""

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                if not (self.offers and self._parser.should_upgrade() and names_websocket(self._fields)):
                    raise ValueError("it switched to another protocol")
                self._settle(ResponseHead(status, self._phrase, self._fields, Framing.NONE))
            return
        fields, self._fields = self._fields, []  # what follows are trailers, and not passed on
        if len(fields) > _MAX_FIELDS:
            raise ValueError(f"more than {_MAX_FIELDS} header fields")
        self._trailers = True
        framing = _framing(fields)
        if self._no_body or status in (204, 304):
            framing = Framing.NONE
            # Of a HEAD's answer llhttp would wait for the body that is announced and never comes.
            self._broken = self._no_body or not self._parser.should_keep_alive()
        self._framing = framing
        self._settle(ResponseHead(status, self._phrase, fields, framing))
        if framing is Framing.NONE:
            self.complete = True
            self.body.end()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            return  # a HEAD's answer has no body, whatever comes
        self._pieces.append(data)
        self._pieces_size += len(data)

    def on_message_complete(self) -> None:
        if not self._trailers or self.complete:
            return  # a 1xx, or an answer without a body
        if self._pieces:
            self._deliver()
        self.complete = True
        if not self._parser.should_keep_alive():
            self._broken = True
        self.body.end()

    # a body's source

    def pause(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._quiet = 0
            self._transport.resume_reading()

    # inside

    @property
    def _answered(self) -> bool:
        return self._answer is not None and self._answer.done()

    def _deliver(self) -> None:
        pieces, size = self._pieces, self._pieces_size
        self._pieces, self._pieces_size = [], 0
        self.body.feed(pieces, size)

    def _spoil(self, why: str) -> None:
        if self._pieces:
            self._deliver()
        self.abandon(GatewayError(Reason.BAD_ANSWER, "The upstream's answer is not valid HTTP.", why))

    def _fail(self, why: str = "") -> None:
        if self._pieces:
            self._deliver()
        when = "in the middle of its answer" if self._answered else "before it answered"
        self._settle(GatewayError(Reason.UPSTREAM_CLOSED, f"The upstream closed the connection {when}.", why))

    def _settle(self, result: ResponseHead | GatewayError) -> None:
        answer = self._answer
        if isinstance(result, ResponseHead):
            if answer is not None and not answer.done():
                answer.set_result(result)
            return
        if answer is not None and not answer.done():
            answer.set_exception(result)
            answer.exception()  # whoever waited may be gone; asked once, asyncio does not complain
        elif self.busy and not self.complete:
            self.body.fail(result)


def _framing(fields: Fields) -> Framing:
    """How the end of an answer's body is told, if it has one. Raises ValueError for a coding we cannot undo."""
    framing = Framing.CLOSE
    for lower, _, value in fields:
        if lower == b"content-length":  # alone: llhttp takes neither two of them nor one beside a transfer coding
            framing = Framing.LENGTH
        elif lower == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise ValueError("its transfer coding is not `chunked`")
            framing = Framing.CHUNKED
    return framing
