"""Cohere: its compatibility API beside its own. Source: https://docs.cohere.com/docs/compatibility-api."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

COHERE: Final = ProviderFacts(
    "cohere",
    "api.cohere.ai",
    operations=serving(
        Operation.MODELS,
        CHAT_COMPLETIONS="/compatibility/v1/chat/completions",
        EMBEDDINGS="/compatibility/v1/embeddings",
        RERANK="/v2/rerank",
    ),
)
