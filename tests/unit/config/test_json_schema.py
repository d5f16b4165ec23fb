"""The JSON Schema accepts what loads and rejects what does not, as far as one place can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from torana.config.standalone.json_schema import schema
from torana.config.standalone.reference import page

_ROOT = Path(__file__).parents[3]
_SCHEMA = schema()
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _others(value: Any, part: dict[str, Any]) -> set[str]:
    return set(value) - set(part.get("properties", {})) if isinstance(value, dict) else set()


# The keywords that the schema uses, as JSON Schema 2020-12 defines them: value, keyword's value, schema -> valid.
_KEYWORDS: dict[str, Callable[[Any, Any, dict[str, Any]], bool]] = {
    **dict.fromkeys(("$schema", "$defs", "title", "description", "default"), lambda _value, _rule, _part: True),
    "$ref": lambda value, rule, _: _valid(value, _SCHEMA["$defs"][rule.removeprefix("#/$defs/")]),
    "type": lambda value, rule, _: any(_is(value, kind) for kind in (rule if isinstance(rule, list) else [rule])),
    "anyOf": lambda value, rule, _: any(_valid(value, option) for option in rule),
    "oneOf": lambda value, rule, _: sum(_valid(value, option) for option in rule) == 1,
    "enum": lambda value, rule, _: value in rule,
    "pattern": lambda value, rule, _: not isinstance(value, str) or re.search(rule, value) is not None,
    "minimum": lambda value, rule, _: not _is(value, "number") or value >= rule,
    "maximum": lambda value, rule, _: not _is(value, "number") or value <= rule,
    "minLength": lambda value, rule, _: not isinstance(value, str) or len(value) >= rule,
    "items": lambda value, rule, _: not isinstance(value, list) or all(_valid(item, rule) for item in value),
    "dependentSchemas": lambda value, rule, _: all(
        _valid(value, part) for name, part in rule.items() if isinstance(value, dict) and name in value
    ),
    "maxProperties": lambda value, rule, _: not isinstance(value, dict) or len(value) <= rule,
    "required": lambda value, rule, _: not isinstance(value, dict) or set(rule) <= set(value),
    "properties": lambda value, rule, _: (
        not isinstance(value, dict) or all(_valid(value[name], rule[name]) for name in value if name in rule)
    ),
    "additionalProperties": lambda value, rule, part: all(
        rule is not False and _valid(value[name], rule) for name in _others(value, part)
    ),
}


def _valid(value: Any, part: dict[str, Any]) -> bool:
    return all(_KEYWORDS[keyword](value, rule, part) for keyword, rule in part.items())


def _accepted() -> list[Path]:
    return [*sorted((_ROOT / "examples").glob("*.yaml")), _ROOT / "tests/golden/standalone/targets.yaml"]


@pytest.mark.parametrize("path", _accepted(), ids=lambda path: path.stem)
def test_accepts_what_loads(path: Path) -> None:
    """Every example is valid."""
    assert _valid(yaml.safe_load(path.read_text()), _SCHEMA)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("{}", True),
        ("binds: [{port: 1, listeners: []}]", True),
        ("binds: [{port: 1, listeners: [], mode: }]", True),
        ("bind: []", False),
        ("llm: {}", True),
        ("llm: {model: []}", False),
        ("llm: {models: [{name: a, provider: groq, overrides: {a: [1, null, {b: x}]}}]}", True),
        ("llm: {models: [{name: a, provider: gemini}]}", False),
        ("llm: {models: [{name: a, provider: {reference: b}}]}", True),
        ("llm: {models: [{name: a, provider: {}}]}", False),
        ("gateways: {default: {port: 1}}\nroutes: [{gateways: default}, {gateways: [default, a/b]}]", True),
        ("binds: [{port: 0, listeners: []}]", False),
        ("binds: [{port: '1', listeners: []}]", False),
        ("binds: [{listeners: []}]", False),
        ("config: {connectionTerminationDeadline: 5s, workerThreads: 2}", True),
        ("config: {connectionTerminationDeadline: 5, workerThreads: 50%}", False),
        ("backends: [{name: 1, host: 'a:1'}]", True),
        ("backends: [{name: a, ai: {provider: {openai: {}}}}]", True),
        ("backends: [{name: a, ai: {provider: {openai: {}, openAI: {}}}}]", False),
        ("backends: [{name: a, ai: {provider: {openAI: }}}]", False),
        ("backends: [{name: a, ai: {provider: {}}}]", False),
        ("backends: [{name: a, ai: {groups: [{providers: [{provider: {openAI: {}}}]}]}}]", True),
        ("backends: [{name: a, ai: {groups: [{providers: [{name: b}]}]}}]", False),
        ("backends: [{name: a, ai: {name: a, groups: [{providers: [{provider: {openAI: {}}}]}]}}]", False),
        ("backends: [{name: a, host: 'a:1', policies: {health: {eviction: {restoreHealth: 0.5}}}}]", True),
        ("backends: [{name: a, host: 'a:1', policies: {health: {eviction: {restoreHealth: 1.5}}}}]", False),
        ("backends: [{name: a, host: 'a:1', policies: {http: {version: HTTP/2.0}}}]", False),
        ("backends: [{name: a, host: 'a:1', policies: {tcp: {connectTimeout: {secs: 1}}}}]", True),
        ("backends: [{name: a, host: 'a:1', policies: {sessionAffinity: {header: a, cookie: b}}}]", False),
        ("backends: [{name: a, host: 'a:1', policies: {backendTLS: }}]", False),
        ("backends: [{name: a, host: 'a:1', policies: {backendAuth: {key: a}}}]", True),
        ("backends: [{name: a, host: 'a:1', policies: {backendAuth: {key: {file: a}}}}]", True),
    ],
)
def test_is_as_strict_as_loading(text: str, valid: bool) -> None:
    """Keys, types, bounds and groups are checked; keys that are not supported yet are not offered."""
    assert _valid(yaml.safe_load(text), _SCHEMA) is valid


def test_is_json() -> None:
    """The schema can be written as JSON, and every key has a description."""
    assert json.loads(json.dumps(_SCHEMA)) == _SCHEMA
    for name, definition in _SCHEMA["$defs"].items():
        for key, part in definition["properties"].items():
            assert part.get("description"), f"{name}.{key}"


def test_published_schema_is_up_to_date() -> None:
    """docs/reference/schema.json is what `torana schema` writes; `make docs` makes it so."""
    assert json.loads((_ROOT / "docs/reference/schema.json").read_text()) == _SCHEMA


def test_reference_is_up_to_date() -> None:
    """docs/reference/configuration.md is what `python -m torana.config.standalone.reference` writes."""
    assert (_ROOT / "docs/reference/configuration.md").read_text() == page()
