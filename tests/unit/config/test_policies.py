"""What only the meaning of a policy can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from torana.config.loaded import Loaded
from torana.config.standalone.load import load
from torana.model.policy import BackendTls


def _loaded(policies: str) -> Loaded:
    text = f"binds: [{{port: 1, listeners: [{{routes: [{{policies: {policies}, backends: [{{host: 'a:1'}}]}}]}}]}}]"
    return load(text, "-c", {}, Path())


@pytest.mark.parametrize(
    ("cors", "warned"),
    [
        ('{allowOrigins: ["*"], allowCredentials: true}', True),
        ('{allowOrigins: ["https://a.example", "*"], allowCredentials: true}', True),
        ('{allowOrigins: ["*"]}', False),
        ('{allowOrigins: ["https://*.example"], allowCredentials: true}', False),
    ],
)
def test_every_page_with_credentials(cors: str, warned: bool) -> None:
    """Every origin with credentials loads, with a warning at the origins: any web page may act as its visitor."""
    warnings = _loaded(f"{{cors: {cors}}}").warnings
    assert [warning.path.rpartition(".")[2] for warning in warnings] == ["allowOrigins"] * warned
    assert all("allowCredentials" in warning.what for warning in warnings)


@pytest.mark.parametrize("alpn", ["[http/1.1]", "[h2, http/1.1]"])
def test_alpn_makes_no_other_rules(alpn: str) -> None:
    """Protocols with HTTP/1.1 among them say what is so anyway: such rules equal those without, and share a pool."""
    (bind,) = _loaded(f"{{backendTLS: {{alpn: {alpn}}}}}").config.binds
    backend = bind.listeners[0].routes[0].backends[0].groups[0][0]
    assert backend is not None
    assert backend.tls == BackendTls()
