"""Providers are data."""

from __future__ import annotations

from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.model.backend import ProviderKind


def test_every_kind_has_its_facts() -> None:
    """Each provider that can be configured has its facts, and each speaks chat completions."""
    assert set(PROVIDERS) == set(ProviderKind)
    assert all(Operation.CHAT_COMPLETIONS in facts.operations for facts in PROVIDERS.values())


def test_openai_is_where_it_is() -> None:
    """OpenAI has an address of its own; a custom provider must be given one."""
    openai = PROVIDERS[ProviderKind.OPENAI]
    assert (openai.host, openai.port, openai.base) == ("api.openai.com", 443, "/v1")
    assert PROVIDERS[ProviderKind.CUSTOM].host is None
