"""Hugging Face, its Inference Providers. Source: https://huggingface.co/docs/inference-providers."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

HUGGINGFACE: Final = ProviderFacts(
    "huggingface",
    "router.huggingface.co",
    operations=serving(Operation.CHAT_COMPLETIONS, Operation.RESPONSES, Operation.MODELS),
)
