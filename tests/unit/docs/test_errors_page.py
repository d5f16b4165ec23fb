"""docs/errors.md against the table it documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from torana.errors import Reason

_PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented(reason: Reason) -> None:
    """Each error that the gateway makes stands in docs/errors.md with its status and code."""
    assert f"| {reason.fault.status} | `{reason.fault.code}` |" in _PAGE.read_text()
