"""YAML text to nodes."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from torana.config.yaml import compose as compose_module
from torana.config.yaml.compose import NotYamlError, compose
from torana.config.yaml.nodes import Mapping, Node, Scalar, Sequence, core_value
from torana.config.yaml.source import Source


def _plain(node: Node) -> object:
    match node:
        case Mapping():
            return {name: _plain(entry.value) for name, entry in node.entries.items()}
        case Sequence():
            return [_plain(item) for item in node.items]
        case Scalar():
            return core_value(node)


def _read(text: str) -> object:
    return _plain(compose(Source("f", text, text)).root)


def _faults(text: str) -> list[str]:
    with pytest.raises(NotYamlError) as refused:
        _read(text)
    return [f"{problem.line}:{problem.column} {problem.what}" for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        *((text, None) for text in ("", "~", "null", "Null", "NULL")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *(
            (text, text)
            for text in ("on", "yes", "off", "no", "tRUE", "nuLL", "60:30", "0b1", "1_000", "2024-01-01", "=")
        ),
        *(("12", 12), ("-1", -1), ("+3", 3), ("010", 10), ("0o17", 15), ("0xFF", 255)),
        *(("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("-.inf", -math.inf), ("9" * 30, float("9" * 30))),
        *(("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"), ("! 1", "1"), ("!!int '7'", 7)),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: object) -> None:
    """A plain scalar is what the core schema of YAML 1.2 says, not what YAML 1.1 made of it."""
    read = _read(f"k: {scalar}")
    assert isinstance(read, dict)
    assert (read["k"], type(read["k"])) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, "b", null, true]}', {"a": [1, "b", None, True]}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        ("a: &x {b: 1}\nc: &y {b: 2, d: 4}\ne: {<<: [*x, *y]}", None),
        ("---\na: 1\n...\n", {"a": 1}),
        ("a: |\n  x # y\n", {"a": "x # y\n"}),
    ],
)
def test_reads(text: str, value: object) -> None:
    """JSON, anchors, aliases and merge keys work; of merged objects the first wins."""
    read = _read(text)
    if value is None:
        assert isinstance(read, dict)
        value = {**read, "e": {"b": 1, "d": 4}}
    assert read == value


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: 1\nb: 2\na: 3", ['3:1 "a" is given twice']),
        ("a: {b: 1, b: 2}\nc: *c", ['1:11 "b" is given twice', "2:4 this alias has no anchor before it"]),
        ("a: &a [*a]", ["1:8 this alias refers to what it is part of"]),
        ("a: !env X", ["1:4 YAML tags of an application's own have no meaning here"]),
        ("[a]: 1", ["1:1 a key has to be text"]),
        ("<<: 1", ["1:5 `<<` merges objects only"]),
        ("a: 1\n---\nb: 1", ["2:1 one configuration is one YAML document; here begins another"]),
        ("a: b: c", ["1:5 this is not YAML: mapping values are not allowed in this context"]),
        ("a: [1\n", ["2:1 this is not YAML: did not find expected ',' or ']'"]),
        ("", ["1:1 the configuration is empty"]),
        ("# x\n---\n", ["3:1 the configuration is empty"]),
        ("[" * 100_000, ["1:65 nested more than 64 levels deep"]),
    ],
)
def test_refuses(text: str, faults: list[str]) -> None:
    """What is no single YAML document without doubt is refused, with the place of every fault that can be told."""
    assert _faults(text) == faults


_TABBED = "begins with `@`, `%` or a backquote has to be in quotes"


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of PyYAML's parsers; their words differ."""
    monkeypatch.setattr(compose_module, "_Loader", getattr(yaml, request.param))


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("a:\n  b:c\n  d: e\n", "3:4", "does the line before lack a space behind its `:`"),
        ("a: 1\n   b: 2\n", "2:5", "have the two another indentation"),
        ("a: b: c\n", "1:5", "Text that holds a `: ` has to be in quotes"),
        ("a:\n\tb: c\n", "2:1", "indent with spaces"),
        ("a: @b\n", "1:4", _TABBED),
        ("a: %b\n", "1:4", _TABBED),
        ("a: `b`\n", "1:4", _TABBED),
        ("a: *\n", "1:5", "begins with `*` or `&` has to be in quotes"),
        ("a: - b\n", "1:4", "begin a list in a line of its own"),
        ("a: 1\n b: 2\n", "2:3", "does the line before"),
        ("- a: 1\n b: 2\n", "2:2", "items of one list begin in one column"),
        ("a:\n- b: 1\n c: 2\n", "3:2", "keys of one object begin in one column"),
        ("a: 'it's'\n", "1:8", "quotes go around the whole of a text"),
        ('a: "b\nc: 1\nd: 2\n', "1:4", "the quote that opens here is never closed"),
        ("é: 'b\nc: 1\n", "1:4", "the quote that opens here is never closed"),
        ("a: {b: 1\nc: 2\n", "2:2", "what opens with a bracket has to be closed"),
        ("a: [1, 2\nc: 2\n", "2:2", "what opens with a bracket has to be closed"),
        ("é: 1\nü: é\x07\n", "2:5", "remove it"),
        ("  a: 1\nb: 2\n", "2:1", "the keys at the top begin in one column"),
    ],
)
def test_what_is_most_often_wrong(text: str, place: str, hint: str) -> None:
    """What PyYAML refuses is told at the place of the mistake, with what would be right."""
    with pytest.raises(NotYamlError) as refused:
        _read(text)
    (problem,) = refused.value.problems
    assert (f"{problem.line}:{problem.column}", hint in problem.hint) == (place, True), problem


@pytest.mark.usefixtures("parser")
def test_an_escape_that_is_none() -> None:
    """An expression in double quotes is the commonest escape that YAML does not know."""
    with pytest.raises(NotYamlError, match="use single quotes"):
        _read('a: "\\d+"')


@pytest.mark.usefixtures("parser")
def test_a_variable_of_other_bytes() -> None:
    """A variable whose bytes are no UTF-8 is refused where it stands."""
    assert _faults("a: b\udcff\n") == ["1:5 the value of this variable is not UTF-8 text"]


def test_alias_bomb_is_refused() -> None:
    """Aliases may not make of a short file an endless one."""
    levels = "".join(f"l{i + 1}: &l{i + 1} [{', '.join([f'*l{i}'] * 10)}]\n" for i in range(12))
    (fault,) = _faults(f"l0: &l0 [x]\n{levels}")
    assert "aliases make this file too large" in fault


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@`,? \n\t<\x00\ufeff"), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Every text has nodes or problems; nothing else is raised."""
    with suppress(NotYamlError):
        _read(text)
