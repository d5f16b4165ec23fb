"""What may stand in one place of the file, worked out once from the records' types.

msgspec describes a type as a tree of unions and annotations. A Shape is that tree flattened to the questions that the
decoder asks of a node: may it be an object, a list, text, a number, and within which bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from torana.config.standalone.schema.record import Record


class Key(msgspec.Struct, frozen=True):
    """One key of an object: the record's field, and what its value may be. `own`: agentgateway has no such key."""

    field: str
    required: bool
    shape: Shape
    own: bool


class Shape(msgspec.Struct):
    """What a value may be; several may be allowed, as in `key: text` or `key: {file: ...}`."""

    record: type[Record] | None = None
    values: Shape | None = None
    """An object with keys of any name, and the shape of its values."""
    items: Shape | None = None
    """A list, and the shape of its items."""
    choices: tuple[str, ...] = ()
    not_yet: tuple[str, ...] = ()
    """Choices that agentgateway has and Torana does not support yet."""
    instead: Mapping[str, str] = {}
    """For some of these, words that tell how the same can be had."""
    text: bool = False
    pattern: re.Pattern[str] | None = None
    min_length: int = 0
    expected_text: str = "text"
    boolean: bool = False
    integer: bool = False
    number: bool = False
    """A number that may have a fraction."""
    least: float | None = None
    most: float | None = None
    null: bool = False
    anything: bool = False
    """Any JSON value."""

    @property
    def expected(self) -> str:
        """Words for what would be right: `text, or an object`."""
        words = []
        if self.choices:
            words.append(f"one of {', '.join(self.choices)}" if len(self.choices) > 1 else self.choices[0])
        if self.integer:
            words.append(f"a whole number{self._bounds}")
        if self.number:
            words.append(f"a number{self._bounds}")
        if self.boolean:
            words.append("true or false")
        if self.text:
            words.append(self.expected_text)
        if self.items:
            words.append("a list")
        if self.record or self.values:
            words.append("an object")
        return ", or ".join(words)

    @property
    def _bounds(self) -> str:
        match self.least, self.most:
            case None, None:
                return ""
            case least, None:
                return f" of at least {least:g}"
            case least, most:
                return f" from {least:.12g} to {most:.12g}"


@cache
def keys(record: type[Record]) -> dict[str, Key]:
    """The keys of an object, in the spelling of the file; those that are required first."""
    described = inspect.type_info(record)
    assert isinstance(described, inspect.StructType)
    fields = sorted(described.fields, key=lambda field: not field.required)
    return {
        field.encode_name: Key(field.name, field.required, shape_of(field.type), _is_own(field.type))
        for field in fields
    }


def _is_own(described: inspect.Type) -> bool:
    """Descriptions begin with that, so that readers see it too."""
    told = described.extra_json_schema if isinstance(described, inspect.Metadata) else None
    return str((told or {}).get("description")).startswith("Torana's own:")


def shape_of(described: inspect.Type) -> Shape:
    shape = Shape()
    _add(shape, described)
    return shape


def _add(shape: Shape, described: inspect.Type) -> None:
    match described:
        case inspect.Metadata(type=inner, extra=extra):
            _add(shape, inner)
            _add_extra(shape, extra or {})
        case inspect.UnionType(types=types):
            for inner in types:
                _add(shape, inner)
        case inspect.VarTupleType(item_type=item):
            shape.items = shape_of(item)
        case inspect.DictType(value_type=value):
            shape.values = shape_of(value)
        case inspect.StructType(cls=cls) if issubclass(cls, Record):
            shape.record = cls
        case _:
            _add_scalar(shape, described)


def _add_scalar(shape: Shape, described: inspect.Type) -> None:
    match described:
        case inspect.AnyType():
            shape.anything = True
        case inspect.NoneType():
            shape.null = True
        case inspect.BoolType():
            shape.boolean = True
        case inspect.IntType(ge=least, le=most):
            shape.integer, shape.least, shape.most = True, least, most
        case inspect.FloatType(ge=least, le=most):
            shape.number, shape.least, shape.most = True, least, most
        case inspect.StrType(pattern=pattern, min_length=min_length):
            shape.text, shape.min_length = True, min_length or 0
            shape.pattern = re.compile(pattern) if pattern else None
        case inspect.LiteralType(values=values):
            shape.choices = tuple(str(value) for value in values)
        case _:
            raise TypeError(f"no configuration has a {type(described).__name__}")


def _add_extra(shape: Shape, extra: dict[str, Any]) -> None:
    shape.not_yet = extra.get("not_yet", shape.not_yet)
    shape.instead = extra.get("instead", shape.instead)
    shape.expected_text = extra.get("expected", shape.expected_text)
