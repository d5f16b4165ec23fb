"""Groq. Source: https://console.groq.com/docs/openai."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

GROQ: Final = ProviderFacts(
    "groq",
    "api.groq.com",
    base="/openai/v1",
    operations=serving(Operation.CHAT_COMPLETIONS, Operation.RESPONSES, Operation.MODELS),
)
