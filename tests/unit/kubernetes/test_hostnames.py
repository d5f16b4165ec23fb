"""What a listener's and a route's hostnames have in common."""

from __future__ import annotations

import pytest

from torana.config.kubernetes.hostnames import intersection


@pytest.mark.parametrize(
    ("listener", "route", "common"),
    [
        (None, (), ()),
        (None, ("a.com", "*.b.com"), ("a.com", "*.b.com")),
        ("a.com", (), ("a.com",)),
        ("*.a.com", ("x.y.a.com", "a.com", "b.com"), ("x.y.a.com",)),
        ("x.a.com", ("*.a.com",), ("x.a.com",)),
        ("*.a.com", ("*.x.a.com",), ("*.x.a.com",)),
        ("*.x.a.com", ("*.a.com",), ("*.x.a.com",)),
        ("*.a.com", ("*.a.com",), ("*.a.com",)),
        ("*.a.com", ("*.aa.com", "xa.com"), None),
        ("a.com", ("b.com",), None),
    ],
)
def test_intersection(listener: str | None, route: tuple[str, ...], common: tuple[str, ...] | None) -> None:
    """The more specific of two names that overlap serves; a side without names takes those of the other."""
    assert intersection(listener, route) == common
