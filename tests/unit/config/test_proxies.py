"""The forward proxies of the environment: which variables count, what may stand in them, and whom they are for."""

from __future__ import annotations

import base64
import json

import pytest

from torana.config.kubernetes.process import process_settings
from torana.config.problem import ConfigError, Problem
from torana.config.proxies import environment_proxies, told
from torana.http.proxies import Environment
from torana.model import codec
from torana.model.backend import Target, Tunnel
from torana.model.config import Config, Proxies, Settings


def _proxies(env: dict[str, str]) -> Proxies:
    problems: list[Problem] = []
    found = environment_proxies(env, problems.append)
    assert not problems
    return found


def _where(tunnel: Tunnel | None) -> str | None:
    return str(tunnel.target) if tunnel is not None else None


@pytest.mark.parametrize(
    ("env", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://a:1"}, "a:1", None),
        ({"HTTP_PROXY": "http://a:1"}, None, "a:1"),
        ({"HTTPS_PROXY": "a:1", "https_proxy": "b:2"}, "b:2", None),
        ({"HTTPS_PROXY": "a:1", "https_proxy": ""}, "a:1", None),
        ({"HTTPS_PROXY": " "}, None, None),
        ({"ALL_PROXY": "a:1"}, "a:1", "a:1"),
        ({"all_proxy": "a:1", "HTTP_PROXY": "b:2"}, "a:1", "b:2"),
        ({"HTTP_PROXY": "a:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"http_proxy": "a:1", "REQUEST_METHOD": "GET"}, None, "a:1"),
        ({"HTTPS_PROXY": "proxy.example"}, "proxy.example:80", None),
        ({"HTTPS_PROXY": "https://proxy.example/"}, "proxy.example:443", None),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, "[::1]:3128", None),
    ],
)
def test_which_variables_count(env: dict[str, str], https: str | None, http: str | None) -> None:
    """Small letters win over capitals, a scheme's own variable over ALL_PROXY; an empty one is none (curl)."""
    found = _proxies(env)
    assert (_where(found.https), _where(found.http)) == (https, http)


def test_credentials() -> None:
    """User and password are decoded, sent as Basic to the proxy, and shown nowhere."""
    found = _proxies({"HTTPS_PROXY": "https://us%65r:p%40ss%3Aword@proxy.example:3129"})
    assert found.https is not None
    assert found.https.tls is not None
    auth = found.https.auth
    assert auth is not None
    assert (auth.name, auth.prefix) == ("proxy-authorization", "Basic ")
    assert base64.b64decode(auth.key.reveal()) == b"user:p@ss:word"
    shown = told(found) + repr(found) + json.dumps(codec.dump(Config(settings=Settings(proxies=found))))
    assert "proxy.example" in shown
    for text in ("p@ss", "p%40ss", auth.key.reveal()):
        assert text not in shown


def test_workers_get_them_whole() -> None:
    """What a worker process is told of the settings has the credentials in it."""
    settings = Settings(proxies=_proxies({"HTTPS_PROXY": "http://u:p@proxy.example:1", "NO_PROXY": "a.example"}))
    assert codec.unpack(codec.pack(settings), Settings) == settings


def test_one_line_for_the_log() -> None:
    """What is in force is told in one line."""
    env = {"https_proxy": "https://u:p@a.example:1", "http_proxy": "b.example:2", "no_proxy": "c.example, 10.0.0.0/8"}
    assert told(_proxies(env)) == (
        "proxies of the environment: upstreams with TLS through a.example:1 over TLS and without TLS through "
        "b.example:2; not c.example, 10.0.0.0/8"
    )


@pytest.mark.parametrize(
    "value",
    [
        "socks5://canary:1",
        "ftp://canary:1",
        "http://",
        "canary:99999",
        "canary:port",
        "can ary:1",
        "http://canary:1/path",
        "http://canary:1?a=b",
        "http://[canary",
        "http://u:canary@:1",
        "canary:0",
    ],
)
def test_values_that_are_no_proxy(value: str) -> None:
    """A wrong value stops the start: told by its variable, with what would be right, never repeated."""
    with pytest.raises(ConfigError) as raised:
        process_settings({"HTTPS_PROXY": value})
    (problem,) = raised.value.problems
    assert (problem.where, problem.path) == ("environment", "HTTPS_PROXY")
    assert "http://HOST:PORT" in problem.hint
    assert "canary" not in str(problem)


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "canary/8", "canary:0", "canary:port", "ca*ary", "[::1]canary", "."])
def test_exceptions_that_are_none(entry: str) -> None:
    """A wrong entry of NO_PROXY stops the start, told by its number."""
    with pytest.raises(ConfigError) as raised:
        process_settings({"no_proxy": f"good.example, {entry}", "HTTPS_PROXY": "a:1"})
    (problem,) = raised.value.problems
    assert problem.path == "no_proxy"
    assert problem.what.startswith("entry 2 ")
    assert "canary" not in str(problem)


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "goes_through"),
    [
        ("", "api.example", 443, True),
        ("api.example", "api.example", 443, False),
        ("API.example", "api.EXAMPLE.", 443, False),
        ("api.example.", "api.example", 443, False),
        ("api.example", "eu.api.example", 443, False),
        ("api.example", "myapi.example", 443, True),
        ("api.example", "api.example.org", 443, True),
        (".example", "api.example", 443, False),
        (".api.example", "api.example", 443, True),
        ("*.api.example", "eu.api.example", 443, False),
        ("*.api.example", "api.example", 443, True),
        ("api.example:8443", "api.example", 443, True),
        ("api.example:8443", "api.example", 8443, False),
        ("*:8443", "api.example", 8443, False),
        ("*:8443", "api.example", 443, True),
        ("*", "api.example", 443, False),
        ("a.example,b.example c.example", "c.example", 443, False),
        ("10.0.0.7", "10.0.0.7", 443, False),
        ("10.0.0.7", "10.0.0.71", 443, True),
        ("10.0.0.7:80", "10.0.0.7", 443, True),
        ("10.0.0.0/8", "10.200.3.4", 443, False),
        ("10.0.0.1/8", "10.200.3.4", 443, False),
        ("10.0.0.0/8", "11.0.0.1", 443, True),
        ("10.0.0.0/8", "::ffff:10.1.1.1", 443, False),
        ("10.0.0.0/8", "name.example", 443, True),
        ("fd00::/8", "fd12::1", 443, False),
        ("[fd12::1]:443", "fd12::1", 443, False),
        ("[fd12::1]:80", "fd12::1", 443, True),
        ("fd12::1", "fd12::1", 443, False),
        ("", "localhost", 443, False),
        ("", "a.localhost", 443, False),
        ("", "127.1.2.3", 443, False),
        ("", "::1", 443, False),
        ("", "::ffff:127.0.0.1", 443, False),
        ("", "169.254.169.254", 80, True),
    ],
)
def test_whom_they_are_for(exceptions: str, host: str, port: int, goes_through: bool) -> None:
    """NO_PROXY is read as Go reads it; this machine itself is never reached through a proxy."""
    environment = Environment(_proxies({"ALL_PROXY": "proxy.example:1", "NO_PROXY": exceptions}))
    for tls in (True, False):
        assert (environment.tunnel_to(Target(host, port), tls=tls) is not None) == goes_through


def test_who_has_no_proxy() -> None:
    """A Unix socket, and what `--resolve` says the address of, are reached directly."""
    environment = Environment(_proxies({"ALL_PROXY": "proxy.example:1"}), {("a.example", 443): ()})
    assert environment.tunnel_to(Target("a.example", 443), tls=True) is None
    assert environment.tunnel_to(Target("a.example", 444), tls=True) is not None
    assert environment.tunnel_to(Target("localhost", 0, "/run/x"), tls=True) is None
