"""OpenRouter. Source: https://openrouter.ai/docs/api-reference/overview."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

OPENROUTER: Final = ProviderFacts(
    "openrouter",
    "openrouter.ai",
    base="/api/v1",
    operations=serving(
        Operation.CHAT_COMPLETIONS,
        Operation.MESSAGES,
        Operation.RESPONSES,
        Operation.EMBEDDINGS,
        Operation.RERANK,
        Operation.MODELS,
    ),
)
