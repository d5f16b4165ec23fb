"""docs/conformance.md against the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs" / "conformance.md").read_text()
_NAMED = sorted(set(re.findall(r"`(tests/[^`\s]+)`", _PAGE)))


def test_names_tests() -> None:
    """The page names tests in the form that is looked for here."""
    assert any("::" in named for named in _NAMED)


@pytest.mark.parametrize("heading", ["Core", "Extended"])
def test_counts(heading: str) -> None:
    """The numbers above each table are those of its rows, which are in order."""
    part = _PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", part, re.MULTILINE)
    shown = [name for name, words in rows if not words.startswith("not yet")]
    assert part.lstrip().startswith(f"{len(shown)} of {len(rows)} ")
    assert [name for name, _ in rows] == sorted({name for name, _ in rows})


@pytest.mark.parametrize("named", _NAMED)
def test_what_is_named_exists(named: str) -> None:
    """Each file that the page names is there, and each test is in its file."""
    file, _, test = named.partition("::")
    assert (_ROOT / file).exists()
    if test:
        assert re.search(rf"^(async )?def {re.escape(test)}\(", (_ROOT / file).read_text(), re.MULTILINE)
