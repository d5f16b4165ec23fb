"""A value that fits a JSON Schema: arguments of a simulated tool call, and answers of structured output.

It covers what SDKs write from functions and classes: types, properties, items, enum, const, anyOf and oneOf, allOf,
`$ref` within the schema, minimum and minItems. What it cannot fit (patterns, say) gets a plain word.
"""

from __future__ import annotations

from typing import Any

from torana.simulate import words

_DEPTH = 8  # levels of nesting; a schema that contains itself would have no end
_VALUES = 1000  # values in all; nesting multiplies


class Sampler:
    """Draws one value. The same schema and seed give the same one."""

    def __init__(self, schema: object, seed: bytes) -> None:
        self._schema = schema
        self._seed = seed
        self._left = _VALUES

    def draw(self) -> Any:
        return self._value(self._schema, "", _DEPTH)

    def _value(self, schema: object, path: str, depth: int) -> Any:
        """`path` leads to the value, and makes two strings of one object differ."""
        schema = self._resolved(schema)
        self._left -= 1
        if schema is None or depth == 0 or self._left < 0:
            return None
        seed = self._seed + path.encode()
        options = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(options, list) and options:
            return options[words.number(seed) % len(options)]
        kind = _type_of(schema)
        if kind == "object":
            properties = schema.get("properties")
            known = properties.items() if isinstance(properties, dict) else ()
            return {name: self._value(part, f"{path}.{name}", depth - 1) for name, part in known if self._left > 0}
        if kind == "array":
            least = schema.get("minItems")
            count = max(1, min(least, _VALUES)) if isinstance(least, int) else 1
            return [self._value(schema.get("items", {}), f"{path}[{i}]", depth - 1) for i in range(count)]
        return _plain(kind, schema, seed)

    def _resolved(self, schema: object) -> dict[str, Any] | None:
        """Behind references and alternatives, of which the first is taken; None when there is nothing to go by."""
        for _ in range(_DEPTH):
            if not isinstance(schema, dict):
                return None
            if isinstance(reference := schema.get("$ref"), str):
                schema = self._referenced(reference)
                continue
            for key in ("anyOf", "oneOf", "allOf"):
                if isinstance(options := schema.get(key), list) and options:
                    schema = options[0]
                    break
            else:
                return schema
        return None

    def _referenced(self, reference: str) -> object:
        found: object = self._schema
        for name in reference.removeprefix("#").split("/")[1:]:
            if not isinstance(found, dict):
                return None
            found = found.get(name)
        return found


def _plain(kind: object, schema: dict[str, Any], seed: bytes) -> str | float | bool | None:
    match kind:
        case "integer" | "number":
            least = schema.get("minimum")
            return least if isinstance(least, int | float) else words.number(seed)
        case "boolean":
            return words.number(seed) % 2 == 0
        case "null":
            return None
        case _:
            return words.word(seed)


def _type_of(schema: dict[str, Any]) -> object:
    """`type`, of several the first that is not null; an object or array without one is told by its keys."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else None
    return kind
