"""Providers: where each API family is reached when the configuration does not say, and what it serves.

A provider is data, one file each; adding one is a file, its line in PROVIDERS and a ProviderKind.
"""

from __future__ import annotations

from typing import Final

from torana.llm.providers.anthropic import ANTHROPIC
from torana.llm.providers.baseten import BASETEN
from torana.llm.providers.cerebras import CEREBRAS
from torana.llm.providers.cohere import COHERE
from torana.llm.providers.custom import CUSTOM
from torana.llm.providers.deepinfra import DEEPINFRA
from torana.llm.providers.deepseek import DEEPSEEK
from torana.llm.providers.facts import ProviderFacts
from torana.llm.providers.fireworks import FIREWORKS
from torana.llm.providers.groq import GROQ
from torana.llm.providers.huggingface import HUGGINGFACE
from torana.llm.providers.lmstudio import LMSTUDIO
from torana.llm.providers.mistral import MISTRAL
from torana.llm.providers.ollama import OLLAMA
from torana.llm.providers.openai import OPENAI
from torana.llm.providers.openrouter import OPENROUTER
from torana.llm.providers.perplexity import PERPLEXITY
from torana.llm.providers.togetherai import TOGETHERAI
from torana.llm.providers.vllm import VLLM
from torana.llm.providers.xai import XAI
from torana.model.backend import ProviderKind

PROVIDERS: Final[dict[ProviderKind, ProviderFacts]] = {
    ProviderKind.OPENAI: OPENAI,
    ProviderKind.CUSTOM: CUSTOM,
    ProviderKind.ANTHROPIC: ANTHROPIC,
    ProviderKind.BASETEN: BASETEN,
    ProviderKind.CEREBRAS: CEREBRAS,
    ProviderKind.COHERE: COHERE,
    ProviderKind.DEEPINFRA: DEEPINFRA,
    ProviderKind.DEEPSEEK: DEEPSEEK,
    ProviderKind.FIREWORKS: FIREWORKS,
    ProviderKind.GROQ: GROQ,
    ProviderKind.HUGGINGFACE: HUGGINGFACE,
    ProviderKind.LMSTUDIO: LMSTUDIO,
    ProviderKind.MISTRAL: MISTRAL,
    ProviderKind.OLLAMA: OLLAMA,
    ProviderKind.OPENROUTER: OPENROUTER,
    ProviderKind.PERPLEXITY: PERPLEXITY,
    ProviderKind.TOGETHERAI: TOGETHERAI,
    ProviderKind.VLLM: VLLM,
    ProviderKind.XAI: XAI,
}
