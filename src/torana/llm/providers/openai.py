"""OpenAI. Source: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts

OPENAI: Final = ProviderFacts(
    name="openai",
    host="api.openai.com",
    port=443,
    base="/v1",
    operations=frozenset(
        {
            Operation.CHAT_COMPLETIONS,
            Operation.COMPLETIONS,
            Operation.EMBEDDINGS,
            Operation.RESPONSES,
            Operation.MODELS,
        }
    ),
)
