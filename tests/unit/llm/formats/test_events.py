"""Server-sent events from bytes that come in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.llm.formats.events import EventSplitter

STREAMS = [
    (b"", []),
    (b"data: {}\n\n", [b"{}"]),
    (b"data:{}\n\ndata: b\n\n", [b"{}", b"b"]),
    (b"data:  b\n\n", [b" b"]),
    (b"data: a\ndata: b\n\n", [b"a\nb"]),
    (b"data\n\ndatax: 1\n\n", []),
    (b"data:\n\n", [b""]),
    (b": c\n\nevent: x\nid: 1\ndata: a\nretry: 1\n\n", [b"a"]),
    (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\n\ndata: b", [b"a", b"b"]),
    (b"data: {\n", [b"{"]),
    (b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"\xef\xbb\xbf\n\ndata: a\n\n", [b"a"]),
]


@pytest.mark.parametrize(("stream", "data"), STREAMS)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_cut_anywhere(stream: bytes, data: list[bytes], ending: bytes) -> None:
    """The data of each event comes out, wherever the stream is cut and however its lines end."""
    sent = stream.replace(b"\n", ending)
    for at in range(len(sent) + 1):
        splitter = EventSplitter()
        assert splitter.feed(sent[:at]) + splitter.feed(sent[at:]) + splitter.finish() == data


@given(st.lists(st.sampled_from([b"data: a", b"data:", b": c", b"", b"\n", b"\r", b"\r\n", b"x"])), st.data())
def test_random_cuts_change_nothing(words: list[bytes], draw: st.DataObject) -> None:
    """Mixed line ends included, pieces give what the whole gives."""
    stream = b"".join(words)
    whole = EventSplitter()
    expected = whole.feed(stream) + whole.finish()
    splitter = EventSplitter()
    found: list[bytes] = []
    while stream:
        size = draw.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found + splitter.finish() == expected


def test_an_event_comes_with_its_last_byte() -> None:
    """A lone CR ends a line at once: an event does not wait to see whether an LF follows."""
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\r\r") == [b"a"]
    assert splitter.feed(b"\ndata: b\r\n\r") == [b"b"]
    assert splitter.feed(b"\n") == []
