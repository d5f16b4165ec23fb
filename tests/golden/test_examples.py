"""The examples are the configurations of agentgateway's guide to OpenAI-compatible providers, and load as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from torana.config.problem import ConfigError
from torana.config.standalone.load import load
from torana.model.codec import dump

_GOLDEN = Path(__file__).parent
_EXAMPLES = _GOLDEN.parent.parent / "examples"
_BLOCKS = re.findall(r"```yaml\n(.*?)```", (_GOLDEN / "guides" / "standalone.md").read_text(), re.DOTALL)
_NAMES = (
    *("xai", "cohere", "ollama", "together", "groq", "deepseek"),
    *("mistral", "perplexity", "fireworks", "vllm", "lmstudio", "generic"),
)
_PLACEHOLDERS = {
    "<provider-api-host>": "api.provider.example",
    "<provider-chat-endpoint>": "/v1/chat/completions",
    "<provider-name>": "provider",
    "<model-name>": "model-name",
}
_SECRET = "sk-canary-of-the-examples"


def _example(name: str) -> str:
    return (_EXAMPLES / f"{name}.yaml").read_text()


def _variables(text: str) -> list[str]:
    return re.findall(r"\$([A-Z_]+_API_KEY)", text)


@pytest.mark.parametrize(("name", "block"), list(zip(_NAMES, _BLOCKS, strict=True)), ids=_NAMES)
def test_verbatim(name: str, block: str) -> None:
    """Every example is its block of the guide, to the letter; only the generic one has its placeholders filled in."""
    for placeholder, value in _PLACEHOLDERS.items():
        block = block.replace(placeholder, value)
    assert _example(name) == block


@pytest.mark.parametrize("name", _NAMES)
def test_compiles_to(name: str, golden: Callable[[Path, str], None]) -> None:
    """With its key in the environment, every example loads without a warning and compiles to the Config kept here."""
    text = _example(name)
    loaded = load(text, f"{name}.yaml", dict.fromkeys(_variables(text), _SECRET), _EXAMPLES)
    shown = json.dumps(dump(loaded.config), indent=2) + "\n"
    assert loaded.warnings == ()
    assert _SECRET not in shown
    golden(_GOLDEN / "standalone" / "examples" / f"{name}.json", shown)


@pytest.mark.parametrize("name", [name for name in _NAMES if _variables(_example(name))])
def test_needs_its_key(name: str) -> None:
    """Without its key, an example is refused with the variable's name, its place, and what it is for."""
    text = _example(name)
    (variable,) = _variables(text)
    with pytest.raises(ConfigError) as refused:
        load(text, f"{name}.yaml", {}, _EXAMPLES)
    (problem,) = refused.value.problems
    line = text[: text.index(f"${variable}")].count("\n") + 1
    assert problem.line == line
    assert problem.what == f"{variable} is not set; it is needed for backendAuth.key"
    assert problem.hint == f"export {variable}=... or write ${{{variable}:-default}}"
