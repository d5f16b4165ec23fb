"""YAML nodes that know where they are, and what a scalar means by the rules of YAML 1.2.

They are our own because PyYAML's composer follows YAML 1.1 (`on` is true, `60:30` a number), takes a key twice, expands
aliases without bound and overflows the C stack on deep nesting.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from torana.config.standalone.source import Source

Path: TypeAlias = tuple[str | int, ...]
"""The keys and indices from the root to a node."""

_NULL = re.compile(r"(?:null|Null|NULL|~)?")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES = {"0o": 8, "0x": 16}


class Scalar(msgspec.Struct, gc=False):
    """Text; `plain` when it is neither quoted nor a block, so that it may mean a number, a truth value or nothing."""

    text: str
    plain: bool
    start: int
    end: int
    weight: int = 1


class Sequence(msgspec.Struct):
    items: list[Node]
    start: int
    end: int
    weight: int = 1


class Entry(msgspec.Struct):
    key: Scalar
    value: Node


class Mapping(msgspec.Struct):
    """Entries in file order, each key once, merge keys (`<<`) already merged in."""

    entries: dict[str, Entry]
    start: int
    end: int
    weight: int = 1


Node: TypeAlias = Scalar | Sequence | Mapping


class Document(msgspec.Struct, frozen=True):
    source: Source
    root: Node


def core_value(scalar: Scalar) -> str | int | float | bool | None:
    """What a scalar means in YAML 1.2's core schema (YAML 1.2.2, section 10.3.2): a plain one by its look, others text."""
    text = scalar.text
    if not scalar.plain:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text in ("true", "True", "TRUE")
    if (
        _INT.fullmatch(text) and len(text) <= 20
    ):  # more digits than any 64-bit number, and int() limits how many it reads
        return int(text, _BASES.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NO_NUMBER.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def path_text(path: Path) -> str:
    """`binds[0].listeners[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
