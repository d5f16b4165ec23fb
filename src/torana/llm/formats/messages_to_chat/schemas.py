"""Schemas that OpenAI takes as strict; Anthropic enforces others too."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.llm.usage import UNREADABLE

_decode: Final = msgspec.json.Decoder().decode


def may_be_strict(schema: msgspec.Raw) -> bool:
    """Whether every object in it requires all of its properties and has no others; else `strict` is refused.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    try:
        return _is_closed(_decode(schema))
    except UNREADABLE:
        return False


def _is_closed(value: Any) -> bool:
    """Any value within a schema. What only looks like an object's schema, as in a `default`, is taken for one."""
    if isinstance(value, list):
        return all(map(_is_closed, value))
    if not isinstance(value, dict):
        return True
    properties, required = value.get("properties"), value.get("required")
    if isinstance(properties, dict) or value.get("type") == "object":
        named = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        if value.get("additionalProperties") is not False or not named.issuperset(properties or ()):
            return False
    return all(map(_is_closed, value.values()))
