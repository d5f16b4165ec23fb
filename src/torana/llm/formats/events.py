"""EventSplitter: the `data` of server-sent events, from bytes cut anywhere.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Lines end in LF, CRLF or CR, an
empty line ends an event, `data` lines of one event are joined, a line that begins with a colon is a comment. The names
of events are not read: every API family that is translated repeats them in the data.
"""

from __future__ import annotations

from typing import Final

from torana.errors import GatewayError, Reason
from torana.llm.stream import BOM

LONGEST: Final = 16 * 1024 * 1024
"""Bytes of one event that are waited for. Images in answers are a few MB."""


class EventSplitter:
    """Feed it every piece of a stream, in order; each event's data comes out in the feed that ends the event.

    `commented` tells whether a comment alone was in the last piece: that is how a server says that it is still there.
    """

    __slots__ = ("_after_cr", "_tail", "commented")

    def __init__(self) -> None:
        self.commented = False
        self._tail = bytearray()  # an event whose end has not come; its lines end in LF
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that end here. Events without data are left out.

        Raises GatewayError BAD_ANSWER when an event is longer than LONGEST.
        """
        self.commented = False
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a CRLF
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        tail = self._tail
        searched = max(len(tail) - 1, 0)
        tail += data
        end = tail.rfind(b"\n\n", searched) + 2
        if end < 2:
            if len(tail) > LONGEST:
                raise GatewayError(Reason.BAD_ANSWER, "An event of the provider's stream is too long.")
            return []
        events = bytes(tail[:end])
        del tail[:end]
        found: list[bytes] = []
        for event in events.split(b"\n\n"):
            own = _data_of(event)
            if own is not None:
                found.append(own)
            elif event.startswith((b":", b"\n:")):
                self.commented = True
        return found

    def finish(self) -> list[bytes]:
        """The stream has ended; an event without its empty line counts."""
        rest = bytes(self._tail)
        self._tail.clear()
        found = _data_of(rest)
        return [] if found is None else [found]


def _data_of(event: bytes) -> bytes | None:
    if event.startswith(b"data: {") and b"\n" not in event:
        return event[6:]
    own = event.removeprefix(BOM).split(b"\n")
    lines = [line[5:].removeprefix(b" ") for line in own if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
