"""Mistral AI. Source: https://docs.mistral.ai/api."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

MISTRAL: Final = ProviderFacts(
    "mistral",
    "api.mistral.ai",
    operations=serving(Operation.CHAT_COMPLETIONS, Operation.EMBEDDINGS, Operation.MODELS),
)
