"""Anthropic. Source: https://docs.anthropic.com/en/api."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

ANTHROPIC: Final = ProviderFacts(
    "anthropic",
    "api.anthropic.com",
    operations=serving(Operation.MESSAGES, Operation.COUNT_TOKENS, Operation.MODELS, Operation.FILES),
    headers=(("anthropic-version", "2023-06-01"),),
    key_header="x-api-key",
    key_prefix="",
)
