"""vLLM: its server, wherever that runs. Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

VLLM: Final = ProviderFacts(
    "vllm",
    operations=serving(
        Operation.CHAT_COMPLETIONS,
        Operation.COMPLETIONS,
        Operation.RESPONSES,
        Operation.EMBEDDINGS,
        Operation.RERANK,
        Operation.MODELS,
    ),
)
