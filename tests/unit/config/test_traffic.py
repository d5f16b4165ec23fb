"""What of the policies that keep traffic flowing two places decide together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from torana.config.loaded import Loaded
from torana.config.problem import ConfigError
from torana.config.standalone.load import load
from torana.model.backend import Backend, Connecting, Target, Tunnel
from torana.model.policy import Affinity, Eviction, Health
from torana.model.route import Route

_PROVIDER = "{provider: {openAI: {}}, policies: %s}"


def _loaded(route: str, backends: str = "") -> Loaded:
    text = f"backends: [{backends}]\nbinds: [{{port: 1, listeners: [{{routes: [{route}]}}]}}]"
    return load(text, "f", {}, Path())


def _route(route: str, backends: str = "") -> Route:
    return _loaded(route, backends).config.binds[0].listeners[0].routes[0]


def _backend(route: str, backends: str = "") -> Backend:
    return next(_route(route, backends).backends[0].backends)


def _limits(route: str) -> list[tuple[str | None, tuple[str, ...]]]:
    return [(limit.condition, limit.unless) for limit in _route(route).policies.rate_limits]


# --- Which place wins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "use", "named", "wins"),
    [
        ("{http: {requestTimeout: 1s}}", "{http: {requestTimeout: 2s}}", "{http: {requestTimeout: 3s}}", 1.0),
        ("{}", "{http: {requestTimeout: 2s}}", "{http: {requestTimeout: 3s}}", 2.0),
        ("{}", "{}", "{http: {requestTimeout: 3s}}", 3.0),
        ("{http: {}}", "{http: {requestTimeout: 2s}}", "{http: {requestTimeout: 3s}}", None),
    ],
)
def test_the_more_specific_place_wins(provider: str, use: str, named: str, wins: float | None) -> None:
    """A provider's policy goes before that of a route's use of its backend, and that before the backend's own."""
    backends = f"{{name: a, policies: {named}, ai: {{groups: [{{providers: [{_PROVIDER % provider}]}}]}}}}"
    assert _backend(f"{{backends: [{{backend: /a, policies: {use}}}]}}", backends).request_timeout == wins


def test_a_policy_is_replaced_as_a_whole() -> None:
    """A more specific policy takes nothing from a less specific one of its kind."""
    named = "{name: a, host: 'a:1', policies: {tcp: {connectTimeout: 1s, keepalives: {}}}}"
    backend = _backend("{backends: [{backend: /a, policies: {tcp: {connectTimeout: 2s}}}]}", named)
    assert backend.connecting == Connecting(timeout=2.0)


def test_a_tunnel_of_the_backend_goes_before_the_routes() -> None:
    """A route's forward proxy is for the backends that name none; a proxy of another name brings its own policies."""
    proxies = "{name: p, host: 'https://p:1'}"
    route = """{policies: {backendTunnel: {proxy: {host: 'q:1'}}}, backends: [
        {host: 'a:1', policies: {backendTunnel: {proxy: {backend: /p}}}}, {host: 'b:1'}]}"""
    first, second = (next(ref.backends).connecting for ref in _route(route, proxies).backends)
    assert first is not None
    assert first.tunnel is not None
    assert first.tunnel.tls is not None
    assert second == Connecting(tunnel=Tunnel(Target("q", 1)))


def test_affinity_belongs_to_the_whole_backend() -> None:
    """Requests keep to one of a backend's providers by the policy of its use, else by that of its name."""
    named = "{name: a, host: 'a:1', policies: {sessionAffinity: {header: X-A}}}"
    assert _route("{backends: [{backend: /a}]}", named).backends[0].affinity == Affinity(header="x-a")
    use = "{backends: [{backend: /a, policies: {sessionAffinity: {cookie: b}}}]}"
    assert _route(use, named).backends[0].affinity == Affinity(cookie="b")


def test_a_mirror_does_not_get_the_credential_of_the_route() -> None:
    """Copies go where the route's path says, without its credential: that one is for its backends."""
    mirror = "requestMirror: {backend: {host: 'shadow:1'}}"
    policies = f"{{backendAuth: {{key: k}}, urlRewrite: {{path: {{full: /x}}}}, {mirror}}}"
    (copy,) = _route(f"{{policies: {policies}, backends: [{{host: 'a:1'}}]}}").mirrors
    assert copy.backend.auth is None
    assert copy.backend.path.value == "/x"


# --- Health ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "eviction"),
    [
        ("{}", Eviction()),
        ("{eviction: {}}", Eviction()),
        ("{eviction: {healthThreshold: 1}}", Eviction(consecutive_failures=None, health_threshold=1.0)),
        ("{eviction: {duration: 2m}}", Eviction(duration=120.0, max_duration=120.0)),
        ("{eviction: {duration: 2m, maxDuration: 3m}}", Eviction(duration=120.0, max_duration=180.0)),
    ],
)
def test_eviction(health: str, eviction: Eviction) -> None:
    """A threshold that is given is the only one; a long eviction is not cut short by a bound that nobody wrote."""
    backend = _backend(f"{{backends: [{{host: 'a:1', policies: {{health: {health}}}}}]}}")
    assert backend.health == Health(None, eviction)


# --- Lists of conditions --------------------------------------------------------------------------------------------


def test_the_first_condition_that_is_true_decides() -> None:
    """Of conditional limits one holds: an entry knows the conditions of those before it, and a list has none."""
    sizes = "maxTokens: 1, tokensPerFill: 1, fillInterval: 1s"
    entries = f"[{{condition: 'true', {sizes}}}, {{condition: 'false', {sizes}}}, {{{sizes}}}]"
    conditional = f"{{policies: {{localRateLimit: {{conditional: {entries}}}}}, backends: [{{host: 'a:1'}}]}}"
    assert _limits(conditional) == [("true", ()), ("false", ("true",)), (None, ("true", "false"))]
    listed = f"{{policies: {{localRateLimit: [{{{sizes}}}, {{{sizes}}}]}}, backends: [{{host: 'a:1'}}]}}"
    assert _limits(listed) == [(None, ()), (None, ())]


@pytest.mark.parametrize(("count", "fits"), [(1, True), (64, True), (65, False)])
def test_number_of_conditions(count: int, fits: bool) -> None:
    """A conditional list has from 1 to 64 entries."""
    entries = [{"condition": "true", "status": 200}] * count
    policies = {"directResponse": {"conditional": entries}}
    text = yaml.safe_dump({"policies": policies, "backends": [{"host": "a:1"}]}, default_flow_style=True, width=10**6)
    if fits:
        assert len(_route(text.strip()).policies.conditional_responses) == count
    else:
        with pytest.raises(ConfigError, match="from 1 to 64"):
            _route(text.strip())


@pytest.mark.parametrize(
    ("backend", "warned"),
    [("{host: 'a:1'}", True), ("{ai: {provider: {openAI: {}}}}", False)],
)
def test_tokens_are_counted_of_language_models(backend: str, warned: bool) -> None:
    """A limit of tokens before backends that tell none loads with a warning."""
    limit = "{maxTokens: 1, tokensPerFill: 1, fillInterval: 1s, type: tokens}"
    warnings = _loaded(f"{{policies: {{localRateLimit: [{limit}]}}, backends: [{backend}]}}").warnings
    assert ["tokens" in warning.what for warning in warnings] == [True] * warned
