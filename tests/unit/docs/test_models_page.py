"""docs/models.md against what loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from torana.config.standalone.load import load
from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.model.backend import ProviderKind

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs/models.md").read_text()
_BLOCKS = re.findall(r"```yaml\n(.*?)```", _PAGE, re.DOTALL)
_PRESETS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", _PAGE, re.MULTILINE))


def _load(text: str) -> None:
    env = dict.fromkeys(re.findall(r"\$([A-Z_]+)", text), "sk-canary")
    assert load(text, "f", env, _ROOT).warnings == ()


def test_has_blocks() -> None:
    """The page shows configurations in the form that is looked for here."""
    assert len(_BLOCKS) > 7


@pytest.mark.parametrize("block", _BLOCKS)
def test_what_is_shown_loads(block: str) -> None:
    """Each block of the page is a whole file, and loads without a warning."""
    _load(block)


def test_the_example_loads() -> None:
    """The whole file that the page names loads without a warning."""
    _load((_ROOT / "examples/llm.yaml").read_text())


@pytest.mark.parametrize("kind", [kind for kind in ProviderKind if kind is not ProviderKind.CUSTOM])
def test_every_preset_is_listed(kind: ProviderKind) -> None:
    """Each provider with a name is in the table, with the address that it is asked at."""
    facts = PROVIDERS[kind]
    shown = _PRESETS["openAI" if kind is ProviderKind.OPENAI else kind.value]
    if facts.host is None:
        assert shown == "say `params.baseUrl`"
        return
    scheme, usual = ("https", 443) if facts.tls else ("http", 80)
    place = f"{scheme}://{facts.host}" + (f":{facts.port}" if facts.port != usual else "")
    own = (facts.operations or {}).get(Operation.CHAT_COMPLETIONS)
    assert shown == f"`{place}{facts.base if own is None else ''}`"
