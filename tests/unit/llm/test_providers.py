"""Providers are data."""

from __future__ import annotations

import pytest

from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.llm.providers.facts import path_for, path_under
from torana.model.backend import ProviderKind


def test_every_kind_has_its_facts() -> None:
    """Each provider that can be configured has its facts under its own name, and each can be asked for a chat."""
    assert set(PROVIDERS) == set(ProviderKind)
    for kind, facts in PROVIDERS.items():
        assert facts.name == kind.value
        spoken = Operation.MESSAGES if kind is ProviderKind.ANTHROPIC else Operation.CHAT_COMPLETIONS
        assert facts.operations is None or spoken in facts.operations


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (ProviderKind.OPENAI, "https://api.openai.com:443/v1/chat/completions"),
        (ProviderKind.BASETEN, "https://inference.baseten.co:443/v1/chat/completions"),
        (ProviderKind.CEREBRAS, "https://api.cerebras.ai:443/v1/chat/completions"),
        (ProviderKind.COHERE, "https://api.cohere.ai:443/compatibility/v1/chat/completions"),
        (ProviderKind.DEEPINFRA, "https://api.deepinfra.com:443/v1/openai/chat/completions"),
        (ProviderKind.DEEPSEEK, "https://api.deepseek.com:443/v1/chat/completions"),
        (ProviderKind.FIREWORKS, "https://api.fireworks.ai:443/inference/v1/chat/completions"),
        (ProviderKind.GROQ, "https://api.groq.com:443/openai/v1/chat/completions"),
        (ProviderKind.HUGGINGFACE, "https://router.huggingface.co:443/v1/chat/completions"),
        (ProviderKind.LMSTUDIO, "http://localhost:1234/v1/chat/completions"),
        (ProviderKind.MISTRAL, "https://api.mistral.ai:443/v1/chat/completions"),
        (ProviderKind.OLLAMA, "http://localhost:11434/v1/chat/completions"),
        (ProviderKind.OPENROUTER, "https://openrouter.ai:443/api/v1/chat/completions"),
        (ProviderKind.PERPLEXITY, "https://api.perplexity.ai:443/chat/completions"),
        (ProviderKind.TOGETHERAI, "https://api.together.xyz:443/v1/chat/completions"),
        (ProviderKind.XAI, "https://api.x.ai:443/v1/chat/completions"),
    ],
)
def test_a_chat_goes_to(kind: ProviderKind, url: str) -> None:
    """Each provider has the address of its own documentation; those on this machine are plaintext."""
    facts = PROVIDERS[kind]
    served = facts.operations or {}
    path = served.get(Operation.CHAT_COMPLETIONS) or path_for(facts.base, Operation.CHAT_COMPLETIONS).decode()
    assert f"{'https' if facts.tls else 'http'}://{facts.host}:{facts.port}{path}" == url


@pytest.mark.parametrize("kind", [ProviderKind.CUSTOM, ProviderKind.VLLM])
def test_has_no_place(kind: ProviderKind) -> None:
    """A custom provider and vLLM are wherever somebody runs them."""
    assert PROVIDERS[kind].host is None


@pytest.mark.parametrize(
    ("path", "there"),
    [
        (b"/search", b"/search"),
        (b"/async/chat/completions", b"/async/chat/completions"),
        (b"/async/chat/completions/42", b"/async/chat/completions/42"),
        (b"/v1/async/sonar", b"/v1/async/sonar"),
    ],
)
def test_perplexitys_own_paths(path: bytes, there: bytes) -> None:
    """Perplexity's own operations are passed on as they are, and none of them is taken for a chat completion."""
    assert path_under(PROVIDERS[ProviderKind.PERPLEXITY].base, path) == there


def test_the_root_of_a_base() -> None:
    """A base path of nothing leaves a path."""
    assert path_under("", b"/v1") == b"/"
