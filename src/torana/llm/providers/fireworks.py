"""Fireworks AI. Source: https://docs.fireworks.ai/tools-sdks/openai-compatibility."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

FIREWORKS: Final = ProviderFacts(
    "fireworks",
    "api.fireworks.ai",
    base="/inference/v1",
    operations=serving(
        Operation.CHAT_COMPLETIONS,
        Operation.COMPLETIONS,
        Operation.MESSAGES,
        Operation.RESPONSES,
        Operation.EMBEDDINGS,
        Operation.RERANK,
        Operation.MODELS,
    ),
)
