"""From nodes to the schema's records, by one walk that the records' types steer.

It never stops at the first fault: a place that is wrong is reported and passed over, and its neighbours are still read.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any, TypeVar

from torana.config.standalone.schema.record import Empty, Record
from torana.config.standalone.shape import Key, Shape, keys
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Entry, Mapping, Node, Path, Scalar, Sequence, core_value

_R = TypeVar("_R", bound=Record)

_FEW = 4  # words that are seen at a glance: which is meant is not guessed, for `TLS_V1_1` is near to all

_YAML_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
"""Words that were truth values before YAML 1.2, and are texts since."""

_BAD: Any = object()
"""Stands for a value that was reported and cannot be used."""


def decode(kind: type[_R], findings: Findings) -> _R | None:
    """The document as this record; None when anything was wrong, which the findings then hold."""
    value = _value(Shape(record=kind), findings.document.root, (), findings)
    return value if isinstance(value, kind) else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: the same but for case, else the most similar one; of equals the first."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.lower(), candidate)
    if name.lower() in folded:
        return folded[name.lower()]
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return folded[close[0]] if close else None


def _value(shape: Shape, node: Node, path: Path, findings: Findings) -> Any:
    if shape.anything:
        return _json(node, path, findings)
    match node:
        case Mapping() if shape.record is not None and not _is_item(shape, node):
            return _record(shape.record, node, path, findings)
        case Mapping() if shape.values is not None:
            inner = shape.values
            values = {name: _value(inner, entry.value, (*path, name), findings) for name, entry in node.entries.items()}
            return _BAD if any(value is _BAD for value in values.values()) else values
        case Sequence() if shape.items is not None:
            inner = shape.items
            items = tuple(_value(inner, item, (*path, i), findings) for i, item in enumerate(node.items))
            return _BAD if any(item is _BAD for item in items) else items
        case Scalar():
            return _scalar(shape, node, path, findings)
    return _wrong(shape, node, path, findings)


def _is_item(shape: Shape, node: Mapping) -> bool:
    """Whether it is the item of a list without its `- `, where an object of other keys may stand, too."""
    item = shape.items.record if shape.items is not None else None
    if item is None or shape.record is None:
        return False
    return bool(node.entries.keys() & keys(item).keys()) and not node.entries.keys() & keys(shape.record).keys()


def _json(node: Node, path: Path, findings: Findings) -> Any:
    """The value as JSON has it; numbers beyond that are none."""
    match node:
        case Mapping():
            return {name: _json(entry.value, (*path, name), findings) for name, entry in node.entries.items()}
        case Sequence():
            return [_json(item, (*path, index), findings) for index, item in enumerate(node.items)]
        case Scalar():
            value = core_value(node)
            if isinstance(value, float) and not math.isfinite(value):
                findings.error(path, "is a number that JSON does not have")
            return value


# --- Objects --------------------------------------------------------------------------------------------------------


def _record(record: type[Record], node: Mapping, path: Path, findings: Findings) -> Any:
    known = keys(record)
    fields: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    bad = False
    for name, entry in node.entries.items():
        proper = record.spellings.get(name, name)
        if proper not in known:
            _unknown(record, entry, path, findings)
            bad = True
        elif proper in spelled:
            what = f'"{name}" and "{spelled[proper]}" are two spellings of one key'
            findings.error(path, what, "give one of them", offset=entry.key.start)
            bad = True
        else:
            spelled[proper] = name
            key = known[proper]
            value = _field(record, proper, key, entry, (*path, name), findings)
            bad = bad or value is _BAD
            fields[key.field] = value
    for name, key in known.items():
        if key.required and name not in spelled:
            findings.error(path, f'"{name}" is missing', f"give {key.shape.expected}")
            bad = True
    if not (_one_given(record, node, spelled, path, findings) and _alone(record, spelled, path, findings)) or bad:
        return _BAD
    return record(**{name: value for name, value in fields.items() if value is not _ABSENT})


_ABSENT: Any = object()
"""Stands for a key without a value, where that means the same as no key."""


def _field(record: type[Record], name: str, key: Key, entry: Entry, path: Path, findings: Findings) -> Any:
    """The value of a known key. Nothing (`policies:` and no more) counts as no key, unless that could hide a slip."""
    node = entry.value
    if not isinstance(node, Scalar) or core_value(node) is not None:
        return _value(key.shape, node, path, findings)
    if findings.document.source.gives_nothing(entry.key.end, node.end):
        # Without its address a key would go to another place; without its key the client's own would go on.
        hint = 'is it empty, or begins with `#`? write "$NAME", with quotes, or ${NAME:-} if it may be empty'
        findings.error(path, "the variable here gives no value", hint)
        return _BAD
    if key.required:
        return _value(key.shape, node, path, findings)
    if key.shape.record is not None and key.shape.record.empty is Empty.REFUSED and not key.shape.text:
        findings.error(path, "has no value", f"write `{name}: {{}}` if it is meant, or remove the key")
        return _BAD
    if name in record.exactly_one:
        findings.error(path, "has no value", f"give {key.shape.expected}, or remove the key")
        return _BAD
    return _ABSENT


def _unknown(record: type[Record], entry: Entry, path: Path, findings: Findings) -> None:
    name = entry.key.text
    if findings.document.source.hides(entry.key.start, entry.key.end):
        findings.error(
            path, "unknown key, from a variable", f"known here: {', '.join(keys(record))}", offset=entry.key.start
        )
        return
    proper = nearest(name, (*keys(record), *record.not_yet))
    if name in record.not_yet:
        hint = record.instead.get(name, "")
        findings.error(path, f'"{name}" is not supported yet', hint, offset=entry.key.start)
    elif proper is not None:
        findings.error(path, f'unknown key "{name}"', f'did you mean "{proper}"?', offset=entry.key.start)
    else:
        known = f"known here: {', '.join(keys(record))}" if keys(record) else "no keys are known here"
        findings.error(path, f'unknown key "{name[:80]}"', known, offset=entry.key.start)


def _one_given(record: type[Record], node: Mapping, spelled: dict[str, str], path: Path, findings: Findings) -> bool:
    """Whether exactly one key of the record's group is there; an unknown key, reported before, may have been meant."""
    given = [name for name in record.exactly_one if name in spelled]
    if not record.exactly_one or len(given) == 1:
        return True
    if not given and any(record.spellings.get(name, name) not in keys(record) for name in node.entries):
        return True
    found = " and ".join(given) if given else "none"
    findings.error(path, f"give exactly one of {', '.join(record.exactly_one)}; found {found}")
    return False


def _alone(record: type[Record], spelled: dict[str, str], path: Path, findings: Findings) -> bool:
    """Whether no key stands beside one that has to be alone."""
    for name in record.alone:
        others = [other for other in spelled.values() if other != name]
        if name in spelled and others:
            findings.error((*path, name), f"cannot stand beside {', '.join(others)}", "give it alone")
            return False
    return True


# --- Single values --------------------------------------------------------------------------------------------------


def _scalar(shape: Shape, node: Scalar, path: Path, findings: Findings) -> Any:
    """Where text is allowed, a plain scalar is the text as it stands: a key of digits only is still a key."""
    value = core_value(node)
    if isinstance(value, bool) and shape.boolean:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_number(shape, value):
        return _bounded(shape, float(value) if shape.number else value, node, path, findings)
    if node.text in shape.choices:
        return node.text
    if shape.text and value is not None:
        return _text(shape, node, path, findings)
    return _wrong(shape, node, path, findings)


def _is_number(shape: Shape, value: float) -> bool:
    return shape.number or (shape.integer and isinstance(value, int))


def _bounded(shape: Shape, value: float, node: Scalar, path: Path, findings: Findings) -> Any:
    """`.nan` is within no bounds."""
    large_enough = shape.least is None or value >= shape.least
    small_enough = shape.most is None or value <= shape.most
    return value if large_enough and small_enough else _wrong(shape, node, path, findings)


def _text(shape: Shape, node: Scalar, path: Path, findings: Findings) -> Any:
    if len(node.text) < shape.min_length:
        findings.error(path, "is empty", f"give {shape.expected}")
        return _BAD
    if shape.pattern is not None and not shape.pattern.fullmatch(node.text):
        return _wrong(shape, node, path, findings)
    return node.text


def _wrong(shape: Shape, node: Node, path: Path, findings: Findings) -> Any:
    if isinstance(node, Scalar) and node.text in shape.not_yet:
        hint = shape.instead.get(node.text) or f"use {shape.expected}"
        findings.error(path, f'"{node.text}" is not supported yet', hint)
    else:
        findings.error(
            path, f"found {_found(node, findings)} where {shape.expected} is expected", _advice(shape, node, findings)
        )
    return _BAD


def _found(node: Node, findings: Findings) -> str:
    match node:
        case Mapping():
            return "an object"
        case Sequence():
            return "a list"
        case Scalar():
            match core_value(node):
                case None:
                    return "nothing"
                case bool() | int() | float() as value if not findings.document.source.hides(node.start, node.end):
                    return str(value).lower()[:40]
            return findings.quote_node(node, node.text)


def _advice(shape: Shape, node: Node, findings: Findings) -> str:
    hidden = findings.document.source.hides(node.start, node.end)
    if isinstance(node, Scalar) and not node.plain and (shape.integer or shape.number):
        digits = node.text.replace(".", "", 1) if shape.number else node.text
        if digits.isdecimal():
            return "remove the quotes"
    if isinstance(node, Scalar) and shape.choices and not hidden:
        meant = nearest(node.text[:80], shape.choices)
        sure = meant is not None and (len(shape.choices) > _FEW or meant.lower() == node.text.lower())
        return f'did you mean "{meant}"?' if sure else ""
    if isinstance(node, Scalar | Mapping) and shape.items is not None:
        return "begin each item with `- `"
    if isinstance(node, Scalar) and shape.boolean and not hidden and (meant := _YAML_1_1.get(node.text.lower())):
        return f"write {meant}"
    if shape.record is not None and not shape.text and not shape.choices:
        return f"its keys are {', '.join(keys(shape.record))}" if keys(shape.record) else "write `{}`"
    return ""
