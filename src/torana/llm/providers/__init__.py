"""Providers: where each API family is reached when the configuration does not say, and what it serves.

A provider is data, one file each; adding one is a file, its line in PROVIDERS and a ProviderKind.
"""

from __future__ import annotations

from typing import Final

from torana.llm.providers.anthropic import ANTHROPIC
from torana.llm.providers.custom import CUSTOM
from torana.llm.providers.facts import ProviderFacts
from torana.llm.providers.openai import OPENAI
from torana.model.backend import ProviderKind

PROVIDERS: Final[dict[ProviderKind, ProviderFacts]] = {
    ProviderKind.OPENAI: OPENAI,
    ProviderKind.CUSTOM: CUSTOM,
    ProviderKind.ANTHROPIC: ANTHROPIC,
}
