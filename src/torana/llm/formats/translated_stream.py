"""TranslatedStream: what every translation of a stream does, whatever is read and whatever is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from torana.errors import GatewayError
from torana.llm.formats.events import EventSplitter
from torana.llm.usage import Usage

ALIVE: Final = b":\n\n"
"""A comment, which clients pass over; what is in between sees that the stream goes on, while a model thinks unseen."""


class TranslatedStream(ABC):
    """A `StreamTranslation`: events are read one by one, and what there is to tell is added to `_out`."""

    __slots__ = ("_events", "_out", "_over", "deltas", "done", "error", "finish_reason", "model", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.deltas = 0
        self.done = False
        self.error: str | None = None
        self.finish_reason: str | None = None

        self._events = EventSplitter()
        self._out: list[bytes] = []
        self._over = False  # the client has its last event

    def feed(self, data: bytes) -> bytes:
        if self._over:
            return b""
        try:
            for event in self._events.feed(data):
                self._read(event)
        except GatewayError as error:
            self._fail(error)
        if self._events.commented and not self._out:
            return ALIVE
        return self._drained()

    def finish(self) -> bytes:
        try:
            for event in self._events.finish():
                self._read(event)
            if not self._over:
                self._end()
        except GatewayError as error:
            self._fail(error)
        return self._drained()

    def broken(self, error: GatewayError) -> bytes:
        self._fail(error)
        return self._drained()

    def _count(self, usage: Usage | None) -> None:
        """Usage that was told, perhaps in part."""
        if usage is not None:
            self.usage = usage if self.usage is None else usage.joined(self.usage)

    def _fail(self, error: GatewayError) -> None:
        if self._over:
            return
        self.error = error.reason.fault.code
        self._tell_error(error)
        self._over = True

    def _drained(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    @abstractmethod
    def _read(self, event: bytes) -> None:
        """The data of one event. Raises GatewayError when it is none of the provider's API."""

    @abstractmethod
    def _end(self) -> None:
        """Close the answer. Raises GatewayError when there is none, or it was cut off."""

    @abstractmethod
    def _tell_error(self, error: GatewayError) -> None:
        """The gateway's own: it broke off, or cannot be read."""
