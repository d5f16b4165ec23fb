"""Answering: what the upstream says goes to the client in the turn of the event loop in which it arrives.

The bytes of a body are the upstream's. What is learned from them (model, usage, the first token) is read on the side.
An answer that breaks off is never made to look complete: a stream of events gets one error event in OpenAI's form, and
in every case the connection is closed without the ending that the framing asks for.
"""

from __future__ import annotations

from time import perf_counter

from torana.errors import GatewayError
from torana.exchange import Exchange
from torana.http.message import HOP_BY_HOP, Framing, ResponseHead, connection_options, render
from torana.http.server import ServerConnection
from torana.llm.errors import error_event
from torana.llm.stream import StreamReader
from torana.llm.usage import decoded_copy, read_answer
from torana.proxy.ask import Answered
from torana.proxy.call import Call
from torana.proxy.snapshot import CompiledRoute
from torana.proxy.upstream import Upstream
from torana.telemetry.record import Record

_MOST_READ = 32 * 1024 * 1024  # bytes of an answer kept to read its usage; a longer one is passed on all the same
_WITH_LENGTH = HOP_BY_HOP
_WITHOUT_LENGTH = HOP_BY_HOP | {b"content-length"}


async def pass_on(
    exchange: Exchange,
    client: ServerConnection,
    answered: Answered,
    route: CompiledRoute,
    upstream: Upstream,
    call: Call | None,
) -> None:
    """Head and body of the answer, to the end. An answer that breaks off is ended here and noted in the record."""
    head = answered.head
    record = exchange.record
    record.status = head.status
    body = answered.connection.body
    passage = _passage(head, record, call)
    if upstream.after is not None:
        upstream.after.apply(head.fields)
    for policy in route.after:
        policy(exchange, head.fields)
    framing = Framing.CHUNKED if head.framing is Framing.CLOSE or passage.resized else head.framing
    parts = _head(head, framing)
    client.start(parts, framing)
    chunks = passage.read(body.take())
    if body.done:
        client.finish(parts, chunks + passage.end())
    else:
        client.write(chunks, parts)
        body.attach(lambda chunks: client.write(passage.read(chunks)))
        client.couple(answered.connection)  # after `attach`, which lets the upstream go on
        try:
            await body.finished()
        except GatewayError as error:
            client.write(passage.broken(error))
            client.cut()
            record.reason = error.reason.fault.label
            record.error = f"{error.message} ({error.detail})" if error.detail else error.message
        else:
            client.finish(None, passage.end())
    record.answer_bytes = body.size
    passage.tell(record)


def _head(head: ResponseHead, framing: Framing) -> list[bytes]:
    """The answer's head as it came, without what was meant for the hop to the gateway."""
    fields = head.fields
    drops = _WITHOUT_LENGTH if framing is Framing.CHUNKED else _WITH_LENGTH
    options = connection_options(fields)
    parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase)]
    render(parts, fields, drops | options if options else drops)
    return parts


def _passage(head: ResponseHead, record: Record, call: Call | None) -> _Unread | _Document | _Events:
    if call is None or head.status >= 300 or head.framing is Framing.NONE:
        return _Unread()
    kind = encoding = b""
    for lower, _, value in head.fields:
        if lower == b"content-type":
            kind = value
        elif lower == b"content-encoding":
            encoding = value
    if not kind.lower().startswith(b"text/event-stream"):
        return _Document(encoding.decode("latin-1"))
    if encoding in (b"", b"identity"):
        return _Events(record, hide_usage=call.prepared.usage_added)
    return _Unread()


class _Unread:
    """A body nobody here looks at: errors, and what is no call of a language model."""

    __slots__ = ()
    resized = False

    def read(self, chunks: list[bytes]) -> list[bytes]:
        return chunks

    def end(self) -> list[bytes]:
        return []

    def broken(self, _: GatewayError) -> list[bytes]:
        return []

    def tell(self, record: Record) -> None:
        """Nothing was learned."""


class _Document(_Unread):
    """A whole JSON answer: references to its pieces are kept, and read when the client has all of it."""

    __slots__ = ("_encoding", "_kept", "_size")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._kept: list[bytes] = []
        self._size = 0

    def read(self, chunks: list[bytes]) -> list[bytes]:
        if self._size <= _MOST_READ:
            self._kept += chunks
            self._size += sum(map(len, chunks))
        return chunks

    def tell(self, record: Record) -> None:
        if self._size > _MOST_READ:
            return
        content = decoded_copy(self._kept, self._encoding, _MOST_READ)
        answer = None if content is None else read_answer(content)
        if answer is not None:
            record.response_model = answer.model
            record.usage = answer.usage


class _Events(_Unread):
    """A stream of events, watched as it passes; the usage event the gateway asked for is kept from the client."""

    def __init__(self, record: Record, *, hide_usage: bool) -> None:
        self._record = record
        self._reader = StreamReader(hide_usage=hide_usage)
        self.resized = hide_usage  # a Content-Length, if any, would count the hidden event

    def read(self, chunks: list[bytes]) -> list[bytes]:
        reader = self._reader
        out = [reader.feed(chunk) for chunk in chunks]
        if reader.deltas and self._record.first_token is None:
            self._record.first_token = perf_counter()
        return out

    def end(self) -> list[bytes]:
        return [self._reader.finish()]

    def broken(self, error: GatewayError) -> list[bytes]:
        event = error_event(error)
        return [b"\n\n" + event if self._reader.mid_event else event]

    def tell(self, record: Record) -> None:
        record.response_model = self._reader.model
        record.usage = self._reader.usage
        if self._reader.error is not None and record.error is None:
            record.reason = "UpstreamFailure"
            record.error = f"the upstream reported an error in its stream ({self._reader.error})"
