"""Kubernetes resources and what they come to: a Config, statuses and problems, one file a family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.kubernetes.manifests import objects
from torana.config.kubernetes.objects import Options, Translation
from torana.config.kubernetes.translate import translate
from torana.model.codec import dump

_HERE = Path(__file__).parent / "kubernetes"
_CANARIES = ("canary", "PRIVATE KEY")

Golden = Callable[[Path, str], None]


def _shown(made: Translation) -> str:
    shown = {
        "problems": list(map(str, made.problems)),
        "statuses": [
            {"object": f"{each.kind} {each.namespace}/{each.name}", "status": each.status} for each in made.statuses
        ],
        "binds": dump(made.config)["binds"],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.parent.name) for path in sorted(_HERE.glob("*/full.yaml"))]
)
def test_compiles_to(path: Path, golden: Golden) -> None:
    """Resources compile to the Config, statuses and problems beside them, and show no Secret's value."""
    text = _shown(translate(objects(path.read_text(), path.name), Options()))
    assert not [canary for canary in _CANARIES if canary in text]
    golden(path.with_suffix(".json"), text)


def test_the_guide(golden: Golden) -> None:
    """The Kubernetes guide's documents compile as printed, with a Gateway supplied: the guide takes one for granted."""
    documents = [
        each for path in sorted((_HERE / "guide").glob("*.yaml")) for each in objects(path.read_text(), path.name)
    ]
    text = _shown(translate(documents, Options(implicit_gateway=8080)))
    assert "_API_KEY" not in text
    golden(_HERE / "guide" / "guide.json", text)
