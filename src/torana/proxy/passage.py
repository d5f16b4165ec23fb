"""Passage: what is learned from an answer's body while it passes, and the one thing that may be kept back from it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time
from typing import Protocol, TypeAlias

from torana.errors import GatewayError, Reason
from torana.http.message import Framing, ResponseHead
from torana.llm.errors import error_event
from torana.llm.formats.translation import StreamTranslation, Translation
from torana.llm.multipart import Form
from torana.llm.operation import Operation
from torana.llm.stream import StreamReader
from torana.llm.usage import Answer, Usage, decoded_copy, read_answer
from torana.proxy.call import Call
from torana.telemetry.record import Record

_BINARY = (b"audio/", b"image/", b"video/", b"application/octet-stream", b"application/x-ndjson")
"""Kinds of answers that tell nothing of usage, and may be long."""

MOST_READ = 32 * 1024 * 1024  # bytes of an answer kept to read its usage; a longer one is passed on all the same


def passage_for(head: ResponseHead, record: Record, call: Call | None, form: Form | None = None) -> Passage:
    """How the body of this answer is to be read: that of a call, or of a form that was one."""
    if call is not None and call.translation is not None and head.framing is not Framing.NONE:
        return translated(head, record, call, call.translation)
    if (call is None and form is None) or head.status >= 300 or head.framing is Framing.NONE:
        return Unread()
    kind, encoding = described(head)
    kind = kind.lower()
    if kind.startswith(_BINARY):
        return Unread()
    if not kind.startswith(b"text/event-stream"):
        return Document(encoding.decode("latin-1"))
    if encoding in (b"", b"identity"):
        hides = call is not None and call.prepared.usage_added
        return Events(record, StreamReader(hide_usage=hides), None if call is None else call.operation, resized=hides)
    return Unread()


def translated(head: ResponseHead, record: Record, call: Call, translation: Translation) -> Passage:
    kind, encoding = described(head)
    asked = call.prepared.asked_model
    if head.status < 300 and kind.lower().startswith(b"text/event-stream") and encoding in (b"", b"identity"):
        return Events(
            record,
            TranslatedReader(translation.stream(asked, memo=call.memo, now=int(time()))),
            call.operation,
            resized=True,
        )
    return Rewritten(translation, head.status, encoding.decode("latin-1"), call)


def described(head: ResponseHead) -> tuple[bytes, bytes]:
    """Content-Type and Content-Encoding."""
    kind = encoding = b""
    for lower, _, value in head.fields:
        if lower == b"content-type":
            kind = value
        elif lower == b"content-encoding":
            encoding = value
    return kind, encoding


class Reader(Protocol):
    """What reads a stream as it passes, and says what passes: the stream itself, or a translation of it."""

    @property
    def model(self) -> str | None: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def deltas(self) -> int: ...
    @property
    def done(self) -> bool: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def mid_event(self) -> bool: ...

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class TranslatedReader:
    """A StreamTranslation as a Reader. Whole events go out, so the client never has half of one."""

    mid_event = False

    def __init__(self, stream: StreamTranslation) -> None:
        self._stream = stream
        self.feed = stream.feed
        self.finish = stream.finish
        self.broken = stream.broken

    @property
    def model(self) -> str | None:
        return self._stream.model

    @property
    def usage(self) -> Usage | None:
        return self._stream.usage

    @property
    def deltas(self) -> int:
        return self._stream.deltas

    @property
    def done(self) -> bool:
        return self._stream.done

    @property
    def finish_reason(self) -> str | None:
        return self._stream.finish_reason

    @property
    def error(self) -> str | None:
        return self._stream.error


class EmptyStreamError(GatewayError):
    """A stream that says 200 and no more: its client would take it for an answer without a word."""

    def __init__(self) -> None:
        super().__init__(Reason.BAD_ANSWER, "The upstream's stream ended without an answer.")


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
        if self._size <= MOST_READ:
            self._kept += chunks
            self._size += sum(map(len, chunks))
        return chunks

    def tell(self, record: Record) -> None:
        if self._size > MOST_READ:
            return
        # Nearly every answer comes as it is, in one piece: spared the call.
        plain = self._kept[0] if len(self._kept) == 1 and not self._encoding else None
        content = plain if plain is not None else decoded_copy(self._kept, self._encoding, MOST_READ)
        answer = None if content is None else read_answer(content)
        if answer is not None:
            record.response_model = answer.model
            record.usage = answer.usage


class Rewritten(Unread):
    """An answer, or an error, that the client gets in the words of its own API, once all of it is here."""

    def __init__(self, translation: Translation, status: int, encoding: str, call: Call) -> None:
        self._translation = translation
        self._status = status
        self._encoding = encoding
        self._call = call
        self._answer: Answer | None = None

    def whole(self, body: bytes) -> bytes:
        """Raises BAD_ANSWER when it is no answer of the provider's API."""
        content = decoded_copy([body], self._encoding, MOST_READ)
        if content is None:
            raise GatewayError(Reason.BAD_ANSWER, "The upstream's answer is too long or not encoded as it says.")
        if self._status >= 300:
            return self._translation.error(self._status, content)
        self._answer = read_answer(content)
        return self._translation.answer(content, self._call.prepared.asked_model, memo=self._call.memo, now=int(time()))

    def tell(self, record: Record) -> None:
        if self._answer is not None:
            record.response_model = self._answer.model
            record.usage = self._answer.usage


class Events(Unread):
    """A stream of events, watched as it passes; the usage event the gateway asked for is kept from the client."""

    def __init__(self, record: Record, reader: Reader, operation: Operation | None, *, resized: bool) -> None:
        self._record = record
        self._reader = reader
        self._operation = operation
        self.resized = resized  # a Content-Length, if any, would not fit
        self.begun: Callable[[], None] | None = None  # told of the first content

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
            if self.begun is not None:
                self.begun()
        return out

    def end(self) -> list[bytes]:
        """Raises EmptyStreamError where nothing had come; of a call that is not known nothing is known either."""
        last = self._reader.finish()
        if self._operation is not None and not self.opened and not self.failed:
            raise EmptyStreamError
        return [last]

    def broken(self, error: GatewayError) -> list[bytes]:
        if isinstance(self._reader, TranslatedReader):
            return [self._reader.broken(error)]
        event = error_event(error, self._operation)
        return [b"\n\n" + event if self._reader.mid_event else event]

    def tell(self, record: Record) -> None:
        record.response_model = self._reader.model
        record.usage = self._reader.usage
        record.deltas = self._reader.deltas
        if self._reader.error is not None and record.error is None:
            record.reason = "UpstreamFailure"
            record.error = f"the upstream reported an error in its stream ({self._reader.error})"


Passage: TypeAlias = Unread | Document | Rewritten | Events
