"""YAML nodes that know where they are, and what a scalar means by the rules of YAML 1.2.

They are our own because PyYAML's composer follows YAML 1.1 (`on` is true, `60:30` a number), takes a key twice, expands
aliases without bound and overflows the C stack on deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from torana.config.yaml.source import Source

Path: TypeAlias = tuple[str | int, ...]
"""The keys and indices from the root to a node."""


_BASES = {"0o": 8, "0x": 16}
_CORE: tuple[tuple[re.Pattern[str], Callable[[str], int | float | bool | None]], ...] = (
    (re.compile(r"(?:null|Null|NULL|~)?"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    # No more digits than 64 bits have: int() itself refuses to read too many. Longer ones are numbers with a fraction.
    (
        re.compile(r"[-+]?[0-9]{1,19}|0o[0-7]{1,21}|0x[0-9a-fA-F]{1,16}"),
        lambda text: int(text, _BASES.get(text[:2], 10)),
    ),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
"""What a plain scalar means by its look (YAML 1.2.2, section 10.3.2); anything else is text."""


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
    """What a scalar means in YAML 1.2's core schema: a plain one by its look, others text."""
    if scalar.plain:
        for look, meaning in _CORE:
            if look.fullmatch(scalar.text):
                return meaning(scalar.text)
    return scalar.text


def path_text(path: Path) -> str:
    """`binds[0].listeners[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
