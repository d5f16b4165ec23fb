"""The JSON Schema of the file, for editors; made from the records, so it cannot fall behind them."""

from __future__ import annotations

from typing import Any

import msgspec

from torana.config.standalone.schema.file import File
from torana.config.standalone.schema.record import Empty, Record
from torana.config.standalone.shape import Shape, keys

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Draft 2020-12. It knows everything that one place can tell; what two places together mean is left to loading."""
    components = msgspec.json.schema_components((File,), ref_template="#/$defs/{name}")
    # Defaults come as tuples; once through JSON they are what a schema holds.
    (top,), definitions = msgspec.json.decode(msgspec.json.encode(components))
    for record in records():
        _complete(definitions[record.__name__], record)
        _allow_plain_text(definitions[record.__name__])
    return {"$schema": _DRAFT, "title": "Torana's standalone configuration", **top, "$defs": definitions}


def records() -> dict[type[Record], str]:
    """All records of the file from the top down, and where each stands first, such as `binds[].listeners[]`."""
    found: dict[type[Record], str] = {File: ""}
    waiting: list[type[Record]] = [File]
    while waiting:
        outer = waiting.pop(0)
        for name, key in keys(outer).items():
            shape = key.shape
            for inner, ending in ((shape.items, "[]"), (shape.values, ".*"), (shape, "")):
                if inner is not None and inner.record is not None and inner.record not in found:
                    found[inner.record] = f"{found[outer]}.{name}".removeprefix(".") + ending
                    waiting.append(inner.record)
    return found


def _complete(definition: dict[str, Any], record: type[Record]) -> None:
    """What msgspec does not know: second spellings, groups of keys, and where a key without a value is refused."""
    properties = definition["properties"]
    for spelling, name in record.spellings.items():
        properties[spelling] = {**properties[name], "description": f"The same as `{name}`."}
    spellings = {name: [name] for name in record.exactly_one}
    for spelling, name in record.spellings.items():
        spellings.get(name, []).append(spelling)
    if spellings:
        definition["oneOf"] = [{"required": [name]} for names in spellings.values() for name in names]
    if record.alone:
        definition["dependentSchemas"] = {name: {"maxProperties": 1} for name in record.alone}
    for name, key in keys(record).items():
        inner = key.shape.record
        refused = name in record.exactly_one or (inner is not None and inner.empty is Empty.REFUSED)
        for spelling in [name, *(s for s, n in record.spellings.items() if n == name)]:
            if refused:
                _forbid_null(properties[spelling])
            elif not key.required:
                _allow_null(properties[spelling], key.shape)


def _forbid_null(definition: dict[str, Any]) -> None:
    definition["anyOf"] = [option for option in definition["anyOf"] if option != {"type": "null"}]
    definition.pop("default", None)


def _allow_null(definition: dict[str, Any], shape: Shape) -> None:
    """A key without a value counts as no key; msgspec tells so only of those whose default is none."""
    if not shape.null:
        described = {name: definition.pop(name) for name in list(definition) if name not in ("description", "default")}
        definition["anyOf"] = [described, {"type": "null"}]


def _allow_plain_text(definition: Any) -> None:
    """Where text is expected, `1` and `true` without quotes are read as text; an editor sees a number there."""
    if isinstance(definition, list):
        for inner in definition:
            _allow_plain_text(inner)
    elif isinstance(definition, dict):
        if definition.get("type") == "string" and "pattern" not in definition:
            definition["type"] = ["string", "number", "boolean"]
        for inner in definition.values():
            _allow_plain_text(inner)
