"""xAI. Source: https://docs.x.ai/docs/api-reference."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

XAI: Final = ProviderFacts(
    "xai",
    "api.x.ai",
    operations=serving(Operation.CHAT_COMPLETIONS, Operation.RESPONSES, Operation.REALTIME, Operation.MODELS),
)
