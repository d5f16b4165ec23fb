"""The process settings and the bounds on clients, with the environment variables that win over the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torana.config.duration import EXPECTED, seconds
from torana.config.problem import Problem
from torana.config.proxies import environment_proxies
from torana.config.standalone.schema.process import BackendConnections, FrontendHttp, Logging, Process
from torana.config.syntax import host_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.config import Limits, LogFormat, LogLevel, Settings

_PERCENT = re.compile(r"([0-9]{1,3})%")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:]*)):(?P<port>[0-9]{1,5})")
_LEVELS = {"trace": LogLevel.DEBUG, **{level.value: level for level in LogLevel}}
"""Torana has no level below debug."""


def settings(process: Process, env: Mapping[str, str], cpus: int, findings: Findings) -> Settings:
    """`cpus` is what a percentage of worker threads is taken of."""
    reader = _Reader(env, findings)
    given: dict[str, Any] = {
        "admin_address": reader.address("ADMIN_ADDR", "adminAddr", process.admin_addr),
        "stats_address": reader.address("STATS_ADDR", "statsAddr", process.stats_addr),
        "readiness_address": reader.address("READINESS_ADDR", "readinessAddr", process.readiness_addr),
        "ipv6": reader.flag("IPV6_ENABLED", written=process.enable_ipv6),
        "workers": reader.workers(process.worker_threads, cpus),
        "attempt_headers": process.attempt_headers,
        "drain_timeout": reader.drain_timeout(process.connection_termination_deadline),
        **_logging(process.logging or Logging(), findings),
        **_connections(process.backend or BackendConnections(), findings),
        "proxies": environment_proxies(env, findings.elsewhere),
    }
    # None was not given and keeps its default; an address given as `off` is None in the model.
    known: dict[str, Any] = {
        name: None if value == "off" else value for name, value in given.items() if value is not None
    }
    return Settings(**known)


def limits(http: FrontendHttp) -> Limits:
    given: dict[str, Any] = {
        "max_body_bytes": http.max_buffer_size,
        "max_total_bytes": http.max_total_buffer_size,
        "max_header_bytes": http.max_header_bytes,
        "max_headers": http.http1_max_headers,
        "header_timeout": _seconds(http.header_read_timeout),
        "idle_timeout": _seconds(http.http1_idle_timeout),
        "max_connections": http.max_connections,
        "max_connection_age": _seconds(http.max_connection_duration),
    }
    return Limits(**{name: value for name, value in given.items() if value is not None})


class _Given(NamedTuple):
    """A setting's text, and the variable it came from; None when it came from the file."""

    text: str
    path: Path
    variable: str | None


class _Reader:
    """Each method gives a setting from its variable, else from the file, else None for the default."""

    def __init__(self, env: Mapping[str, str], findings: Findings) -> None:
        self._env = env
        self._findings = findings

    def address(self, variable: str, key: str, text: str | None) -> str | None:
        given = self._given(variable, ("config", key), text)
        if given is None or given.text == "off" or re.fullmatch(r"unix:/.+", given.text):
            return given.text if given else None
        match = _ADDRESS.fullmatch(given.text)
        if match is None or host_fault(match["v6"] or match["host"]) or not 0 < int(match["port"]) <= 65535:
            self._refuse(given, "is no address", "write ip:port, localhost:port, unix:/path or off")
        return given.text

    def flag(self, variable: str, *, written: bool | None) -> bool | None:
        text = self._env.get(variable)
        if text is None:
            return written
        if text.lower() not in ("true", "false", "1", "0"):
            self._refuse(_Given(text, (), variable), "is neither true nor false", "")
        return text.lower() in ("true", "1")

    def workers(self, value: int | str | None, cpus: int) -> int | None:
        given = self._given("WORKER_THREADS", ("config", "workerThreads"), None if value is None else str(value))
        if given is None:
            return None
        if (percent := _PERCENT.fullmatch(given.text)) is not None:
            return max(1, cpus * int(percent[1]) // 100)
        if re.fullmatch(r"[1-9][0-9]{0,3}", given.text):
            return int(given.text)
        self._refuse(
            given, "is no number of workers", "write a number from 1, or a share of the processors such as 50%"
        )
        return None

    def drain_timeout(self, text: str | None) -> float | None:
        path = ("config", "connectionTerminationDeadline")
        given = self._given("CONNECTION_TERMINATION_DEADLINE", path, text)
        if given is None:
            return None
        try:
            return seconds(given.text)
        except ValueError:
            self._refuse(given, "is no duration", f"write {EXPECTED}")
        return None

    def _given(self, variable: str, path: Path, text: str | None) -> _Given | None:
        if variable in self._env:
            return _Given(self._env[variable], path, variable)
        return _Given(text, path, None) if text is not None else None

    def _refuse(self, given: _Given, what: str, hint: str) -> None:
        if given.variable is None:
            self._findings.error(given.path, f"{self._findings.quote(given.path, given.text)} {what}", hint)
        else:
            self._findings.elsewhere(Problem("environment", 0, 0, given.variable, f"its value {what}", hint))


def _logging(logging: Logging, findings: Findings) -> dict[str, Any]:
    given: dict[str, Any] = {"log_format": LogFormat(logging.format)}
    path = ("config", "logging", "level")
    for directive in (logging.level or "").replace(" ", "").split(","):
        if "=" in directive:
            hint = "give one level for everything"
            findings.warning(path, "levels of single parts have no effect", hint)
        elif directive.lower() in _LEVELS:
            given["log_level"] = _LEVELS[directive.lower()]
        elif directive:
            findings.error(path, f"{findings.quote(path, directive)} is no level", f"use one of {', '.join(_LEVELS)}")
    return given


def _connections(backend: BackendConnections, findings: Findings) -> dict[str, Any]:
    timeout = _seconds(backend.connect_timeout)
    if timeout == 0:
        path = ("config", "backend", "connectTimeout")
        findings.error(path, "leaves no time to connect", "give a duration above 0, or leave it out")
    return {
        "connect_timeout": timeout,
        "pool_idle_timeout": _seconds(backend.pool_idle_timeout),
        "pool_max_idle": backend.pool_max_size,
    }


def _seconds(text: str | None) -> float | None:
    return seconds(text) if text is not None else None
