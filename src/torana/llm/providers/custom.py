"""Any server that speaks OpenAI's API under `/v1`: vLLM, llama.cpp, Ollama, a vendor of one's own choice."""

from __future__ import annotations

from typing import Final

from torana.llm.providers.facts import ProviderFacts

CUSTOM: Final = ProviderFacts("custom")
