"""Perplexity: chat completions at its root, the rest below `/v1`. Source: https://docs.perplexity.ai/api-reference."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

PERPLEXITY: Final = ProviderFacts(
    "perplexity",
    "api.perplexity.ai",
    operations=serving(Operation.RESPONSES, Operation.EMBEDDINGS, CHAT_COMPLETIONS="/chat/completions"),
)
