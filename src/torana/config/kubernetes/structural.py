"""Checks a value by the structural OpenAPI v3 schema of a CRD, and fills in its defaults, as an API server does.

Differences: a field that is not in the schema is a fault, not dropped (kubectl's strict validation); `oneOf` and
`anyOf` are passed over, which the schemas here have for the addresses of a Gateway alone. Faults never show a value,
which may be a token.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from torana.config.kubernetes.schemas import Schema

Path: TypeAlias = tuple[str | int, ...]

_KEEPS = "x-kubernetes-preserve-unknown-fields"
_NAMES: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "object": ("an object", dict),
    "array": ("a list", list),
    "string": ("text", str),
    "boolean": ("true or false", bool),
    "integer": ("an integer", int),
    "number": ("a number", (int, float)),
}
_FORMER = {
    "provider": "kgateway 2.0 wrote it; since 2.1 `openai` and its like stand in its place",
    "hostOverride": "kgateway 2.0 wrote it; since 2.1 it is `host` and `port`",
    "pathOverride": "kgateway 2.0 wrote it; since 2.1 it is `path`",
    "authHeaderOverride": "kgateway 2.0 wrote it; since 2.1 it is `authHeader`",
    "multipool": "kgateway 2.0 wrote it; since 2.1 it is `priorityGroups`",
}
"""Fields of Backends as they were before the version that is read here."""


class Fault(NamedTuple):
    """What is wrong at a path of an object."""

    path: Path
    what: str
    hint: str = ""


class Checked(NamedTuple):
    """`value` has its defaults; it is fit for use when there are no faults."""

    value: Any
    faults: list[Fault]


def check(value: Any, schema: Schema, path: Path = ()) -> Checked:
    faults: list[Fault] = []
    return Checked(_check(value, schema, path, faults), faults)


def _check(value: Any, schema: Schema, path: Path, faults: list[Fault]) -> Any:
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        faults.append(
            Fault(path, f"Invalid value: must be {_NAMES[kind][0]}, and is {_shape(value)}", _unquote(value, kind))
        )
        return value
    match value:
        case dict():
            return _object(value, schema, path, faults)
        case list():
            return _list(value, schema, path, faults)
        case str():
            _text(value, schema, path, faults)
        case int() | float() if not isinstance(value, bool):
            _number(value, schema, path, faults)
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{word}"' for word in schema["enum"])
        faults.append(Fault(path, f"Unsupported value: supported values: {supported}", _nearest(value, schema["enum"])))
    return value


def _object(value: dict[str, Any], schema: Schema, path: Path, faults: list[Fault]) -> dict[str, Any]:
    properties: dict[str, Schema] = schema.get("properties", {})
    others = schema.get("additionalProperties")
    # Kubernetes API conventions: null is the same as absent, unless the schema says `nullable`.
    given = {name: item for name, item in value.items() if item is not None}
    checked: dict[str, Any] = {}
    for name, item in given.items():
        if name in properties:
            checked[name] = _check(item, properties[name], (*path, name), faults)
        elif isinstance(others, dict):
            checked[name] = _check(item, others, (*path, name), faults)
        elif schema.get(_KEEPS):
            checked[name] = item
        else:
            hint = _FORMER.get(name) or _nearest(name, list(properties))
            faults.append(Fault((*path, name), "unknown field", hint))
    for name, part in properties.items():
        if name not in checked and "default" in part:
            checked[name] = _check(part["default"], part, (*path, name), faults)
    faults += [
        Fault((*path, name), "Required value")
        for name in schema.get("required", ())
        if name not in {**given, **checked}
    ]
    if len(given) > schema.get("maxProperties", len(given)):
        faults.append(Fault(path, f"Too many: must have at most {schema['maxProperties']} entries"))
    return checked


def _list(value: list[Any], schema: Schema, path: Path, faults: list[Fault]) -> list[Any]:
    items = schema.get("items", {})
    checked = [_check(item, items, (*path, index), faults) for index, item in enumerate(value)]
    if len(value) > schema.get("maxItems", len(value)):
        faults.append(Fault(path, f"Too many: must have at most {schema['maxItems']} items"))
    if len(value) < schema.get("minItems", 0):
        faults.append(Fault(path, f"Invalid value: must have at least {schema['minItems']} items"))
    keys = _identities(checked, schema)
    for index, key in enumerate(keys):
        if key in keys[:index]:
            faults.append(Fault((*path, index), "Duplicate value"))
    return checked


def _identities(items: list[Any], schema: Schema) -> list[Any]:
    """What has to be unique in the list: the items of a set, the keys of a map."""
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return items
        case "map":
            keys = schema["x-kubernetes-list-map-keys"]
            return [[item.get(key) for key in keys] for item in items if isinstance(item, dict)]
        case _:
            return []


def _text(value: str, schema: Schema, path: Path, faults: list[Fault]) -> None:
    if len(value) < schema.get("minLength", 0):
        faults.append(Fault(path, f"Invalid value: must have at least {schema['minLength']} characters"))
    elif len(value) > schema.get("maxLength", len(value)):
        faults.append(Fault(path, f"Too long: may not have more than {schema['maxLength']} characters"))
    elif "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        faults.append(Fault(path, f"Invalid value: must match the pattern {schema['pattern']}"))


def _number(value: float, schema: Schema, path: Path, faults: list[Fault]) -> None:
    if value < schema.get("minimum", value):
        faults.append(Fault(path, f"Invalid value: must be greater than or equal to {schema['minimum']}"))
    if value > schema.get("maximum", value):
        faults.append(Fault(path, f"Invalid value: must be less than or equal to {schema['maximum']}"))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """As in Go, where `$` is the very end: in Python it is also before a line break there."""
    return re.compile(re.sub(r"(?<!\\)\$(?=[|)]|\Z)", r"\\Z", text), re.ASCII)


# --- Words ----------------------------------------------------------------------------------------------------------


def _is(value: Any, kind: str) -> bool:
    wanted = _NAMES[kind][1]
    return isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool))


def _shape(value: Any) -> str:
    shapes = (name for name, wanted in _NAMES.values() if isinstance(value, wanted))
    return "empty" if value is None else next(shapes)


def _unquote(value: Any, kind: str) -> str:
    if kind in ("integer", "number") and isinstance(value, str) and value.isdecimal():
        return "leave out the quotes"
    if kind == "string" and not isinstance(value, (dict, list)) and value is not None:
        return "put it in quotes"
    return ""


def _nearest(word: Any, words: list[Any]) -> str:
    """A hint at the word that was probably meant: the same in other case, or one that looks alike."""
    spelled = {str(candidate).lower(): candidate for candidate in words}
    found = difflib.get_close_matches(str(word).lower(), spelled, n=1, cutoff=0.75)
    return f'did you mean "{spelled[found[0]]}"?' if found else ""
