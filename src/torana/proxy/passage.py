"""Passage: what is learned from an answer's body while it passes, and the one thing that may be kept back from it."""

from __future__ import annotations

from time import perf_counter
from typing import TypeAlias

from torana.errors import GatewayError
from torana.http.message import Framing, ResponseHead
from torana.llm.errors import error_event
from torana.llm.stream import StreamReader
from torana.llm.usage import decoded_copy, read_answer
from torana.proxy.call import Call
from torana.telemetry.record import Record

_NO_JSON = (b"audio/", b"image/", b"video/", b"application/octet-stream", b"application/x-ndjson")
_MOST_READ = 32 * 1024 * 1024  # bytes of an answer kept to read its usage; a longer one is passed on all the same


def passage_for(head: ResponseHead, record: Record, call: Call | None) -> Passage:
    """How the body of this answer is to be read."""
    if call is None or head.status >= 300 or head.framing is Framing.NONE:
        return Unread()
    kind = encoding = b""
    for lower, _, value in head.fields:
        if lower == b"content-type":
            kind = value
        elif lower == b"content-encoding":
            encoding = value
    kind = kind.lower()
    if kind.startswith(_NO_JSON):
        return Unread()
    if not kind.startswith(b"text/event-stream"):
        return Document(encoding.decode("latin-1"))
    if encoding in (b"", b"identity"):
        return Events(record, hide_usage=call.prepared.usage_added)
    return Unread()


class Unread:
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


class Document(Unread):
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


class Events(Unread):
    """A stream of events, watched as it passes; the usage event the gateway asked for is kept from the client."""

    def __init__(self, record: Record, *, hide_usage: bool) -> None:
        self._record = record
        self._reader = StreamReader(hide_usage=hide_usage)
        self.resized = hide_usage  # a Content-Length, if any, would count the hidden event

    @property
    def opened(self) -> bool:
        """Whether the client can make something of it by now: content has come, or the regular end without any."""
        reader = self._reader
        return reader.deltas > 0 or (reader.error is None and (reader.done or reader.finish_reason is not None))

    @property
    def failed(self) -> bool:
        """Whether the first thing that came was an error."""
        return self._reader.error is not None and not self._reader.deltas

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
        record.deltas = self._reader.deltas
        if self._reader.error is not None and record.error is None:
            record.reason = "UpstreamFailure"
            record.error = f"the upstream reported an error in its stream ({self._reader.error})"


Passage: TypeAlias = Unread | Document | Events
