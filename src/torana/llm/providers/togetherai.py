"""Together AI. Source: https://docs.together.ai/docs/openai-api-compatibility."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

TOGETHERAI: Final = ProviderFacts(
    "togetherai",
    "api.together.xyz",
    operations=serving(
        Operation.CHAT_COMPLETIONS, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.RERANK, Operation.MODELS
    ),
)
