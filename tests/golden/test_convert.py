"""Conversions and what they make: the text, and behind it the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torana.config.convert.from_litellm import from_litellm
from torana.config.convert.migrate import migrate
from torana.config.convert.original import Original
from torana.config.convert.report import Converted
from torana.config.convert.to_agentgateway import to_agentgateway
from torana.config.convert.to_kubernetes import to_kubernetes
from torana.config.convert.to_litellm import to_litellm

_HERE = Path(__file__).parent / "convert"
_CANARY = "canary"

Golden = Callable[[Path, str], None]


def _cases(folder: str) -> list[object]:
    return [pytest.param(path, id=path.stem) for path in sorted((_HERE / folder).glob("*.yaml"))]


def _check(golden: Golden, path: Path, made: Converted) -> None:
    report = "".join(f"{each}\n" for each in made.report.findings) + f"{made.report.summary}\n"
    assert _CANARY not in report
    golden(path, f"{made.text}\n# Report\n\n{report}")


@pytest.mark.parametrize("path", _cases("migrate"))
def test_migrate(path: Path, golden: Golden) -> None:
    """The `binds` form becomes the text beside it, with its comments and variables, and the report behind it."""
    _check(golden, path.with_suffix(".txt"), migrate(path.read_text(), path.name))


@pytest.mark.parametrize("path", _cases("litellm"))
def test_import(path: Path, golden: Golden) -> None:
    """LiteLLM's configuration becomes the text beside it; credentials are in no report, and only where they were."""
    made = from_litellm(path.read_text(), path.name)
    assert made.text.count(_CANARY) == 1
    _check(golden, path.with_suffix(".txt"), made)


@pytest.mark.parametrize(
    ("form", "export"),
    [("agentgateway", to_agentgateway), ("kubernetes", to_kubernetes), ("litellm", to_litellm)],
    ids=["agentgateway", "kubernetes", "litellm"],
)
@pytest.mark.parametrize("path", _cases("export"))
def test_export(path: Path, form: str, export: Callable[[Original], Converted], golden: Golden) -> None:
    """A configuration becomes the text beside it; a key that was written out is never in manifests."""
    made = export(Original(path.read_text(), path.name, path.parent, {"PORT": "3000"}))
    assert form != "kubernetes" or _CANARY not in made.text
    _check(golden, path.with_suffix(f".{form}.txt"), made)
