"""Reports of conversions: what is told, where, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest

from torana.config.convert.from_litellm import from_litellm
from torana.config.convert.migrate import migrate
from torana.config.convert.original import Original
from torana.config.convert.report import Converted, Fidelity
from torana.config.convert.to_agentgateway import to_agentgateway
from torana.config.convert.to_kubernetes import to_kubernetes
from torana.config.convert.to_litellm import to_litellm
from torana.config.problem import ConfigError

_BACKEND = """
binds:
- port: 3000
  listeners:
  - routes:
    - %s
      backends:
      - ai: {name: a, hostOverride: "a.example:443", provider: {openAI: {model: m}}, policies: {%s}}
"""
_KEY = "backendAuth: {key: %s}"


def _original(text: str) -> Original:
    return Original(text, "a.yaml", Path(), {"PORT": "3000"})


def _found(made: Converted, fidelity: Fidelity) -> list[str]:
    return [str(each) for each in made.report.findings if each.fidelity is fidelity]


@pytest.mark.parametrize("export", [to_agentgateway, to_kubernetes, to_litellm])
def test_a_literal_key_is_told_by_its_line(export: object) -> None:
    """A key that is written out is named by its line and never shown; manifests do not have it at all."""
    assert callable(export)
    made: Converted = export(_original(_BACKEND % ("name: r", _KEY % "sk-canary")))
    assert "canary" not in "".join(map(str, made.report.findings))
    assert any(each.line == 8 and "key" in each.subject for each in made.report.findings)
    assert ("canary" in made.text) is (export is not to_kubernetes)


def test_two_literal_keys_have_two_variables() -> None:
    """Two keys of backends that are called the same do not become one variable."""
    text = (
        _BACKEND % ("name: r", _KEY % "sk-canary")
        + """
    - matches: [{path: {pathPrefix: /b}}]
      backends:
      - ai: {name: a, hostOverride: "b.example:443", provider: {openAI: {}}, policies: {backendAuth: {key: sk-other}}}
"""
    )
    made = to_kubernetes(_original(text)).text
    assert "Authorization: $A_API_KEY\n" in made
    assert "Authorization: $A_API_KEY_2\n" in made


@pytest.mark.parametrize("export", [to_agentgateway, to_kubernetes, to_litellm])
def test_a_default_is_no_secret_of_the_report(export: object) -> None:
    """What stands for a variable that is not set may be a credential: no report repeats it."""
    assert callable(export)
    made: Converted = export(_original(_BACKEND % ("name: r", _KEY % '"${KEY:-sk-canary}"')))
    assert "canary" not in "".join(map(str, made.report.findings))


def test_a_number_cannot_be_a_name() -> None:
    """Of a variable that stands for a number the value is written out, and nothing else's of its line."""
    text = _BACKEND.replace("port: 3000", "port: $PORT") % ("name: r", _KEY % "$KEY")
    made = to_agentgateway(_original(text))
    assert "port: 3000" in made.text
    assert "key: $KEY" in made.text
    told = [each for each in _found(made, Fidelity.APPROXIMATE) if "$" in each]
    assert told == ["a.yaml:3: approximate: $PORT: its value is written out: a number or a file is needed here"]


@pytest.mark.parametrize(
    ("policies", "told"),
    [("", True), ("urlRewrite: {path: {full: /v1/chat/completions}}", False), ("ai: {routes: {'*': detect}}", False)],
)
def test_what_agentgateway_takes_for_chat(policies: str, told: bool) -> None:
    """Without `ai.routes` every path is a chat completion for agentgateway: a route that goes by paths says so."""
    made = to_agentgateway(_original(_BACKEND % (f"policies: {{{policies}}}", _KEY % "$KEY")))
    assert any("ai.routes" in each for each in _found(made, Fidelity.APPROXIMATE)) is told


def test_a_number_without_a_value() -> None:
    """A variable for a number that is not set is told by name and place."""
    with pytest.raises(
        ConfigError, match=r"a\.yaml:3:9: error: \$COUNT stands for a number or a file, and has no value"
    ):
        _original(_BACKEND.replace("port: 3000", "port: $COUNT") % ("name: r", ""))


def test_what_is_wrong_is_told_with_its_variables() -> None:
    """A fault of the configuration itself is reported, with variables by their names."""
    with pytest.raises(ConfigError, match="unknown key") as refused:
        _original(_BACKEND % ("nonsense: $X", _KEY % "$KEY"))
    assert "torana-variable" not in str(refused.value)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("urlRewrite: {authority: none}", "a model gets the Host of its own address"),
        ("urlRewrite: {authority: {full: other.example}}", "and this route gives another"),
        ("urlRewrite: {path: {prefix: /x}}", "a prefix of the path is replaced"),
        ("delay: {duration: 1s}", "`llm` has no policy `delay`"),
        ("requestMirror: {backend: {host: 'b:80'}}", "`llm` has no policy `requestMirror`"),
    ],
)
def test_why_a_route_stays(policy: str, says: str) -> None:
    """A route that `llm` has no words for stays a route, and the report says which word is missing."""
    made = migrate(_BACKEND % (f"policies: {{{policy}}}", _KEY % "$KEY"), "a.yaml")
    assert "llm:" not in made.text
    (found,) = made.report.findings
    assert found.line == 6
    assert says in found.what


_CUSTOM = """
binds:
- port: 3000
  listeners:
  - routes:
    - backends:
      - ai:
          hostOverride: gpu.example:8000
          pathPrefix: /v2
          provider: {custom: {model: m, providerOverride: lab, formats: [{type: messages}, {type: rerank, path: /r}]}}
"""


def test_a_provider_without_a_name() -> None:
    """A provider of the user's own keeps what it says of itself: the same provider comes of it."""
    before = _original(_CUSTOM).config.binds[0].listeners[0].routes[0].backends[0].groups[0][0]
    (model,) = _original(migrate(_CUSTOM, "a.yaml").text).config.binds[0].listeners[0].routes[0].models
    after = model.backends[0].groups[0][0]
    assert (after.target, after.tls, after.path, after.provider) == (
        before.target,
        before.tls,
        before.path,
        before.provider,
    )


@pytest.mark.parametrize("text", ["llm: {models: []}", "gateways: {}", "{}", "[]", "a: b"])
def test_nothing_to_migrate(text: str) -> None:
    """A file without `binds` is refused, with words for what it is."""
    with pytest.raises(ConfigError):
        migrate(text, "a.yaml")


@pytest.mark.parametrize("text", ["model_list: []", "binds: []", "- a", "a: ["])
def test_no_litellm(text: str) -> None:
    """What is no configuration of LiteLLM is refused."""
    with pytest.raises(ConfigError):
        from_litellm(text, "a.yaml")


@pytest.mark.parametrize("odd", ["null", "[]", "7", "{a: b}", "[null]", "'*a*'"])
@pytest.mark.parametrize(
    "key", ["model", "api_key", "api_base", "extra_headers", "weight", "order", "rpm", "extra_body"]
)
def test_odd_values(key: str, odd: str) -> None:
    """A value that LiteLLM would not take either is no reason to fail: the rest comes across."""
    text = "model_list:\n- {model_name: a, litellm_params: {model: openai/x}}\n"
    text += f"- {{model_name: b, litellm_params: {{{key}: {odd}}}}}\n"
    assert "- name: a\n" in from_litellm(text, "a.yaml").text


def test_fallbacks_of_fallbacks() -> None:
    """A model that takes over for another may have one of its own; names with a `*` have none, which is told."""
    text = """
model_list:
- {model_name: a, litellm_params: {model: openai/x, api_key: k}}
- {model_name: b, litellm_params: {model: openai/y, api_key: k}}
- {model_name: "*", litellm_params: {model: "openai/*", api_key: k}}
- {model_name: "*", litellm_params: {model: "groq/*", api_key: k}}
litellm_settings: {default_fallbacks: [a], fallbacks: [{a: [b]}]}
"""
    made = from_litellm(text, "a.yaml")
    original = _original(made.text)
    models = {model.name: model for model in original.config.binds[0].listeners[0].routes[0].models}
    assert {name: [len(group) for group in each.backends[0].groups] for name, each in models.items()} == {
        "a": [1, 1],
        "b": [1, 1],
        "*": [1],
    }
    assert [each.line for each in made.report.findings if each.fidelity is Fidelity.MANUAL] == [5, 6]


def test_a_key_goes_nowhere_else() -> None:
    """A model whose address cannot be said is left out: its key is not for the provider's own address."""
    text = (
        "model_list: [{model_name: a, litellm_params: "
        "{model: openai/x, api_key: os.environ/KEY, api_base: https://own.example/v1?tenant=1}}]"
    )
    converted = from_litellm(text, "a.yaml")
    assert "KEY" not in converted.text
    assert "the model is left out" in "\n".join(map(str, converted.report.findings))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ("model: openai/x", True),
        ("model: anthropic/x, api_key: ''", True),
        ("model: openai/x, api_key: os.environ/KEY", False),
        ("model: openai/x, api_base: 'http://gpu.example/v1'", False),
        ("model: ollama/x", False),
    ],
)
def test_a_key_of_the_environment(params: str, told: bool) -> None:
    """LiteLLM takes a key that is not written from its environment: that it is missing here is told."""
    made = from_litellm(f"model_list: [{{model_name: a, litellm_params: {{{params}}}}}]", "a.yaml")
    assert ["api_key" in each for each in _found(made, Fidelity.MANUAL)] == ([True] if told else [])


def test_a_model_of_any_provider() -> None:
    """A `*` without a provider is every provider for LiteLLM and one here, which is told."""
    text = "model_list: [{model_name: '*', litellm_params: {model: '%s*', api_key: os.environ/KEY}}]"
    assert _found(from_litellm(text % "", "a.yaml"), Fidelity.APPROXIMATE)
    assert not _found(from_litellm(text % "openai/", "a.yaml"), Fidelity.APPROXIMATE)


@pytest.mark.parametrize("order", [1, -1])
def test_the_routers_own_numbers(order: int) -> None:
    """What LiteLLM's router says itself goes before what the library says, wherever it stands."""
    models = "model_list: [{model_name: a, litellm_params: {model: openai/x, api_key: os.environ/KEY}}]"
    sections = [
        "router_settings: {timeout: 30, num_retries: null}",
        "litellm_settings: {request_timeout: 600, num_retries: 3}",
    ]
    made = from_litellm("\n".join([models, *sections[::order]]), "a.yaml")
    assert "requestTimeout: 30s" in made.text
    assert "attempts: 3" in made.text
    assert "goes before it" in "\n".join(_found(made, Fidelity.EXACT))


def test_what_agentgateway_does_not_know_of_an_llm_file() -> None:
    """Of a file with `llm` each thing that is Torana's own is left out, and told by its line."""
    file = Path(__file__).parents[3] / "golden" / "convert" / "export" / "own.yaml"
    made = to_agentgateway(Original(file.read_text(), "a.yaml", Path(), {}))
    told = {each.subject: each.line for each in made.report.findings if each.fidelity is not Fidelity.EXACT}
    assert told == {
        "llm.providers[0].provider": 7,
        "llm.models[1].provider": 12,
        "llm.models[2].provider": 15,
        "llm.models[2].health.eviction.maxDuration": 19,
        "llm.virtualModels[0].routing.failover": 22,
        "llm.policies.timeout": 25,
        "llm.policies.retry": 26,
        "llm.policies.localRateLimit[0]": 28,
        "routes[0].policies.timeout.firstByteTimeout": 33,
    }
    assert not [name for name in ("maxDuration", "retry", "key: apiKey", "firstByteTimeout") if name in made.text]
