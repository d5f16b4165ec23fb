"""Standalone configurations and what they come to: a Config as JSON, or the list of their problems."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from torana.config.problem import ConfigError
from torana.config.standalone.load import load
from torana.model.codec import dump

_HERE = Path(__file__).parent / "standalone"
_ENV = {"KEY": "sk-canary", "HOST": "canary.example", "NUMBER": "4711", "CANARY": "sk-canary"}

Golden = Callable[[Path, str], None]


def _cases(folder: Path) -> list[object]:
    return [pytest.param(path, id=path.stem) for path in sorted(folder.glob("*.yaml"))]


@pytest.mark.parametrize("path", _cases(_HERE))
def test_compiles_to(path: Path, golden: Golden) -> None:
    """A configuration compiles to the Config beside it, with the warnings listed, and shows no secret."""
    loaded = load(path.read_text(), path.name, _ENV, path.parent, cpus=8)
    shown = {"warnings": list(map(str, loaded.warnings)), "config": dump(loaded.config)}
    text = json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    assert "sk-canary" not in text
    golden(path.with_suffix(".json"), text)


@pytest.mark.parametrize("path", _cases(_HERE / "errors"))
def test_is_refused_with(path: Path, golden: Golden) -> None:
    """A wrong configuration is refused with all its problems, each with its place, and shows no variable's value."""
    with pytest.raises(ConfigError) as refused:
        load(path.read_text(), path.name, _ENV, path.parent, cpus=8)
    text = str(refused.value) + "\n"
    assert "canary" not in text
    assert "4711" not in text
    golden(path.with_suffix(".txt"), text)
