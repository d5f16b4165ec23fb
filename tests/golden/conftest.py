"""Golden files: what an input came to, kept beside it, so that every change of it is read by somebody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with the file that keeps it; with `--golden-rewrite` or TORANA_GOLDEN=write, keep the text."""
    rewrite = request.config.getoption("--golden-rewrite", default=False) or os.environ.get("TORANA_GOLDEN") == "write"

    def check(path: Path, text: str) -> None:
        if rewrite:
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, f"{path.name} differs; `make golden` rewrites it"

    return check
