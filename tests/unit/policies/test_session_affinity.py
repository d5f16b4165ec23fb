"""What requests that belong together have in common."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange
from torana.model.policy import Affinity
from torana.policies.session_affinity import compile_affinity


@pytest.mark.parametrize(
    ("affinity", "headers", "key"),
    [
        (Affinity(header="X-User"), [("x-user", "ann")], b"ann"),
        (Affinity(header="X-User"), [("x-user", "")], None),
        (Affinity(header="X-User"), [], None),
        (Affinity(cookie="s"), [("Cookie", "a=1; s=x=y; s=2")], b"x=y"),
        (Affinity(cookie="s"), [("Cookie", "a=1"), ("Cookie", "s=2")], b"2"),
        (Affinity(cookie="s"), [("Cookie", "as=1; S=2; s")], None),
        (Affinity(cookie="s"), [], None),
        (Affinity(expression='request.headers["x-user"] + request.path'), [("x-user", "ann")], b"ann/p"),
        (Affinity(expression='request.headers["x-user"]'), [], None),
        (Affinity(expression="size(request.path)"), [], b"2"),
    ],
)
def test_keys(affinity: Affinity, headers: list[tuple[str, str]], key: bytes | None) -> None:
    """A header's value, a cookie's, or an expression's; without one, or with an empty one, there is none."""
    compiled = compile_affinity(affinity)
    assert compiled is not None
    assert compiled(exchange("/p", *headers)) == key


def test_none() -> None:
    """Without affinity there is nothing to compute."""
    assert compile_affinity(None) is None
