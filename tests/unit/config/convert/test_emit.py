"""YAML that is written: every reader of YAML, of 1.1 and of 1.2, reads what was meant."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from torana.config.convert.emit import emit
from torana.config.convert.written import WrittenFile
from torana.config.yaml.compose import compose
from torana.config.yaml.nodes import Mapping, Node, Scalar, Sequence, core_value
from torana.config.yaml.source import Source

_TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.from_regex(r"[-+.0-9a-fx:_ oeE#'\"~=!&*$%@`|>{}\[\],?]{1,8}", fullmatch=True),
    st.sampled_from(["yes", "NO", "null", "~", "true", "1:30", "1_000", "0b1", "2026-01-01", "<<", "=", "- a", "a: b"]),
)
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.integers(-(10**15), 10**15), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=12,
)


def _plain(node: Node) -> Any:
    match node:
        case Mapping(entries=entries):
            return {key: _plain(entry.value) for key, entry in entries.items()}
        case Sequence(items=items):
            return [_plain(each) for each in items]
        case Scalar():
            return core_value(node)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_reads_as_it_was(tree: dict[str, Any]) -> None:
    """Whatever is written is read back the same, by our own reader and by one of YAML 1.1."""
    text = emit(tree)
    assert _plain(compose(Source("", text, text)).root) == tree
    assert yaml.safe_load(text) == tree


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("a: 1 # one\n", "a: 1  # one\n"),
        ("# first\n\na: 1\n# last\n", "# first\na: 1\n# last\n"),
        ("a:\n  # of b\n  b: x\n", "a:\n  # of b\n  b: x\n"),
        ("a: {b: $X, c: '$Y z'} # d\n", "a:\n  b: $X\n  c: '$Y z'  # d\n"),
        ("a: ${X:-# no comment}\n", "a: ${X:-# no comment}\n"),
        ("a: |\n  several\n  lines\n", 'a: "several\\nlines\\n"\n'),
        ("a: &x {b: 1}\nc: *x\n", "a:\n  b: 1\nc:\n  b: 1\n"),
        ("a:\nb: ''\n", "a: null\nb: ''\n"),
    ],
)
def test_keeps_what_was_written(text: str, again: str) -> None:
    """A user's own text keeps its comments, variables and quotes, in block style."""
    file = WrittenFile(text, "a.yaml")
    assert emit(file.root, file) == again
