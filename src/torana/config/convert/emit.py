"""YAML written out: a tree of dicts, lists and plain values, with nodes of the user's own file anywhere in it.

A scalar of the user's file is written as it stood there: its quotes, its variables, and the comment behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from torana.config.convert.written import WrittenFile, quoted
from torana.config.yaml.nodes import Mapping, Scalar, Sequence, core_value

_PLAIN = re.compile(
    r"(?:[A-Za-z_/$^(][^\x00-\x1f\x7f-\x9f\ufeff\u2028\u2029\ufffe\uffff]*|[0-9]+(?:\.[0-9]+)?(?:ms|[smh]))"
)
"""What needs no quotes: what begins as no other thing of YAML does, and durations."""
_AMBIGUOUS = re.compile(r": |:$| #|\s$")
_YAML_1_1 = frozenset(("y", "n", "yes", "no", "on", "off"))
"""Readers of YAML 1.1 take these for truth values."""


def emit(tree: Any, written: WrittenFile | None = None) -> str:
    """A YAML document. Members that are None are left out; `{}` and `[]` are written. Nodes are those of `written`."""
    emitter = _Emitter(written)
    lines = list(emitter.block(tree, ""))
    if written is None:
        return "\n".join(lines) + "\n"
    kept, last = written.comments.around(emitter.emitted)
    placed = list(written.comments.preamble)
    for line in lines:
        nodes = [int(offset) for offset in _MARK.findall(line)]
        bare = _MARK.sub("", line)
        indent = bare[: len(bare) - len(bare.lstrip())]
        placed += (f"{indent}{comment}" for comment in kept.above(nodes))
        placed.append(bare + "".join(f"  {comment}" for comment in kept.behind(nodes)))
    return "\n".join([*placed, *last]) + "\n"


def scalar(value: str | float | None) -> str:
    """In quotes where it would mean something else without them."""
    if isinstance(value, str):
        plain = (
            _PLAIN.fullmatch(value)
            and not _AMBIGUOUS.search(value)
            and value.lower() not in _YAML_1_1
            and core_value(Scalar(value, plain=True, start=0, end=0)) == value
        )
        return value if plain else quoted(value)
    return json.dumps(value)


class Extended(NamedTuple):
    """An object of the user's file with members before its own; of those the ones in `without` are left out."""

    more: dict[str, Any]
    node: Mapping
    without: tuple[str, ...] = ()


_MARK = re.compile(r"\x00([0-9]+)\x00")


class _Emitter:
    """Writes lines; behind a scalar of the user's file stands its offset there, between two NULs."""

    def __init__(self, written: WrittenFile | None) -> None:
        self._written = written
        self.emitted: set[int] = set()

    def block(self, tree: Any, indent: str) -> Iterator[str]:
        if _is_short(tree):
            yield indent + self._inline(tree)
            return
        match tree:
            case Sequence() | list():
                for item in tree.items if isinstance(tree, Sequence) else tree:
                    yield from self._item(item, indent)
            case _:
                for key, value in self._members(tree):
                    yield from self._member(key, value, indent)

    def _members(self, tree: Any) -> Iterator[tuple[str, Any]]:
        match tree:
            case Extended(more, node, without):
                yield from self._members(more)
                for name, entry in node.entries.items():
                    if name not in without:
                        yield self._own(entry.key), entry.value
            case Mapping(entries=entries):
                for entry in entries.values():
                    yield self._own(entry.key), entry.value
            case _:
                for key, value in tree.items():
                    if value is not None:
                        yield self._scalar(key), value

    def _member(self, key: str, value: Any, indent: str) -> Iterator[str]:
        if _is_short(value):
            yield f"{indent}{key}: {self._inline(value)}"
            return
        yield f"{indent}{key}:"
        yield from self.block(value, indent if isinstance(value, list | Sequence) else indent + "  ")

    def _item(self, item: Any, indent: str) -> Iterator[str]:
        first, *others = self.block(item, indent + "  ")
        yield f"{indent}- {first[len(indent) + 2 :]}"
        yield from others

    def _inline(self, value: Any) -> str:
        match value:
            case Scalar():
                return self._own(value)
            case Mapping() | dict() | Extended():
                return "{}"
            case Sequence() | list():
                return "[]"
            case _:
                return self._scalar(value)

    def _scalar(self, value: Any) -> str:
        """Not a node, but it may hold a piece of one: the name of a key, with a variable in it."""
        if self._written is not None and isinstance(value, str):
            value = self._written.restored(value)
        return scalar(value)

    def _own(self, node: Scalar) -> str:
        assert self._written is not None, "a node has a file"
        self.emitted.add(node.start)
        return f"{self._written.as_written(node)}\x00{node.start}\x00"


def _is_short(value: Any) -> bool:
    match value:
        case Mapping(entries=entries):
            return not entries
        case Sequence(items=items):
            return not items
        case dict():
            return all(item is None for item in value.values())
        case list():
            return not value
        case Extended(more, node, without):
            return not any(value is not None for value in more.values()) and set(node.entries) <= set(without)
        case _:
            return True
