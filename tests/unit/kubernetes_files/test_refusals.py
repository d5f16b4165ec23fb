"""Manifests that an API server would refuse are refused, at the line and in the words that help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from torana.config.kubernetes.manifests import Examined, Manifests, OnDuplicate, Reading
from torana.config.problem import ConfigError

BACKEND = """apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata:
  name: mistral
  namespace: gloo-system
spec:
  type: AI
  ai:
    llm:
      openai:
        authToken:
          kind: Inline
          inline: sk-secret
      host: api.mistral.ai
      port: 443
"""
ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: chat
spec:
  parentRefs:
  - name: gateway
  rules:
  - matches:
    - path:
        value: /chat
    backendRefs:
    - name: mistral
      group: gateway.kgateway.dev
      kind: Backend
"""
SECRET = """apiVersion: v1
kind: Secret
metadata:
  name: key
stringData:
  Authorization: sk-secret
"""
AGENTGATEWAY = """apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata:
  name: mistral
spec:
  ai:
    provider:
      openai: {}
      host: api.mistral.ai
      port: 443
  policies:
    auth:
      key: sk-secret
"""


def examine(text: str, env: Mapping[str, str] | None = None, *, last: bool = False) -> Examined:
    on_duplicate = OnDuplicate.LAST if last else OnDuplicate.ERROR
    return Manifests(Reading(paths=("-",), stdin=text, env=env, on_duplicate=on_duplicate)).examine()


def problems(text: str, env: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        examine(text, env)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "says"),
    [
        (BACKEND, "      port: 443\n", "", 9, "Backend gloo-system/mistral: spec.ai.llm: both host and port must"),
        (BACKEND, "port: 443", 'port: "443"', 15, "spec.ai.llm.port: Invalid value: must be an integer, and is text"),
        (BACKEND, "port: 443", "port: 70000", 15, "less than or equal to 65535"),
        (BACKEND, "openai:", "openAI:", 10, 'spec.ai.llm.openAI: unknown field; did you mean "openai"?'),
        (BACKEND, "openai:", "hostOverride:", 10, "since 2.1 it is `host` and `port`"),
        (BACKEND, "type: AI", "type: ai", 7, 'supported values: "AI", "AWS"'),
        (BACKEND, "type: AI", "type: Static", 6, "static backend must be specified when type is 'Static'"),
        (BACKEND, "inline: sk-secret", "inline: s\n          secretRef: {name: x}", 11, "at most one of"),
        (BACKEND, "openai:", "gemini: {}\n      openai:", 10, "gemini.authToken: Required value"),
        (BACKEND, "openai:", "bedrock: {}\n      openai:", 9, "exactly one of the fields"),
        (BACKEND, "          kind: Inline\n", "", 11, "authToken.kind: Required value"),
        (BACKEND, "host: api.mistral.ai", 'host: ""', 14, "must have at least 1 characters"),
        (BACKEND, "port: 443", "port: 443\n      port: 444", 16, '"port"'),
        (ROUTE, "io/v1", "io/v1alpha2", 1, 'no version "v1alpha2" of this kind; it is served as gateway.networking'),
        (SECRET, "v1", "v2", 1, 'no version "v2" of this kind; it is served as v1'),
        (BACKEND, "v1alpha1", "v1", 1, 'no version "v1" of this kind; it is served as gateway.kgateway.dev/v1alpha1'),
        (BACKEND, "name: mistral", "name: Mistral", 4, "metadata.name: Invalid value: must match the pattern"),
        (BACKEND, "  name: mistral\n", "", 3, "metadata.name: Required value"),
        (BACKEND, "kind: Backend\n", "", 1, "apiVersion or kind is missing"),
        (ROUTE, "/chat", "chat", 10, "must be an absolute path"),
        (ROUTE, "/chat", "/a//b", 10, "must not contain '//'"),
        (ROUTE, "      group: gateway.kgateway.dev\n      kind: Backend\n", "", 13, "Must have port for Service"),
        (ROUTE, "backendRefs:", "backendRef:", 12, 'did you mean "backendRefs"?'),
        (ROUTE, "    backend", "    filters: [{type: URLRewrite}]\n    backend", 12, "filter.urlRewrite must be"),
        (ROUTE, "    backend", "    timeouts: {request: 1s, backendRequest: 2s}\n    backend", 12, "cannot be longer"),
        (ROUTE, "  - name: gateway", "  - name: gateway\n  - name: gateway", 6, "sectionName must be unique"),
        (ROUTE, "value: /chat", "value: on", 11, "must be text, and is true or false"),
        (SECRET, "sk-secret", "$API_KEY", 6, "a variable that nobody has filled in"),
        (SECRET, "sk-secret", '"${API_KEY}"', 6, "give --expand-env"),
        (SECRET, "sk-secret", "Bearer $API_KEY", 6, "a variable that nobody has filled in"),
        (SECRET, "name: key", 'name: "key\\n"', 4, "metadata.name: Invalid value: must match the pattern"),
        (SECRET, "sk-secret", "12345", 6, "must be text; put it in quotes"),
        (SECRET, "stringData", "data", 6, "is not base64; plain text belongs under stringData"),
        (SECRET, "Authorization:", "my key:", 6, "a key has letters, digits"),
        (AGENTGATEWAY, "      port: 443\n", "", 7, "both host and port must be set together"),
        (AGENTGATEWAY, "port: 443", "port: 443\n      path: /a\n      pathPrefix: /b", 7, "fields in [path"),
        (AGENTGATEWAY, "key: sk-secret", "key: s\n      passthrough: {}", 12, "at most one of the fields in [key"),
    ],
)  # fmt: skip
def test_refused(text: str, old: str, new: str, line: int, says: str) -> None:
    """A fault is told with file, line, object, field and what would be right, and no value is shown."""
    assert old in text
    (found, *_) = [problem for problem in problems(text.replace(old, new, 1)) if says in problem] or [""]
    assert found, f"{says!r} is not among {problems(text.replace(old, new, 1))}"
    assert found.startswith(f"<stdin>:{line}:"), found
    assert "sk-secret" not in found


def test_all_faults_at_once() -> None:
    """Everything that is wrong with all of the files is told in one run, in the order in which it stands."""
    wrong = BACKEND.replace("port: 443", "prot: 443") + "---\n" + SECRET.replace("sk-secret", "$KEY")
    assert [problem.split(":")[1] for problem in problems(wrong)] == ["15", "22"]


def test_given_twice() -> None:
    """An object given twice is an error that names both places; with `last` the later one counts."""
    text = f"{SECRET}---\n{SECRET.replace('sk-secret', 'sk-other')}"
    (problem,) = problems(text)
    assert problem.startswith("<stdin>:8:1: error: Secret default/key: is given twice; the first is at <stdin>:1")
    objects = examine(text, last=True).objects
    assert [found.body["data"]["Authorization"] for found in objects if found.kind == "Secret"] == ["c2stb3RoZXI="]


def test_what_others_read_is_passed_over() -> None:
    """Kinds that are not read here are passed over with one warning a kind, and the rest is served."""
    deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
    examined = examine(f"{deployment}---\n{deployment.replace('a}', 'b}')}---\n{SECRET}")
    assert [str(warning) for warning in examined.warnings] == [
        "<stdin>:2:1: warning: Deployment a: kind: Deployment is passed over"
    ]


def test_a_kind_of_a_known_group() -> None:
    """A kind of a group that is read, and is not itself, is passed over in words of its own."""
    policy = "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: a}\n"
    (warning,) = examine(f"{policy}---\n{SECRET}").warnings
    assert warning.what == "TrafficPolicy is not supported yet; it is passed over"


@pytest.mark.parametrize("name", ["missing.yaml", "empty"])
def test_nothing_to_read(name: str, tmp_path: Path) -> None:
    """A file that is not there, and a folder without manifests, are errors: a slip in a path must not serve nothing."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        Manifests(Reading(paths=(str(tmp_path / name),))).examine()
    assert name in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n---\n"])
def test_no_object_at_all(text: str) -> None:
    """What made the manifests may have failed: no object is an error, as it is for kubectl."""
    (problem,) = problems(text)
    assert problem.startswith("--manifests: error: there is no object in them")


def test_not_yaml() -> None:
    """A text that is no YAML is told with its line; a text that is no object, too."""
    assert problems("a: [1\n")[0].startswith("<stdin>:2:1: error: this is not YAML")
    assert problems("- a\n")[0].startswith("<stdin>:1:1: error: this is no Kubernetes object")
