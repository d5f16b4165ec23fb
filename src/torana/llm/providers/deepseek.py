"""DeepSeek. Source: https://api-docs.deepseek.com."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

DEEPSEEK: Final = ProviderFacts(
    "deepseek",
    "api.deepseek.com",
    operations=serving(
        Operation.CHAT_COMPLETIONS, Operation.RESPONSES, Operation.MODELS, MESSAGES="/anthropic/v1/messages"
    ),
)
