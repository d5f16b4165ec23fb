"""How long an upstream asks to be left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.llm.pauses import pause_of

NOW = 1_795_307_200.0  # 22 November 2026, 00:26:40 UTC


def pause(*fields: tuple[str, str], status: int = 429) -> float | None:
    return pause_of(status, [(name.lower().encode(), name.encode(), value.encode()) for name, value in fields], NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Sun, 22 Nov 2026 00:27:40 GMT", 60.0),
        ("Sunday, 22-Nov-26 00:27:40 GMT", 60.0),
        ("Sun Nov 22 00:27:40 2026", 60.0),
        ("Sun, 22 Nov 2026 00:27:40 -0000", 60.0),
        ("Sun, 22 Nov 2026 00:25:40 GMT", None),
        ("Mon, 23 Nov 2026 00:26:40 GMT", 3600.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h1s", 3600.0),
        ("1m1.5s", 61.5),
        (str(int(NOW) + 30), 30.0),
        (str((int(NOW) + 30) * 1000), 30.0),
        ("999999999999999", 3600.0),
        ("0", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1 2", None),
        ("6m0", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("0x10", None),
        ("9" * 400, None),
        ("1 Jan 2020 99999999999999999999:00:00", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds, a date in any of HTTP's forms, or a provider's own form; an hour at most; else none."""
    assert pause(("Retry-After", value)) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


@pytest.mark.parametrize(("value", "seconds"), [("250", 0.25), ("1500.5", 1.5005), ("0", None), ("1s", None)])
def test_retry_after_ms(value: str, seconds: float | None) -> None:
    """The header in milliseconds is a plain number."""
    assert pause(("retry-after-ms", value)) == seconds


def test_the_shorter_of_two() -> None:
    """Of both headers the sooner time counts, and one that cannot be read does not spoil the other."""
    assert pause(("retry-after", "2"), ("retry-after-ms", "1900")) == 1.9
    assert pause(("retry-after", "soon"), ("retry-after-ms", "1900")) == 1.9


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "6m0s"}, 2.0),
        (
            {
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            360.0,
        ),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "7s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "3s",
            },
            7.0,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 5)}, 5.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-tokens": "4s"}, 4.0),
        ({"x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
    ],
)
def test_limits(fields: dict[str, str], seconds: float | None) -> None:
    """The limits that have nothing left say when all of them are over; if none is said to, the first that is over."""
    assert pause(*fields.items()) == seconds


def test_retry_after_goes_before_limits() -> None:
    """What is asked for goes before what can be concluded."""
    assert pause(("x-ratelimit-reset", "1s"), ("retry-after", "9")) == 9.0


@pytest.mark.parametrize("status", [500, 503, 529])
def test_limits_of_other_answers(status: int) -> None:
    """Limits come with every answer: only a 429 says that one ran out. `retry-after` speaks for itself."""
    assert pause(("x-ratelimit-reset-requests", "1s"), status=status) is None
    assert pause(("x-ratelimit-reset-requests", "1s"), ("retry-after", "9"), status=status) == 9.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"retry-after", b"retry-after-ms", b"x-ratelimit-reset", b"x-ratelimit-remaining"]),
            st.binary(max_size=40) | st.text("0123456789 :,.+-smhdJanGMT", max_size=40).map(str.encode),
        ),
        max_size=4,
    )
)
def test_whatever_is_sent(fields: list[tuple[bytes, bytes]]) -> None:
    """Any bytes give a pause of more than nothing and at most an hour, or none."""
    found = pause_of(429, [(name, name, value) for name, value in fields], NOW)
    assert found is None or 0 < found <= 3600
