"""DeepInfra. Source: https://docs.deepinfra.com."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

DEEPINFRA: Final = ProviderFacts(
    "deepinfra",
    "api.deepinfra.com",
    base="/v1/openai",
    operations=serving(
        Operation.CHAT_COMPLETIONS, Operation.EMBEDDINGS, Operation.MODELS, MESSAGES="/anthropic/v1/messages"
    ),
)
