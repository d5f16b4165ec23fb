"""The CEL rules of a schema (`x-kubernetes-validations`), evaluated on a value that its structure has been checked of.

A rule sees its part of the value as `self`. Rules on what a field was before (`oldSelf`) do not hold for new objects,
as every object of a file is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from torana.config.kubernetes.schemas import Schema
from torana.config.kubernetes.structural import Fault, Path
from torana.policies.cel import compiled

# Kubernetes' documentation of CRD validation rules: "Escaping property names". `__` first, before it comes from others.
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_KEYWORDS = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
_OLD = re.compile(r"\boldSelf\b")


def broken(value: Any, schema: Schema, path: Path = ()) -> Iterator[Fault]:
    """A fault for each rule that does not hold, from the outside in."""
    yield from _broken(_escaped(value, schema), schema, path)


def _broken(value: Any, schema: Schema, path: Path) -> Iterator[Fault]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _OLD.search(rule["rule"]):
            yield from _evaluate(rule, value, path)
    match value:
        case dict():
            others = schema.get("additionalProperties")
            names = {_escape(name): (name, part) for name, part in schema.get("properties", {}).items()}
            for key, item in value.items():
                name, part = names.get(key, (key, others))
                if isinstance(part, dict):
                    yield from _broken(item, part, (*path, name))
        case list():
            for index, item in enumerate(value):
                yield from _broken(item, schema.get("items", {}), (*path, index))


def _evaluate(rule: dict[str, str], value: Any, path: Path) -> Iterator[Fault]:
    """As the API server: a rule that cannot be evaluated counts as one that does not hold."""
    try:
        holds = compiled(rule["rule"]).execute({"self": value})
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        yield Fault(path, f"the rule `{rule['rule']}` cannot be evaluated: {error}")
        return
    if holds is not True:
        yield Fault(path, rule.get("message") or f"failed rule: {rule['rule']}")


# --- Names ----------------------------------------------------------------------------------------------------------


def _escaped(value: Any, schema: Schema) -> Any:
    """The value with the names of properties as CEL spells them; those of maps stay."""
    match value:
        case dict():
            properties, others = schema.get("properties", {}), schema.get("additionalProperties")
            otherwise = others if isinstance(others, dict) else {}
            return {
                _escape(name) if name in properties else name: _escaped(item, properties.get(name, otherwise))
                for name, item in value.items()
            }
        case list():
            return [_escaped(item, schema.get("items", {})) for item in value]
        case _:
            return value


@cache
def _escape(name: str) -> str:
    if name in _KEYWORDS:
        return f"__{name}__"
    for written, escape in _ESCAPES:
        name = name.replace(written, escape)
    return name
