"""Ollama, on this machine. Source: https://docs.ollama.com/api/openai-compatibility."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

OLLAMA: Final = ProviderFacts(
    "ollama",
    "localhost",
    port=11434,
    operations=serving(
        Operation.CHAT_COMPLETIONS, Operation.COMPLETIONS, Operation.RESPONSES, Operation.EMBEDDINGS, Operation.MODELS
    ),
    tls=False,
)
