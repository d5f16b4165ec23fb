"""Nodes to the schema's records; the wording of every problem is in tests/golden/standalone/errors."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from torana.config.problem import ConfigError
from torana.config.standalone.decode import nearest
from torana.config.standalone.json_schema import records
from torana.config.standalone.load import load
from torana.config.standalone.schema.file import File
from torana.config.standalone.schema.record import Record
from torana.config.standalone.shape import Shape, keys

_ROUTE = "binds: [{{port: 1, listeners: [{{routes: [{{backends: [{{host: 'a:1'}}], policies: {0}}}]}}]}}]"


def _problems(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text, "f", env or {}, Path())
    return [problem.what for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("backendTls", ("backendAuth", "backendTLS"), "backendTLS"),
        ("BACKENDAUTH", ("backendAuth", "backendTLS"), "backendAuth"),
        ("wieght", ("weight", "host"), "weight"),
        ("zzz", ("weight", "host"), None),
    ],
)
def test_nearest(name: str, known: tuple[str, ...], meant: str | None) -> None:
    """The same name in another case comes first, then the most similar one, and nothing when none is."""
    assert nearest(name, known) == meant


def test_text_is_taken_as_it_stands() -> None:
    """Where text is expected, a number without quotes is text: a key of digits is a key, and model 4.10 is not 4.1."""
    ai = "{name: 0010, provider: {openAI: {model: 4.10}}}"
    text = f"binds: [{{port: 1, listeners: [{{routes: [{{backends: [{{ai: {ai}}}]}}]}}]}}]"
    backend = load(text, "f", {}, Path()).config.binds[0].listeners[0].routes[0].backends[0].groups[0][0]
    assert backend is not None
    assert backend.name == "0010"
    assert backend.provider is not None
    assert backend.provider.model == "4.10"


def test_an_item_without_its_dash() -> None:
    """Where a list or another object may stand, an object that would be an item is told to begin with `- `."""
    limit = "{maxTokens: 1, tokensPerFill: 1, fillInterval: 1s}"
    with pytest.raises(ConfigError, match="where a list, or an object is expected; begin each item with `- `"):
        load(_ROUTE.format(f"{{localRateLimit: {limit}}}"), "f", {}, Path())
    load(_ROUTE.format(f"{{localRateLimit: {{conditional: [{limit}]}}}}"), "f", {}, Path())


_MODEL = "llm: {models: [{name: a, provider: openAI, params: {%s}}]}"


@pytest.mark.parametrize("value", ["", " ", "# x"])
@pytest.mark.parametrize("text", ["baseUrl: $KEY", "apiKey: ${KEY}", "model: x, apiKey: \n  $KEY", "apiKey: ${KEY:-x}"])
def test_a_variable_gives_a_value(text: str, value: str) -> None:
    """An empty variable in place of a value is no missing key: without its address, a key would go elsewhere."""
    if "\n" in text and value == "# x":
        value = ""
    assert _problems(_MODEL % f"{text}\n", {"KEY": value}) == ["the variable here gives no value"]


@pytest.mark.parametrize(
    "text", ["baseUrl: ${NONE:-}", "apiKey: ${KEY:-}", "apiKey: , model: ${NAME}", "apiKey: # $KEY"]
)
def test_a_variable_that_may_be_empty(text: str) -> None:
    """One with an empty default says itself that there may be nothing."""
    load(_MODEL % f"{text}\n", "f", {"KEY": "", "NAME": "m"}, Path())


@pytest.mark.parametrize("policies", ["", "{timeout: }", "{cors: {allowOrigins: }}", "{urlRewrite: {path: ~}}"])
def test_nothing_is_no_key(policies: str) -> None:
    """A key without a value counts as no key, as in agentgateway."""
    load(_ROUTE.format(policies), "f", {}, Path())


@pytest.mark.parametrize("policies", ["{backendTLS: }", "{backendAuth: }", "{backendAuth: {key: }}"])
def test_nothing_is_refused_where_it_could_hide_a_slip(policies: str) -> None:
    """A key without a value that would leave out TLS or a credential is refused."""
    assert _problems(_ROUTE.format(policies)) == ["has no value"]


@pytest.mark.parametrize("record", list(records()), ids=lambda record: record.__name__)
def test_tables_of_the_schema_fit(record: type[Record]) -> None:
    """Groups and spellings name keys that exist, and nothing is both supported and not supported yet."""
    assert set(record.exactly_one) <= set(keys(record))
    assert set(record.alone) <= set(keys(record))
    assert set(record.spellings.values()) <= set(keys(record))
    assert not set(record.not_yet) & set(keys(record))
    for second, first in record.spellings.items():
        assert second.lower() == first.lower()


_WORDS = sorted({name for record in records() for name in (*keys(record), *record.not_yet)})
_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(_WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=20,
)


def _like(shape: Shape) -> st.SearchStrategy[object]:
    """Values of about the right shape, so that the walk gets deep."""
    options: list[st.SearchStrategy[object]] = [st.none(), st.integers(-1, 70000), st.text(max_size=5)]
    if shape.number:
        options.append(st.floats())
    if shape.choices:
        options.append(st.sampled_from(shape.choices))
    if shape.items is not None:
        options += [st.lists(_like(shape.items), max_size=2)] * 3
    if shape.record is not None:
        inner = keys(shape.record)
        options += [st.fixed_dictionaries({}, optional={name: _deferred(key.shape) for name, key in inner.items()})] * 5
    return st.one_of(options)


def _deferred(shape: Shape) -> st.SearchStrategy[object]:
    return st.deferred(lambda: _like(shape))


@given(_YAML | _like(Shape(record=File)))
def test_any_yaml_is_loaded_or_refused(value: object) -> None:
    """Whatever YAML holds, loading it gives a Config or problems; nothing else is raised."""
    with suppress(ConfigError):
        load(yaml.safe_dump(value, allow_unicode=True), "f", {}, Path("/nowhere"))
