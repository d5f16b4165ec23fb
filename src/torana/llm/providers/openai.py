"""OpenAI. Source: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

_OTHERS: Final = (Operation.MESSAGES, Operation.COUNT_TOKENS)  # what is not of its API; its likes have reranking too

OPENAI: Final = ProviderFacts(
    "openai",
    "api.openai.com",
    operations=serving(*(operation for operation in Operation if operation not in _OTHERS)),
)
