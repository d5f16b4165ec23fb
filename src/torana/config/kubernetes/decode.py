"""From an object's decoded text to a record.

Unknown fields are reported. As the API server does, they are passed over, but not where that could do harm
(`Record.fails_closed`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.objects import Object
from torana.config.kubernetes.resources.record import NOT_YET, REFUSED, Record

R = TypeVar("R", bound=Record)

_DEEPEST = 100
"""Levels of nesting. No resource needs twenty; a body without end must not end the walk."""

_PLACE = re.compile(r" - at `\$(.*)`$")


def decode(kind: type[R], obj: Object, findings: Findings) -> R | str:
    """The object's `spec`; or, when a value has the wrong type, words that say which, which are reported too."""
    try:
        value = _pruned(obj.spec)
    except RecursionError:
        return _told("spec is nested too deeply", obj, findings)
    unknown = ""
    for what, hint, serious in _remarks(_shape(kind), value, "spec"):
        tell = findings.error if serious else findings.warning
        tell(obj, what, hint)
        unknown = unknown or (what if serious else "")
    try:
        record = msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        return _told(_said(str(error), "spec"), obj, findings)
    return unknown if unknown and kind.fails_closed else record


def _told(what: str, obj: Object, findings: Findings) -> str:
    findings.error(obj, what)
    return what


def decode_some(kind: type[R], obj: Object, field: str) -> tuple[R, ...]:
    """Those items of a list in `spec` that can be read, of an object that cannot be read as a whole."""
    items = obj.spec.get(field)
    made: list[R] = []
    for item in items if isinstance(items, list | tuple) else ():
        with suppress(msgspec.ValidationError, RecursionError, ValueError):
            made.append(msgspec.convert(_pruned(item), kind))
    return tuple(made)


def unknown(kind: type[R], value: Any, path: str) -> str:
    """The first field in it that is not known, in words; empty without any. For parts of a readable object."""
    return next((what for what, _, serious in _remarks(_shape(kind), _pruned(value), path) if serious), "")


def decode_body(kind: type[R], obj: Object) -> R | None:
    """The whole object, with no word about the fields that are not ours: others wrote it for others."""
    try:
        return msgspec.convert(_pruned(obj.body), kind)
    except (msgspec.ValidationError, RecursionError, ValueError):
        return None


def _said(text: str, path: str) -> str:
    """Its own words, with the field first: `spec.ai.llm.port: expected int, got str`."""
    place = _PLACE.search(text)
    words = _PLACE.sub("", text).replace("`", "").replace(" | null", "")
    return f"{path}{place[1] if place else ''}: {words[:1].lower()}{words[1:]}"


def _pruned(value: Any, depth: int = 0) -> Any:
    """Without what is null: to the API server that is the same as absent."""
    if depth > _DEEPEST:
        raise RecursionError
    match value:
        case dict():
            return {str(name): _pruned(item, depth + 1) for name, item in value.items() if item is not None}
        case list() | tuple():
            return [_pruned(item, depth + 1) for item in value]
        case _:
            return value


@lru_cache(maxsize=64)
def _shape(kind: type[Record]) -> inspect.Type:
    return inspect.type_info(kind)


def _remarks(shape: inspect.Type, value: Any, path: str) -> Iterator[tuple[str, str, bool]]:
    """What is wrong with the names of fields: words, a hint, and whether it is an error."""
    mark = _mark(shape)
    if mark == NOT_YET:
        yield f"{path}: {NOT_YET}, and has no effect", "", False
        return
    if mark == REFUSED:
        yield f"{path}: {REFUSED}", "", True
        return
    match _plain(shape):
        case inspect.StructType() as record if isinstance(value, dict):
            known = {field.encode_name: field.type for field in record.fields}
            for name, item in value.items():
                if name in known:
                    yield from _remarks(known[name], item, f"{path}.{name}")
                else:
                    yield _unknown(name, known, path)
        case inspect.VarTupleType() as items if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _remarks(items.item_type, item, f"{path}[{index}]")
        case _:
            return


def _mark(shape: inspect.Type) -> str | None:
    """NOT_YET or REFUSED, of a field that nobody reads."""
    return (shape.extra_json_schema or {}).get("description") if isinstance(shape, inspect.Metadata) else None


def _plain(shape: inspect.Type) -> inspect.Type:
    """Without bounds, and without the None of what is optional."""
    match shape:
        case inspect.Metadata():
            return _plain(shape.type)
        case inspect.UnionType():
            return next((_plain(each) for each in shape.types if not isinstance(each, inspect.NoneType)), shape)
        case _:
            return shape


def _unknown(name: str, known: dict[str, Any], path: str) -> tuple[str, str, bool]:
    near = get_close_matches(name, known, n=1)
    return f'unknown field "{path}.{name}"', f'did you mean "{near[0]}"?' if near else "", True
