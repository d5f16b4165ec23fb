"""Providers whose own API is not spoken yet, and where they offer OpenAI's: for hints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LIKE_OPENAI: Final[Mapping[str, tuple[str, str]]] = {
    "gemini": ("https://generativelanguage.googleapis.com", "/v1beta/openai"),
    "azure": ("https://RESOURCE.openai.azure.com", "/openai/v1"),
    "bedrock": ("https://bedrock-runtime.REGION.amazonaws.com", "/openai/v1"),
}
"""The place, and the base path."""
