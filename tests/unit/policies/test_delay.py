"""How long a delay is."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange
from torana.model.policy import Delay
from torana.policies.delay import DelayPolicy


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("duration('1500ms')", 1.5),
        ("2", 2.0),
        ("0.25", 0.25),
        ("duration(request.headers['x-delay'])", 0.5),
        ("request.method == 'GET' ? 1.0 : 2.0", 1.0),
        ("duration('-1s')", 0.0),
        ("-1", 0.0),
        ("true", 0.0),
        ("'1s'", 0.0),
        ("duration(request.headers['x-nothing'])", 0.0),
        ("duration('1000h')", 3600.0),
        ("1e300", 3600.0),
        ("0.0 / 0.0", 0.0),
    ],
)
def test_an_expression_says_how_long(expression: str, seconds: float) -> None:
    """A duration or a number of seconds, an hour at most; anything else is no delay."""
    assert DelayPolicy(Delay(expression=expression)).seconds(exchange("/", ("X-Delay", "500ms"))) == seconds


def test_a_fixed_delay_is_the_same_for_all() -> None:
    """Without an expression, every request waits as long."""
    assert DelayPolicy(Delay(0.5)).seconds(exchange()) == 0.5
