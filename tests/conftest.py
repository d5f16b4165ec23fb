"""What holds for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, however slow the machine: a test that fails today failed when it was written.
settings.register_profile("torana", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("torana")

# Where no name server answers, a name that is not known is given up after a second, and not after ten (resolv.conf(5)).
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-rewrite", action="store_true", help="write the golden files instead of comparing")
