"""Process settings, and the variables that win over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from torana.config.problem import ConfigError
from torana.config.standalone.load import load

_FILE = """
config:
  adminAddr: localhost:1
  statsAddr: off
  workerThreads: 3
  enableIpv6: true
  connectionTerminationDeadline: 1s
"""


@pytest.mark.parametrize(
    ("env", "field", "value"),
    [
        ({}, "admin_address", "localhost:1"),
        ({"ADMIN_ADDR": "[::]:2"}, "admin_address", "[::]:2"),
        ({"ADMIN_ADDR": "off"}, "admin_address", None),
        ({"ADMIN_ADDR": "unix:/run/a"}, "admin_address", "unix:/run/a"),
        ({}, "stats_address", None),
        ({"STATS_ADDR": "127.0.0.1:9"}, "stats_address", "127.0.0.1:9"),
        ({}, "readiness_address", "[::]:15021"),
        ({"READINESS_ADDR": "localhost:8"}, "readiness_address", "localhost:8"),
        ({}, "workers", 3),
        ({"WORKER_THREADS": "25%"}, "workers", 2),
        ({"WORKER_THREADS": "1%"}, "workers", 1),
        ({"IPV6_ENABLED": "false"}, "ipv6", False),
        ({"CONNECTION_TERMINATION_DEADLINE": "1m"}, "drain_timeout", 60.0),
    ],
)
def test_variables_win(env: dict[str, str], field: str, value: object) -> None:
    """A variable wins over the file, the file over the default."""
    settings = load(_FILE, "f", env, Path(), cpus=8).config.settings
    assert getattr(settings, field) == value


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ADMIN_ADDR", "canary"),
        ("STATS_ADDR", "canary:0"),
        ("READINESS_ADDR", "::1:80"),
        ("IPV6_ENABLED", "canary"),
        ("WORKER_THREADS", "0"),
        ("CONNECTION_TERMINATION_DEADLINE", "canary"),
    ],
)
def test_wrong_variables(variable: str, value: str) -> None:
    """A variable that cannot be used is told by its name, without its value."""
    with pytest.raises(ConfigError) as refused:
        load("binds: []", "f", {variable: value}, Path())
    (problem,) = (problem for problem in refused.value.problems if problem.where == "environment")
    assert str(problem).startswith(f"environment: error: {variable}: its value is n")
    assert "canary" not in str(problem)


def test_no_time_to_connect() -> None:
    """A bound of zero would fail every request; what is no bound is left out."""
    with pytest.raises(ConfigError, match=r"config\.backend\.connectTimeout: leaves no time to connect"):
        load("config: {backend: {connectTimeout: 0s}}", "f", {}, Path())


@pytest.mark.parametrize(
    ("level", "value"),
    [("info", "info"), ("WARN", "warn"), ("trace", "debug"), ("error,hyper=debug", "error"), ("hyper=debug", "info")],
)
def test_levels(level: str, value: str) -> None:
    """A level may be written as RUST_LOG is; levels of single parts have no effect."""
    text = f"config: {{logging: {{level: '{level}'}}}}"
    assert load(text, "f", {}, Path()).config.settings.log_level.value == value
