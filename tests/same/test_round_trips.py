"""A configuration that moves to another form, and back, does the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from tests.unit.exchanges import exchange
from torana.config.convert.from_litellm import from_litellm
from torana.config.convert.migrate import migrate
from torana.config.convert.original import Original
from torana.config.convert.report import Converted
from torana.config.convert.to_agentgateway import to_agentgateway
from torana.config.convert.to_kubernetes import to_kubernetes
from torana.config.convert.to_litellm import to_litellm
from torana.config.kubernetes.manifests import Manifests, Reading
from torana.config.kubernetes.objects import Options
from torana.config.standalone.load import load
from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.model.backend import Backend
from torana.model.config import Config
from torana.model.policy import AuthorityKind, PathKind, PathRule, Redirect
from torana.model.route import Route
from torana.policies.request_redirect import RequestRedirectPolicy

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "examples"
_GOLDEN = _ROOT / "tests" / "golden"
_NAMES = sorted(path.stem for path in _EXAMPLES.glob("*.yaml") if path.stem not in ("llm", "failover"))
_ENV = {"KEY": "sk-x", "HOST": "host.example", "NUMBER": "4711", "CANARY": "sk-y"}
_CHAT = "/v1/chat/completions"
_LISTENER = "binds: [{port: %d, listeners: [{routes: [{matches: [%s], policies: {%s}, backends: [%s]}]}]}]"
_OWN_PRESETS = ("lmstudio", "perplexity", "vllm")


class _Call(NamedTuple):
    """What an upstream sees of a chat completion."""

    port: int
    target: str
    tls: Any
    host: str
    path: str
    model: str | None
    auth: Any


def _text(name: str) -> str:
    return (_EXAMPLES / f"{name}.yaml").read_text()


def _config(text: str, folder: Path = _EXAMPLES) -> Config:
    env = _ENV | dict.fromkeys(re.findall(r"\$([A-Z_]+_API_KEY)", text), "sk-x")
    return load(text, "a.yaml", env, folder, cpus=8).config


def _original(text: str, folder: Path = _EXAMPLES) -> Original:
    return Original(text, "a.yaml", folder, _ENV)


def _manifests(text: str) -> Config:
    """As `torana kubernetes --manifests - --expand-env` reads them."""
    env = dict.fromkeys(re.findall(r"\$([A-Z_]+_API_KEY)", text), "sk-x")
    return Manifests(Reading(paths=("-",), stdin=text, env=env, options=Options(class_names=()))).load().config


def _call(config: Config) -> _Call:
    (bind,) = config.binds
    (route,) = bind.listeners[0].routes
    refs = route.models[0].backends if route.models else route.backends
    backend = refs[0].groups[0][0]
    assert backend.provider is not None
    return _Call(
        bind.port,
        str(backend.target),
        backend.tls,
        _host(backend),
        _path(backend),
        backend.provider.model,
        backend.auth and (backend.auth.key.reveal(), backend.auth.name, backend.auth.prefix),
    )


def _host(backend: Backend) -> str:
    if backend.authority.kind is AuthorityKind.FULL:
        return backend.authority.value
    return backend.target.host if backend.target.port in (80, 443) else str(backend.target)


def _path(backend: Backend) -> str:
    assert backend.provider is not None
    match backend.path.kind:
        case PathKind.KEEP:
            return _CHAT
        case PathKind.BASE | PathKind.CHAT:
            own = (PROVIDERS[backend.provider.kind].operations or {}).get(Operation.CHAT_COMPLETIONS)
            for each in backend.provider.formats or ():
                own = each.path if each.operation == "chat_completions" else own
            return own or backend.path.value + "/chat/completions"
        case _:
            return backend.path.value


@pytest.mark.parametrize("name", _NAMES)
def test_binds_to_llm(name: str) -> None:
    """Each example in the form of `llm` sends a chat completion to the same place, with the same model and key."""
    text = _text(name)
    made = migrate(text, "a.yaml")
    assert made.report.complete
    assert "$" not in text.replace("$schema", "") or re.findall(r"\$[A-Z_]+", made.text)
    assert _call(_config(made.text)) == _call(_config(text))


@pytest.mark.parametrize("name", _NAMES)
def test_binds_to_llm_to_agentgateway(name: str) -> None:
    """Each example in the form of `llm` is what agentgateway gets, but for a provider that only Torana names."""
    there = migrate(_text(name), "a.yaml").text
    made = to_agentgateway(_original(there))
    assert made.report.complete
    assert (made.text != there) is any(f"provider: {kind}" in there for kind in _OWN_PRESETS)
    assert _call(_config(made.text)) == _call(_config(there))


def test_own_presets_to_agentgateway() -> None:
    """A provider that only Torana has a name for is the same place, with the same operations, as a custom one."""
    places = ["hostOverride: 'h:1'", "hostOverride: 'h:1', pathPrefix: /p", "baseUrl: 'http://h:1/v2'"]
    cases = [(kind, place) for kind in _OWN_PRESETS for place in places]
    cases += [(kind, place) for kind in ("lmstudio", "perplexity") for place in ("", "pathPrefix: /p")]
    models = [f"{{name: m{n}, provider: {kind}, params: {{{place}}}}}" for n, (kind, place) in enumerate(cases)]
    text = f"llm: {{models: [{', '.join(models)}]}}"
    made = to_agentgateway(_original(text))
    assert made.report.complete
    assert not [kind for kind in _OWN_PRESETS if f"provider: {kind}" in made.text]
    for before, after in zip(_targets(_config(text)), _targets(_config(made.text)), strict=True):
        assert (after.target, after.tls, after.path) == (before.target, before.tls, before.path)
        assert before.provider is not None
        assert after.provider is not None
        facts = PROVIDERS[before.provider.kind].operations or {}
        served = {operation.name.lower(): path for operation, path in facts.items()}
        assert {each.operation: each.path for each in after.provider.formats or ()}.items() <= served.items()


def _targets(config: Config) -> list[Backend]:
    return [model.backends[0].groups[0][0] for model in config.binds[0].listeners[0].routes[0].models]


@pytest.mark.parametrize("name", _NAMES)
def test_binds_to_binds(name: str) -> None:
    """Each example, written out for agentgateway, compiles to the very same."""
    assert _config(to_agentgateway(_original(_text(name))).text) == _config(_text(name))


def test_operations_to_agentgateway() -> None:
    """What a route says of its paths goes on: agentgateway takes every other one for a chat completion."""
    file = _GOLDEN / "standalone" / "ai.yaml"
    made = to_agentgateway(_original(file.read_text(), file.parent))
    assert made.report.complete
    assert _config(made.text, file.parent).binds == _config(file.read_text(), file.parent).binds


@pytest.mark.parametrize("tcp", ["{keepalives: {enabled: false}}", "{connectTimeout: 1s}", "{keepalives: {time: 9s}}"])
def test_tcp_to_agentgateway(tcp: str) -> None:
    """How connections are kept is written whole: agentgateway wants `keepalives` wherever there is `tcp`."""
    text = _LISTENER % (80, "", "", f"{{host: 'h:1', policies: {{tcp: {tcp}}}}}")
    made = to_agentgateway(_original(text)).text
    assert "keepalives:" in made
    assert _config(made) == _config(text)


@pytest.mark.parametrize("name", _NAMES)
def test_binds_to_kubernetes(name: str) -> None:
    """Each example as manifests sends a chat completion to the same place; what comes of its path is the same route."""
    made = to_kubernetes(_original(_text(name)))
    assert made.report.complete
    config = _manifests(made.text)
    assert _call(config) == _call(_config(_text(name)))
    if "path:" in _text(name):
        assert _nameless(config.binds[0].listeners[0].routes[0]) == _nameless(
            _config(_text(name)).binds[0].listeners[0].routes[0]
        )


def test_groups_to_kubernetes() -> None:
    """Providers by priority, with keys and health of their own, are the same route as manifests."""
    file = _GOLDEN / "convert" / "export" / "routes.yaml"
    text = file.read_text().replace("$PORT", "3000")
    made = to_kubernetes(_original(text)).text
    env = {"GROQ_API_KEY": "sk-x", "FAR_KEY": "sk-far", "NEAR_API_KEY": "sk-canary"}
    reading = Reading(paths=("-",), stdin=made, env=env, options=Options(class_names=()))
    before = load(text, "a.yaml", env, _ROOT).config.binds[0].listeners[0].routes[1]
    routes = Manifests(reading).load().config.binds[0].listeners[0].routes
    assert _nameless(before) in [_nameless(each) for each in routes]


def _both(port: int, matches: str, policies: str, backends: str) -> tuple[Converted, Route, list[Route]]:
    """What the export says; the route as it was, and those that come of its manifests."""
    text = _LISTENER % (port, matches, policies, backends)
    made = to_kubernetes(_original(text))
    routes = _manifests(made.text).binds[0].listeners[0].routes
    return made, _config(text).binds[0].listeners[0].routes[0], [*routes]


def _location(redirect: Redirect, port: int) -> bytes:
    host = f"own.example{'' if port == 80 else f':{port}'}"
    return RequestRedirectPolicy(redirect).on_request(exchange("/x", host=host)).fields[0][2]


@pytest.mark.parametrize("port", [80, 8080])
@pytest.mark.parametrize(
    "redirect",
    [
        *("{scheme: https}", "{scheme: http}", "{authority: {full: a.example}}", "{authority: {full: 'a.example:84'}}"),
        *("{scheme: https, authority: {full: a.example}}", "{scheme: https, authority: {host: a.example}}"),
        *("{authority: {host: a.example}}", "{authority: {port: 81}}", "{scheme: https, authority: {port: 81}}"),
        *("{path: {full: /y}}", "{authority: auto, path: {full: /y}}"),
    ],
)
def test_redirects_to_kubernetes(redirect: str, port: int) -> None:
    """A redirect sends to the same place, where the request's port is the listener's."""
    _, before, (after,) = _both(port, "", f"requestRedirect: {redirect}", "")
    assert before.policies.redirect is not None
    assert after.policies.redirect is not None
    assert _location(after.policies.redirect, port) == _location(before.policies.redirect, port)


@pytest.mark.parametrize(
    "authority", ["{full: '[2001:db8::1]:8443'}", "{full: '[::1]'}", "{host: '[::1]'}", "{host: a_b}"]
)
def test_a_redirect_that_kubernetes_cannot_name(authority: str) -> None:
    """A redirect to what is no host name of Kubernetes is left out and told, not sent to another host."""
    made, _, (after,) = _both(80, "", f"requestRedirect: {{authority: {authority}}}", "")
    assert after.policies.redirect is None
    assert not made.report.complete


@pytest.mark.parametrize("policy", ["urlRewrite", "requestRedirect"])
def test_prefixes_to_kubernetes(policy: str) -> None:
    """A prefix is replaced in a rule of one match; several matches become as many rules."""
    matches = "{path: {pathPrefix: /a}}, {path: {pathPrefix: /b}}"
    _, before, after = _both(80, matches, f"{policy}: {{path: {{prefix: /c}}}}", "{host: 'h:1'}")
    assert [match for route in after for match in route.matches] == [*before.matches]
    paths: set[PathRule | None]
    if policy == "urlRewrite":
        paths = {each.path for route in (before, *after) for ref in route.backends for each in ref.backends}
    else:
        paths = {each.path for route in (before, *after) if (each := route.policies.redirect) is not None}
    assert paths == {PathRule(PathKind.PREFIX, "/c")}


@pytest.mark.parametrize(
    ("policies", "whole", "each"),
    [
        ("timeout: {requestTimeout: 1.5s, backendRequestTimeout: 250ms}", 1.5, 0.25),
        ("timeout: {requestTimeout: 1s, backendRequestTimeout: 2s}", 1.0, None),
        ("timeout: {requestTimeout: 30h, backendRequestTimeout: 1h30m}", 108_000.0, 5400.0),
    ],
)
def test_timeouts_to_kubernetes(policies: str, whole: float, each: float | None) -> None:
    """The Gateway API's durations have no fractions, and no attempt that is longer than all of them."""
    backend = "{host: 'h:1', policies: {tcp: {connectTimeout: 1.5s}}}"
    _, _, (after,) = _both(80, "", f"{policies}, retry: {{backoff: 1.5s}}", backend)
    assert after.policies.timeout is not None
    assert (after.policies.timeout.request, after.policies.timeout.backend_request) == (whole, each)


@pytest.mark.parametrize(
    "place", ["pathPrefix: /v2", "pathOverride: /x/chat/completions", "pathPrefix: /v1", "tokenize: false"]
)
def test_a_provider_at_home_to_kubernetes(place: str) -> None:
    """A provider's own place has TLS, with another path there too: its key is never sent in plaintext."""
    _, before, (after,) = _both(80, "", "", f"{{ai: {{{place}, provider: {{openAI: {{}}}}}}}}")
    (old,), (new,) = before.backends[0].backends, after.backends[0].backends
    assert (new.target, new.tls) == (old.target, old.tls)
    assert new.tls is not None


@pytest.mark.parametrize("export", [to_kubernetes, to_litellm])
def test_a_socket_goes_nowhere(export: Callable[[Original], Converted]) -> None:
    """A socket of a machine has no form elsewhere: its key is sent to no other place, `localhost` neither."""
    ai = "{ai: {hostOverride: 'unix:/run/a', provider: {openAI: {}}}}"
    made = export(_original(_LISTENER % (80, "", "", ai)))
    assert "localhost" not in made.text
    assert not made.report.complete


def test_ipv6_elsewhere() -> None:
    """An IPv6 address keeps its brackets in a URL; agentgateway, which does not read one, is told of."""
    original = _LISTENER % (80, "", "", "{ai: {hostOverride: '[2001:db8::1]:8000', provider: {openAI: {}}}}")
    (model,) = yaml.safe_load(to_litellm(_original(original)).text)["model_list"]
    assert model["litellm_params"]["api_base"] == "http://[2001:db8::1]:8000/v1"
    made = to_agentgateway(_original(original))
    assert not made.report.complete
    assert _config(made.text).binds[0].listeners[0].routes[0].backends[0].groups[0][0].target.host == "2001:db8::1"


def test_variables_outside_secrets() -> None:
    """A variable that `--expand-env` leaves alone is told."""
    made = to_kubernetes(_original(_LISTENER % (80, "", "", "{host: '$HOST:80'}")))
    assert "host: $HOST" in made.text
    assert [str(each) for each in made.report.findings if "--expand-env" in each.what]


@pytest.mark.parametrize("name", _NAMES)
def test_manifests_to_binds(name: str) -> None:
    """What was made for Kubernetes comes back as `binds`."""
    manifests = to_kubernetes(_original(_text(name))).text
    back = to_agentgateway(_original(manifests)).text
    assert _call(_config(back)) == _call(_config(_text(name)))


def _nameless(route: Route) -> Route:
    refs = tuple(
        msgspec.structs.replace(
            ref, groups=tuple(tuple(msgspec.structs.replace(each, name="") for each in group) for group in ref.groups)
        )
        for ref in route.backends
    )
    return msgspec.structs.replace(route, name="", backends=refs)


@pytest.mark.parametrize(
    "path", ["standalone/everything.yaml", "standalone/targets.yaml", "convert/migrate/stays.yaml"]
)
def test_what_stays_a_route(path: str) -> None:
    """Routes that `llm` has no words for are the same below `gateways`, apart from names that were never given."""
    file = _GOLDEN / path
    text = file.read_text()
    before = _config(text, file.parent)
    after = _config(migrate(text, file.name).text, file.parent)
    assert after.settings == before.settings
    assert after.limits == before.limits
    assert [bind.port for bind in after.binds] == [bind.port for bind in before.binds]
    for old, new in zip(before.binds, after.binds, strict=True):
        assert [_named(each) for each in new.listeners[0].routes] == [_named(each) for each in old.listeners[0].routes]


def _named(route: Route) -> tuple[Any, ...]:
    return route.hostnames, route.matches, route.policies, len(route.backends), route.mirrors


def test_litellm_there_and_back() -> None:
    """LiteLLM's models are the same when they come back: provider, model, key, address, shares and order."""
    text = (_GOLDEN / "convert" / "litellm" / "proxy.yaml").read_text()
    there = from_litellm(text, "proxy.yaml").text
    load(there, "a.yaml", {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "y"}, _ROOT)
    back = yaml.safe_load(to_litellm(_original(there)).text)
    kept = ("model", "api_key", "api_base", "weight", "order", "temperature", "extra_headers")
    found = {name: [_some(each, kept) for each in _models(back, name)] for name in ("gpt-4o", "local", "anthropic/*")}
    written = yaml.safe_load(text)
    assert found == {name: [_some(each, kept) for each in _models(written, name)] for name in found}
    assert back["router_settings"] == {"num_retries": 2, "timeout": 60, "stream_timeout": 10}


def _models(file: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [each["litellm_params"] for each in file["model_list"] if each["model_name"] == name]


def _some(params: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: params[name] for name in names if name in params}
