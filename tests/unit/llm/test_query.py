"""The model in a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.llm.query import model_of_query, with_model


@pytest.mark.parametrize(
    ("target", "made"),
    [
        (b"/v1/realtime?model=a", b"/v1/realtime?model=m"),
        (b"/v1/realtime?x=%20y&model=a&z", b"/v1/realtime?x=%20y&model=m&z"),
        (b"/v1/realtime?model=a&model=b", b"/v1/realtime?model=m&model=m"),
        (b"/v1/realtime?mod%65l=a", b"/v1/realtime?model=m"),
        (b"/v1/realtime?model", b"/v1/realtime?model=m"),
        (b"/v1/realtime?intent=transcription", b"/v1/realtime?intent=transcription&model=m"),
        (b"/v1/realtime?call_id=rtc_1", b"/v1/realtime?call_id=rtc_1"),
        (b"/v1/realtime?call_id=rtc_1&model=a", b"/v1/realtime?call_id=rtc_1&model=m"),
        (b"/v1/realtime?", b"/v1/realtime?model=m"),
        (b"/v1/realtime", b"/v1/realtime?model=m"),
    ],
)
def test_model_is_set(target: bytes, made: bytes) -> None:
    """Every model of the query is replaced, or one is added unless a call is joined, and nothing else changes."""
    assert with_model(target, "m") == made


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_model_can_be_set(model: str) -> None:
    """A name with characters of the query's own arrives as it is."""
    assert model_of_query(with_model(b"/v1/realtime?a=b", model).partition(b"?")[2]) == model


@pytest.mark.parametrize("query", [None, b"", b"model=", b"x=1", b"Model=a"])
def test_no_model(query: bytes | None) -> None:
    """A query may name none."""
    assert model_of_query(query) is None
