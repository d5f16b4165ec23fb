"""What a variable holds is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from torana.config.problem import ConfigError
from torana.config.standalone.load import load
from torana.model.codec import dump

_GOLDEN = Path(__file__).parents[2] / "golden" / "standalone"
_CANARY = "cAnArY-0815"
_VALUES = (
    _CANARY,
    f"*{_CANARY}",
    f"{{{_CANARY}: [",
    f"!{_CANARY} x",
    f"a: {_CANARY}",
    f'"{_CANARY}\\n"',
    f"/{_CANARY}(",
)


def _scalars(text: str) -> list[tuple[int, int]]:
    tokens = (token for token in yaml.scan(text) if isinstance(token, yaml.ScalarToken))
    return [(token.start_mark.index, token.end_mark.index) for token in tokens]


@pytest.mark.parametrize("value", _VALUES)
@pytest.mark.parametrize("name", ["everything", "targets", "errors/shape", "errors/meaning"])
def test_no_message_shows_a_value(name: str, value: str) -> None:
    """With a secret in the place of any key or value of a file, and YAML syntax in it, no problem shows it."""
    text = (_GOLDEN / f"{name}.yaml").read_text()
    env = {"KEY": "k", "HOST": "h.example", "NUMBER": "1", "CANARY": "c", "SECRET": value}
    for start, end in _scalars(text):
        try:
            told = load(f"{text[:start]}$SECRET{text[end:]}", "f", env, _GOLDEN, cpus=8).warnings
        except ConfigError as refused:
            told = refused.problems
        for problem in told:
            assert _CANARY.lower() not in str(problem).lower(), problem


def test_a_dollar_sign_is_no_secret() -> None:
    """A doubled dollar sign is the user's own text: it is quoted where it is wrong, and YAML's words are shown."""
    with pytest.raises(ConfigError, match=r'"a\$b c:1" is no host name'):
        load("binds: [{port: 1, listeners: [{routes: [{backends: [{host: 'a$$b c:1'}]}]}]}]", "f", {}, Path())
    with pytest.raises(ConfigError, match="mapping values are not allowed"):
        load("a: $$b: c", "f", {}, Path())


def test_no_dump_shows_a_key() -> None:
    """Keys from variables, from files and from the text itself are masked when a Config is shown."""
    keys = ("$KEY", "{file: key}", "{value: {file: key}, location: {cookie: {name: c}}}", _CANARY)
    backends = ", ".join(f"{{host: 'a:1', policies: {{backendAuth: {{key: {key}}}}}}}" for key in keys)
    text = f"binds: [{{port: 1, listeners: [{{routes: [{{backends: [{backends}]}}]}}]}}]"
    loaded = load(text, "f", {"KEY": _CANARY}, Path(), read_file=lambda _: f" {_CANARY}\n")
    refs = loaded.config.binds[0].listeners[0].routes[0].backends
    used = [backend for ref in refs for backend in ref.backends]
    assert [backend.auth.key.reveal() for backend in used if backend.auth] == [_CANARY] * 4
    assert loaded.files == (Path("key"),)
    assert _CANARY not in str(dump(loaded.config))
    assert _CANARY not in repr(loaded)
