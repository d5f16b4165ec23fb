"""Fields as both ends of the gateway work with them."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import fields, shown
from torana.http.message import end_hop


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["keep-alive"], ["X-A: 1", "X-B: 2", "C: 3"]),
        (["close"], ["X-A: 1", "X-B: 2", "C: 3"]),
        (["x-a"], ["X-B: 2", "C: 3"]),
        (["Close, X-A , x-b"], ["C: 3"]),
        (["keep-alive", "x-b"], ["X-A: 1", "C: 3"]),
        ([",,"], ["X-A: 1", "X-B: 2", "C: 3"]),
    ],
)
def test_fields_named_by_connection(options: list[str], kept: list[str]) -> None:
    """What `Connection` names is for this hop only (RFC 9110, 7.6.1)."""
    message = fields(("X-A", "1"), *(("Connection", option) for option in options), ("X-B", "2"), ("C", "3"))
    end_hop(message)
    assert [line for line in shown(message) if not line.startswith("Connection")] == kept


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "TE", "Transfer-Encoding", "Content-Length"])
def test_what_is_left_to_others(name: str) -> None:
    """What is known to be of one hop stays to be matched on, and the length to tell where the body ends."""
    message = fields((name, "x"), ("Connection", f"{name}, x-a"), ("X-A", "1"))
    end_hop(message)
    assert shown(message) == [f"{name}: x", f"Connection: {name}, x-a"]
