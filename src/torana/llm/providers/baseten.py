"""Baseten, its Model APIs. Source: https://docs.baseten.co/development/model-apis/overview."""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

BASETEN: Final = ProviderFacts(
    "baseten",
    "inference.baseten.co",
    operations=serving(Operation.CHAT_COMPLETIONS, Operation.MESSAGES, Operation.MODELS),
)
