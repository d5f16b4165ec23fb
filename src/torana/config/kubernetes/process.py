"""The process's settings where there is no `config:` block to write them in: the environment variables alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from torana.config.problem import ConfigError
from torana.config.standalone.schema.process import Process
from torana.config.standalone.settings import settings
from torana.config.yaml.compose import compose
from torana.config.yaml.findings import Findings
from torana.config.yaml.source import Source
from torana.model.config import Settings


def process_settings(env: Mapping[str, str]) -> Settings:
    """By the names of the standalone dialect: ADMIN_ADDR, STATS_ADDR, WORKER_THREADS and so on. Raises ConfigError."""
    findings = Findings(compose(Source("environment", "{}", "{}")))
    found = settings(Process(), env, os.cpu_count() or 1, findings)
    if findings.failed:
        raise ConfigError(findings.problems)
    return found
