"""What only the meaning of a policy can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from torana.config.loaded import Loaded
from torana.config.problem import ConfigError
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


@pytest.mark.parametrize(
    ("cors", "said"),
    [
        ("allowHeaders: [x-a, 'x b']", 'cors.allowHeaders[1]: "x b" is no header name'),
        ('exposeHeaders: ["x-a\\r\\nx-b: c"]', "is no header name"),
        ('allowMethods: ["GET\\r\\nx-b: c"]', "holds a line break or another character that a header cannot carry"),
    ],
)
def test_cors_lists_hold_what_a_header_can_carry(cors: str, said: str) -> None:
    """Names of headers and methods that would break the answer they are written into are refused, with their place."""
    with pytest.raises(ConfigError) as caught:
        _loaded(f"{{cors: {{{cors}}}}}")
    (problem,) = caught.value.problems
    assert said in str(problem)


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://app.example.com/a"])
def test_an_origin_that_no_browser_sends_is_told(origin: str) -> None:
    """An allowed origin without a scheme, or with a path, never fits a page: it loads, with a warning at the origin."""
    (warning,) = _loaded(f'{{cors: {{allowOrigins: ["https://*.example", "{origin}"]}}}}').warnings
    assert warning.path.endswith("cors.allowOrigins[1]")
    assert f'"{origin}" is no origin' in warning.what


def test_the_longest_age() -> None:
    """An age beyond what HTTP counts is the longest that it does, however many digits it has."""
    policies = f"{{directResponse: {{status: 200}}, cors: {{maxAge: {'9' * 400}h}}}}"
    text = f"binds: [{{port: 1, listeners: [{{routes: [{{policies: {policies}}}]}}]}}]"
    cors = load(text, "f", {}, Path()).config.binds[0].listeners[0].routes[0].policies.cors
    assert cors is not None
    assert cors.max_age == 2**31
