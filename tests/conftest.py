"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, however slow the machine: a test that fails today failed when it was written.
settings.register_profile("torana", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("torana")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-rewrite", action="store_true", help="write the golden files instead of comparing")
