"""docs/traffic.md against what loads."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

from torana.config.standalone.load import load

_ROOT = Path(__file__).parents[3]
_BLOCKS = re.findall(r"```yaml\n(.*?)```", (_ROOT / "docs/traffic.md").read_text(), re.DOTALL)
_ENV = {"OPENAI_API_KEY": "sk-canary", "GROQ_API_KEY": "gsk-canary"}


def test_has_blocks() -> None:
    """The page shows configurations in the form that is looked for here."""
    assert len(_BLOCKS) > 8


@pytest.mark.parametrize("block", _BLOCKS)
def test_what_is_shown_loads(block: str) -> None:
    """Each part of a route that the page shows is one, without a warning."""
    route = indent(block, "      ").replace("      ", "    - ", 1)
    text = f"binds:\n- port: 1\n  listeners:\n  - routes:\n{route}"
    assert load(text, "f", _ENV, _ROOT).warnings == ()


def test_the_example_loads() -> None:
    """The whole file that the page names has two groups of providers."""
    text = (_ROOT / "examples/failover.yaml").read_text()
    loaded = load(text, "f", _ENV, _ROOT)
    (ref,) = loaded.config.binds[0].listeners[0].routes[0].backends
    assert loaded.warnings == ()
    assert [[backend.name for backend in group] for group in ref.groups] == [["openai"], ["groq", "ours"]]
