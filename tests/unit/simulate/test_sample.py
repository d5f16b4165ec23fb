"""Samples of JSON Schemas, as SDKs write them from functions and classes."""

from __future__ import annotations

from typing import Any

import pytest

from torana.simulate.sample import Sampler


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({"type": "string"}, str),
        ({"type": ["null", "integer"]}, int),
        ({"type": "number", "minimum": 1.5}, 1.5),
        ({"const": "fixed"}, "fixed"),
        ({"enum": ["only"]}, "only"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, bool),
        ({"type": "null"}, None),
        ({"properties": {"a": {"type": "string"}, "b": {"const": 1}}}, {"a": str, "b": 1}),
        ({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1]),
        ({"$ref": "#/$defs/one", "$defs": {"one": {"const": 1}}}, 1),
        ({"$ref": "#/$defs/none"}, None),
        ({"$ref": "#"}, None),
        ({"type": "pattern-of-tomorrow"}, str),
        ("no schema", None),
    ],
)
def test_fits(schema: Any, kinds: Any) -> None:
    """A sample fits its schema, or is null where the schema leads nowhere; and it is the same each time."""
    drawn = Sampler(schema, b"seed").draw()
    assert drawn == Sampler(schema, b"seed").draw()
    if isinstance(kinds, type):
        assert isinstance(drawn, kinds)
    elif isinstance(kinds, dict):
        assert {name: type(value) if kinds[name] is str else value for name, value in drawn.items()} == kinds
    else:
        assert drawn == kinds


def test_properties_differ() -> None:
    """Two texts of one object are drawn apart, or tests would not notice them exchanged."""
    names = [f"property{number}" for number in range(8)]
    drawn = Sampler({"properties": {name: {"type": "string"} for name in names}}, b"seed").draw()
    assert len(set(drawn.values())) > 4


def test_schemas_that_contain_themselves_end() -> None:
    """A schema that leads back to itself many times over is given up in time, not in depth to the power of breadth."""
    endless = {"properties": {str(number): {"$ref": "#"} for number in range(100)}}
    drawn = Sampler(endless, b"seed").draw()
    assert len(drawn) <= 100
    most = {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}}
    assert len(Sampler(most, b"seed").draw()) <= 1000
