"""LM Studio, on this machine. Source: https://lmstudio.ai/docs/developer/openai-compat."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

LMSTUDIO: Final = ProviderFacts(
    "lmstudio",
    "localhost",
    port=1234,
    operations=serving(
        Operation.CHAT_COMPLETIONS, Operation.COMPLETIONS, Operation.RESPONSES, Operation.EMBEDDINGS, Operation.MODELS
    ),
    tls=False,
)
