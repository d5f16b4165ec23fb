"""What a client is told that asks for a model there is not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, cast

import pytest

from tests.unit.exchanges import exchange
from torana.errors import GatewayError, Reason
from torana.model.route import ModelRoute
from torana.proxy.models import ModelTable


@pytest.mark.parametrize("asked", ["claude-sonet-250", "cluade-sonnet-250", "sonnet-250"])
def test_the_nearest_of_many(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever there is, the nearest name is told, and only few are compared in full, which takes its time."""
    compared: list[int] = []
    match = difflib.get_close_matches

    def counting(word: str, names: Sequence[str], *others: Any, **options: Any) -> list[str]:
        compared.append(len(names))
        return match(word, names, *others, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counting)
    names = [f"{family}-{number}" for family in ("gpt-mini", "claude-sonnet", "llama") for number in range(500)]
    table = ModelTable((ModelRoute(name, ()), cast("Any", None)) for name in names)
    with pytest.raises(GatewayError, match="'claude-sonnet-250'") as caught:
        table.find(asked, exchange())
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert compared == [20]
