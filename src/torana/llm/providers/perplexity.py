"""Perplexity; its paths have no `/v1`, and its own (`/search`, `/async/...`) go on as they are.

Source: https://docs.perplexity.ai/guides/chat-completions-guide.
"""

from __future__ import annotations

from typing import Final

from torana.llm.operation import Operation
from torana.llm.providers.facts import ProviderFacts, serving

PERPLEXITY: Final = ProviderFacts(
    "perplexity",
    "api.perplexity.ai",
    base="",
    operations=serving(Operation.CHAT_COMPLETIONS),
)
