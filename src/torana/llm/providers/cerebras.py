"""Cerebras. Source: https://inference-docs.cerebras.ai/resources/openai."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

CEREBRAS: Final = ProviderFacts(
    "cerebras",
    "api.cerebras.ai",
    operations=serving(Operation.CHAT_COMPLETIONS, Operation.MODELS),
)
