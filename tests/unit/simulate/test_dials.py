"""Dials: what headers and a model's name set."""

from __future__ import annotations

import pytest

from torana.simulate.dials import AFTER_HEAD, BEFORE_HEAD, DIALS, Dials, Malformed, UsageForm, read_dials
from torana.simulate.failure import ApiError

DEFAULTS = Dials(tokens=7)


@pytest.mark.parametrize(
    ("header", "attribute", "value"),
    [
        ("first-token-ms: 250", "first_token", 0.25),
        ("tokens-per-second: 12.5", "tokens_per_second", 12.5),
        ("tokens: 3", "tokens", 3),
        ("drip: 1", "drip", 1),
        ("drip-delay-ms: 0", "drip_delay", 0.0),
        ("status: 599", "status", 599),
        ("disconnect: before-head", "disconnect", BEFORE_HEAD),
        ("disconnect: after-head", "disconnect", AFTER_HEAD),
        ("stall: 4", "stall", 4),
        ("malformed: http", "malformed", Malformed.HTTP),
        ("error-event: 0", "error_event", 0),
        ("refuse: stream_options, tools", "refuse", ("stream_options", "tools")),
        ("usage: last-choice", "usage", UsageForm.LAST_CHOICE),
        ("done: no", "done", False),
        ("model: other", "model", "other"),
        ("created: 5", "created", 5),
    ],
)
def test_headers(header: str, attribute: str, value: object) -> None:
    """A header sets its dial, and every other keeps its default."""
    name, _, text = header.partition(": ")
    dials = read_dials(DEFAULTS, "gpt-4o", [("accept", "*/*"), ("x-simulate-" + name, text)])
    assert getattr(dials, attribute) == value
    changed = [field for field in Dials.__struct_fields__ if getattr(dials, field) != getattr(DEFAULTS, field)]
    assert changed == [attribute]


@pytest.mark.parametrize(
    ("model", "dials"),
    [
        ("gpt-4o", DEFAULTS),
        ("echo", Dials(tokens=7, echo=True)),
        ("status-429+retry-after-2", Dials(tokens=7, status=429, retry_after=2)),
        ("gpt-4o+tokens-per-second-5+tokens-9", Dials(tokens=9, tokens_per_second=5.0)),
        ("stall-before-head", Dials(tokens=7, stall=BEFORE_HEAD)),
        ("model-of-mine", DEFAULTS),
        ("statusquo", DEFAULTS),
    ],
)
def test_model_names(model: str, dials: Dials) -> None:
    """A model's name sets the dials it spells, and any other name sets none."""
    assert read_dials(DEFAULTS, model, []) == dials


def test_header_wins() -> None:
    """A header is nearer to its request than the model's name."""
    assert read_dials(DEFAULTS, "tokens-5", [("x-simulate-tokens", "6")]).tokens == 6


@pytest.mark.parametrize(
    "header",
    [
        "first-token-ms: nan",
        "first-token-ms: 600001",
        "tokens-per-second: -1",
        "tokens: 0",
        "tokens: 1_0",
        "drip: 0",
        "status: 200",
        "status: \u0664\u0662\u0669",
        "disconnect: -1",
        "refuse: a,,b",
        "done: true",
        "model: ",
    ],
)
def test_refused_values(header: str) -> None:
    """A value out of its range is an error that says what the dial takes."""
    name, _, text = header.partition(": ")
    takes = next(dial.takes for dial in DIALS if dial.name == name)
    with pytest.raises(ApiError) as caught:
        read_dials(DEFAULTS, "m", [("x-simulate-" + name, text), ("x-simulate-status", "500")])
    assert takes in caught.value.message
