"""Durations, names and header values; how a problem reads; what a reload changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torana.config import syntax
from torana.config.diff import describe
from torana.config.duration import seconds
from torana.config.problem import ConfigError, Problem, Severity
from torana.config.standalone.load import load
from torana.model.config import Config


@pytest.mark.parametrize(
    ("text", "value"),
    [("5s", 5.0), ("100ms", 0.1), ("1m30s", 90.0), ("1h", 3600.0), ("1.5h", 5400.0), ("0s", 0.0), ("10us", 1e-5)],
)
def test_durations(text: str, value: float) -> None:
    """A duration is the sum of its parts, in seconds."""
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5s\n", "5d", "1e3s"])
def test_no_durations(text: str) -> None:
    """A number needs its unit, and nothing else is a duration."""
    with pytest.raises(ValueError, match="a duration such as"):
        seconds(text)


def test_a_problem_is_one_line() -> None:
    """What a file holds breaks no line of the log, and steers no terminal."""
    with pytest.raises(ConfigError) as refused:
        load('binds: [{port: 1, listeners: [{hostname: "a\\nb\\e[31mc"}]}]', "f", {}, Path())
    assert '"a b [31mc" is no host name' in str(refused.value)


@pytest.mark.parametrize(
    ("fault", "good", "bad"),
    [
        (
            syntax.host_fault,
            ("a", "a-b.example", "my_service", "10.0.0.1", "::1", "fe80::1%eth0", "a.example."),
            ("", "-a", "a..b", "a b", "1::2::3", "é", "::1%", "::1%a b", "::1%\r\nx:y"),
        ),
        (syntax.hostname_fault, ("a.example", "*.example"), ("a:80", "*a.example", "a.*", "**.a")),
        (syntax.changed_header_fault, ("x-a", "Authorization"), ("", "a b", "Host", "Content-Length", ":path")),
        (syntax.header_value_fault, ("", "a b", "é", "\t"), ("a\n", "\r", "\x00", "\x7f", "…")),
        (syntax.method_fault, ("GET", "M-SEARCH"), ("get", "G T", "")),
        (syntax.path_fault, ("/", "/a/b%20c", "/a:b@c"), ("", "a", "/a b", "/a?b", "/a#b", "/é")),
    ],
)
def test_syntax(fault: Callable[[str], str | None], good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """Names, paths and values are what their RFCs say."""
    assert [text for text in good if fault(text) is not None] == []
    assert [text for text in bad if fault(text) is None] == []


def test_problem_reads_like_a_compiler_message() -> None:
    """Place, severity, key path, fault, hint: as editors and people know it."""
    problem = Problem("config.yaml", 12, 9, "binds[0]", 'unknown key "a"', 'did you mean "b"?')
    assert str(problem) == 'config.yaml:12:9: error: binds[0]: unknown key "a"; did you mean "b"?'
    assert str(Problem("environment", 0, 0, "", "odd", severity=Severity.WARNING)) == "environment: warning: odd"


def test_problems_are_in_file_order() -> None:
    """Problems are told in the order in which a reader of the file meets them."""
    places = [(0, 0), (2, 1), (1, 9), (1, 2)]
    error = ConfigError(Problem("f", line, column, "", "x") for line, column in places)
    assert [(problem.line, problem.column) for problem in error.problems] == [(1, 2), (1, 9), (2, 1), (0, 0)]


def _config(*routes: str, listener: str = "front", more: str = "") -> Config:
    text = f"binds: [{{port: 1, listeners: [{{name: {listener}, routes: [{', '.join(routes)}]}}]}}]\n{more}"
    return load(text, "f", {}, Path()).config


_ONE, _TWO = "{name: one, backends: [{host: 'a:1'}]}", "{name: two, backends: [{host: 'b:1'}]}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (_config(_ONE), _config(_ONE), "no change"),
        (_config(_ONE), _config(_ONE, _TWO), "+1 route, +1 backend"),
        (_config(_ONE, _TWO), _config(_ONE), "-1 route, -1 backend"),
        (_config(_ONE, _ONE), _config(), "-2 routes, -2 backends"),
        (_config(_ONE), _config(_ONE.replace("one,", "one, hostnames: [a],")), "~1 route"),
        (_config(_ONE), _config(_ONE.replace("'a:1'", "'a:1', policies: {backendTLS: {}}")), "~1 backend"),
        (_config(_ONE), _config(_ONE.replace("a:1", "c:1")), "+1 backend, ~1 route, -1 backend"),
        (_config(), _config(listener="back"), "+1 listener, -1 listener"),
        (_config(), _config(more="config: {workerThreads: 2}"), "~settings"),
        (_config(), _config(more="frontendPolicies: {http: {maxConnections: 2}}"), "~limits"),
        (_config(_ONE, _TWO), _config(_TWO, _ONE), "another order"),
    ],
)
def test_changes_in_words(old: Config, new: Config, words: str) -> None:
    """What is new, changed or gone is counted by kind."""
    assert describe(old, new) == words


def _models(*models: str) -> Config:
    return load(f"llm: {{models: [{', '.join(models)}]}}", "f", {}, Path()).config


_SMALL, _LARGE = "{name: small, provider: openAI}", "{name: large, provider: groq}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ([_SMALL], [_SMALL, _LARGE], "+1 model"),
        ([_SMALL, _LARGE], [_SMALL], "-1 model"),
        ([_SMALL], [_SMALL.replace("openAI", "openAI, params: {model: m}")], "~1 model"),
        ([_SMALL, _LARGE], [_LARGE, _SMALL], "another order"),
    ],
)
def test_changes_of_models_in_words(old: list[str], new: list[str], words: str) -> None:
    """Of `llm` its models are counted, not the route that all of them share."""
    assert describe(_models(*old), _models(*new)) == words
