"""Header rules: remove, set, add."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange, fields, shown
from torana.model.policy import HeaderModifier
from torana.policies.header_modifier import HeaderModifierPolicy

BEFORE = (("X-A", "1"), ("b", "2"), ("x-a", "3"), ("C", ""))


@pytest.mark.parametrize(
    ("rules", "after"),
    [
        (HeaderModifier(), ["X-A: 1", "b: 2", "x-a: 3", "C: "]),
        (HeaderModifier(remove=("x-A",)), ["b: 2", "C: "]),
        (HeaderModifier(remove=("none",)), ["X-A: 1", "b: 2", "x-a: 3", "C: "]),
        (HeaderModifier(set=(("X-a", "new"),)), ["b: 2", "C: ", "X-a: new"]),
        (HeaderModifier(set=(("D", "é"),)), ["X-A: 1", "b: 2", "x-a: 3", "C: ", "D: é"]),
        (HeaderModifier(add=(("x-a", "4"),)), ["X-A: 1", "b: 2", "x-a: 3", "C: ", "x-a: 4"]),
        (HeaderModifier(set=(("b", "new"),), remove=("B",)), ["X-A: 1", "x-a: 3", "C: ", "b: new"]),
        (HeaderModifier(add=(("b", "new"),), remove=("B",)), ["X-A: 1", "x-a: 3", "C: ", "b: new"]),
        (
            HeaderModifier(set=(("b", "one"),), add=(("B", "two"),), remove=("x-a", "c")),
            ["b: one", "B: two"],
        ),
    ],
)
def test_rules(rules: HeaderModifier, after: list[str]) -> None:
    """Removed first, then set, then added; names have no case, and what no rule names keeps its place."""
    policy = HeaderModifierPolicy(rules)
    request = exchange("/", *BEFORE)
    policy.on_request(request)
    assert shown(request.fields) == after
    answer = fields(*BEFORE)
    policy.on_response(request, answer)
    assert shown(answer) == after


def test_the_same_rules_again() -> None:
    """A policy keeps nothing of one request for the next."""
    policy = HeaderModifierPolicy(HeaderModifier(set=(("a", "1"),), add=(("b", "2"),)))
    for _ in range(2):
        request = exchange()
        policy.on_request(request)
        assert shown(request.fields) == ["a: 1", "b: 2"]


def test_host() -> None:
    """A rule for Host changes what the rest of the way takes for the host."""
    request = exchange()
    HeaderModifierPolicy(HeaderModifier(set=(("Host", "new.example:81"),))).on_request(request)
    assert request.host == b"new.example:81"
