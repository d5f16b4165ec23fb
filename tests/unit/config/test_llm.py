"""What `llm`, `gateways` and `policies.ai` mean, beside their golden files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from torana.config.problem import ConfigError
from torana.config.standalone.load import load
from torana.model.backend import Backend
from torana.model.codec import dump
from torana.model.config import Config
from torana.model.route import ModelRoute, Route

_ENV = {"KEY": "sk-canary-of-llm", "QUOTED": 'sk-\\"canary"\\'}


def _config(text: str, folder: Path = Path()) -> Config:
    loaded = load(text, "f", _ENV, folder)
    assert loaded.warnings == ()
    return loaded.config


def _route(text: str) -> Route:
    (bind,) = _config(text).binds
    (listener,) = bind.listeners
    (route,) = listener.routes
    return route


def _models(models: str, more: str = "") -> tuple[ModelRoute, ...]:
    return _route(f"llm: {{models: [{models}], {more}}}").models


def _backend(model: str) -> Backend:
    (route,) = _models(f"{{name: it, {model}}}")
    return route.backends[0].groups[0][0]


@pytest.mark.parametrize(
    ("model", "ai"),
    [
        (
            "provider: openAI, params: {apiKey: $KEY, model: m}",
            "{provider: {openAI: {model: m}}, policies: {backendAuth: {key: $KEY}}}",
        ),
        (
            "provider: anthropic, params: {apiKey: $KEY, model: m}",
            "{provider: {anthropic: {model: m}}, policies: {backendAuth: {key: $KEY}}}",
        ),
        (
            "provider: {custom: {}}, params: {baseUrl: 'https://a.example/api', model: m}",
            "{provider: {custom: {model: m}}, hostOverride: 'https://a.example', pathPrefix: /api}",
        ),
        (
            "provider: openAI, params: {hostOverride: 'a.example:443', model: m}, backendTLS: {}, overrides: {a: 1}",
            """{provider: {openAI: {model: m}}, hostOverride: 'a.example:443',
                policies: {backendTLS: {}, ai: {overrides: {a: 1}}}}""",
        ),
    ],
)
def test_is_what_an_ai_backend_is(model: str, ai: str) -> None:
    """A model of `llm` and the same provider written as an `ai` backend compile to equal backends."""
    route = _route(f"binds: [{{port: 1, listeners: [{{routes: [{{backends: [{{ai: {ai}}}]}}]}}]}}]")
    written = route.backends[0].groups[0][0]
    assert _backend(model) == msgspec.structs.replace(written, name="it")


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("{name: gpt, provider: openAI}", "gpt"),
        ("{name: gpt, provider: openAI, params: {model: other}}", "other"),
        ("{name: gpt-*, provider: openAI}", None),
        ("{name: '*', provider: openAI, params: {model: other}}", "other"),
    ],
)
def test_the_model_that_is_asked_for(model: str, asked: str | None) -> None:
    """The provider is asked for `params.model`, else for the model's name; behind a pattern for the client's."""
    (route,) = _models(model)
    provider = route.backends[0].groups[0][0].provider
    assert provider is not None
    assert provider.model == asked


def test_internal_models_are_for_virtual_ones() -> None:
    """An internal model is in no list, and no client gets at it but through a virtual one."""
    (virtual,) = _models(
        "{name: a, visibility: internal, provider: groq}",
        "virtualModels: [{name: v, routing: {weighted: {targets: [{model: a}]}}}]",
    )
    assert (virtual.name, virtual.virtual) == ("v", True)
    assert virtual.backends[0].groups[0][0].name == "a"


def test_targets_behind_one_pattern_are_two_places() -> None:
    """Two targets that one pattern takes are asked for by their own names, and fail on their own."""
    *_, virtual = _models(
        "{name: p/*, provider: groq}",
        "virtualModels: [{name: v, routing: {failover: {targets: [{model: p/b, priority: 3}, {model: p/a}]}}}]",
    )
    (ref,) = virtual.backends
    assert [[each.name for each in group] for group in ref.groups] == [["p/a"], ["p/b"]]
    assert [each.provider.model for each in ref.backends if each.provider is not None] == ["p/a", "p/b"]


def test_the_longest_pattern_is_the_target() -> None:
    """A target is what a call of that name would get: an exact name first, then the longest pattern."""
    *_, virtual = _models(
        "{name: '*', provider: ollama}, {name: a*, provider: groq}, {name: ab*, provider: xai}",
        "virtualModels: [{name: v, routing: {weighted: {targets: [{model: abc}, {model: acc}, {model: c}]}}}]",
    )
    assert [ref.groups[0][0].target.host for ref in virtual.backends] == ["api.x.ai", "api.groq.com", "localhost"]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("llm: {models: [{name: a, provider: groq}]}", {4000: ["llm"]}),
        ("llm: {port: 5, models: [{name: a, provider: groq}]}\ngateways: {default: {port: 6}}", {6: [], 5: ["llm"]}),
        ("llm: {models: [{name: a, provider: groq}]}\ngateways: {default: {port: 6}}", {6: ["llm"]}),
        ("llm: {models: [{name: a, provider: groq}]}\ngateways: {other: {port: 6}}", {6: [], 4000: ["llm"]}),
        (
            """
            llm: {gateways: [a, b/x], models: [{name: a, provider: groq}]}
            gateways: {a: {port: 6}, b: {port: 7, listeners: [{name: x, hostname: x.y}, {hostname: z.y}]}}
            """,
            {6: ["llm"], 7: ["llm", ""]},
        ),
    ],
)
def test_where_it_listens(text: str, ports: dict[int, list[str]]) -> None:
    """`llm` joins the gateways it names, else has its own port, else joins `default`, else has port 4000."""
    found = {
        bind.port: [route.name for listener in bind.listeners for route in (listener.routes or (Route(""),))]
        for bind in _config(text).binds
    }
    assert found == {port: names or [""] for port, names in ports.items()}


def test_a_key_in_a_file(tmp_path: Path) -> None:
    """`apiKey` may name a file, which is watched; its text is cut off at both ends and shown nowhere."""
    (tmp_path / "key").write_text(" sk-canary-of-the-file \n")
    text = "llm: {models: [{name: a, provider: anthropic, params: {apiKey: {file: key}}}]}"
    loaded = load(text, "f", {}, tmp_path)
    auth = loaded.config.binds[0].listeners[0].routes[0].models[0].backends[0].groups[0][0].auth
    assert auth is not None
    assert (auth.key.reveal(), auth.name, auth.prefix) == ("sk-canary-of-the-file", "x-api-key", "")
    assert loaded.files == (tmp_path / "key",)
    assert "canary" not in str(dump(loaded.config))


@pytest.mark.parametrize("value", ["$KEY", "[a, {b: $KEY}]", "'Bearer $KEY'", "'$QUOTED'"])
def test_variables_in_bodies_are_not_shown(value: str) -> None:
    """What a variable held is masked in a dump, in whatever value of `overrides` it stands."""
    text = f"llm: {{models: [{{name: a, provider: groq, overrides: {{user: {value}}}}}]}}"
    loaded = load(text, "f", _ENV, Path())
    assert "canary" not in str(dump(loaded.config, loaded.hidden))


def test_the_providers_own_is_replaced_as_a_whole() -> None:
    """What a model says takes the place of what its provider says, key by key, and nothing is mixed."""
    (route,) = _models(
        "{name: a, provider: {reference: p}, defaults: {b: 2}, auth: {key: own}, tls: {hostname: own.example}}",
        "providers: [{name: p, provider: groq, params: {apiKey: shared}, "
        "defaults: {defaults: {a: 1}, overrides: {c: 3}, backendTLS: {hostname: shared.example}}}]",
    )
    backend = route.backends[0].groups[0][0]
    assert backend.provider is not None
    assert backend.provider.edits is not None
    assert (backend.provider.edits.defaults, backend.provider.edits.overrides) == ((("b", "2"),), (("c", "3"),))
    assert backend.auth is not None
    assert backend.auth.key.reveal() == "own"
    assert backend.tls is not None
    assert backend.tls.hostname == "own.example"


@pytest.mark.parametrize("kind", ["detect", "passthrough", "models", "chat"])
@pytest.mark.parametrize(
    "text",
    [
        "llm: {{models: [{{name: m, provider: {{custom: {{formats: [{{type: {}}}]}}}}, params: {{baseUrl: 'http://a'}}}}]}}",
        "routes: [{{backends: [{{ai: {{hostOverride: 'a:1', provider: {{custom: {{formats: [{{type: {}}}]}}}}}}}}]}}]",
    ],
    ids=["llm", "ai"],
)
def test_formats_that_are_none(text: str, kind: str) -> None:
    """A format that is no operation a provider serves is an error at its place, with those that there are."""
    with pytest.raises(ConfigError) as refused:
        load(text.format(kind), "f", _ENV, Path())
    assert "completions" in str(refused.value)
    assert kind in str(refused.value)


def _warnings(models: str) -> list[str]:
    return [f"{each.path}: {each.what}" for each in load(f"llm: {{models: [{models}]}}", "f", {}, Path()).warnings]


def test_a_model_that_is_never_asked_is_told() -> None:
    """Of two models with one name the first takes every call, unless it has `matches`: the second has a warning."""
    matched = "{name: a, provider: openAI, matches: [{headers: [{name: x-a, value: {exact: b}}]}]}"
    plain, internal = "{name: a, provider: openAI}", "{name: a, provider: openAI, visibility: internal}"
    assert _warnings(f"{matched}, {plain}") == []
    assert _warnings(f"{internal}, {plain}") == []
    for second in (plain, matched):
        (told,) = _warnings(f"{plain}, {second}")
        assert told.startswith("llm.models[1].name: is never asked: models[0] has this name already")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mistrall", "mistral"),
        ("Groq", "groq"),
        ("open-router", "openrouter"),
        ("ollma", "ollama"),
        ("zzz", None),
    ],
)
def test_a_provider_that_is_none(written: str, meant: str | None) -> None:
    """A name of a provider that is slightly wrong is told with the nearest one."""
    with pytest.raises(ConfigError) as refused:
        load(f"llm: {{models: [{{name: a, provider: {written}}}]}}", "f", {}, Path())
    (problem,) = refused.value.problems
    assert f'found "{written}" where one of anthropic, ' in problem.what
    assert problem.hint == (f'did you mean "{meant}"?' if meant else "")
