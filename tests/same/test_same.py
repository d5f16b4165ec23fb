"""The same provider, written in both dialects, compiles to the same route."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.unit.kubernetes.manifests import from_body, objects
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.translate import translate
from torana.config.standalone.load import load
from torana.model.backend import Backend
from torana.model.config import Config
from torana.model.route import Route

_GUIDE = Path(__file__).parent.parent / "golden" / "kubernetes" / "guide"
_STANDALONE = """
binds:
- port: 8080
  listeners:
  - routes:
    - name: mistral
      matches:
      - path: {pathPrefix: /mistral}
      policies:
        urlRewrite: {authority: {full: api.mistral.ai}}
        backendTLS: {}
        backendAuth: {key: $KEY}
      backends:
      - ai:
          name: mistral
          hostOverride: api.mistral.ai:443
          pathOverride: /v1/chat/completions
          provider: {openAI: {model: mistral-medium-2505}}
    - name: deepseek
      matches:
      - path: {pathPrefix: /deepseek}
      policies:
        backendTLS: {}
        backendAuth: {key: $KEY}
      backends:
      - ai:
          name: deepseek
          hostOverride: api.deepseek.com:443
          pathOverride: /v1/chat/completions
          provider: {openAI: {model: deepseek-chat}}
"""


def _route(config: Config, provider: str) -> Route:
    """The route of a provider, without the names that each dialect makes in its own way."""
    routes = config.binds[0].listeners[0].routes
    route = next(route for route in routes if provider in route.name)
    refs = tuple(
        msgspec.structs.replace(ref, groups=tuple(tuple(map(_nameless, group)) for group in ref.groups))
        for ref in route.backends
    )
    mirrors = tuple(msgspec.structs.replace(each, backend=_nameless(each.backend)) for each in route.mirrors)
    return msgspec.structs.replace(route, name="", backends=refs, mirrors=mirrors)


def _nameless(backend: Backend) -> Backend:
    return msgspec.structs.replace(backend, name="")


@pytest.mark.parametrize("provider", ["mistral", "deepseek"])
def test_same_route(provider: str) -> None:
    """Mistral and DeepSeek of the two guides are equal routes, apart from names."""
    documents = []
    for path in sorted(_GUIDE.glob(f"{provider}-*.yaml")):
        for each in objects(path.read_text()):
            body = {**each.body, "stringData": {"Authorization": "sk-x"}} if each.kind == "Secret" else each.body
            documents.append(from_body(body))
    kubernetes = translate(documents, Options(implicit_gateway=8080)).config
    standalone = load(_STANDALONE, "same.yaml", {"KEY": "sk-x"}, _GUIDE).config
    route = _route(kubernetes, provider)
    assert len(route.backends) == 1
    assert route == _route(standalone, provider)


# --- What keeps traffic flowing -------------------------------------------------------------------------------------

_RULE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: models}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - matches: [{path: {value: /models}}]
    retry: {codes: [500, 503], attempts: 3, backoff: 100ms}
    timeouts: {request: 10s, backendRequest: 2s}
    filters:
    - type: RequestMirror
      requestMirror: {percent: 25, backendRef: {group: gateway.kgateway.dev, kind: Backend, name: copy}}
    backendRefs: [{group: %s, kind: %s, name: models}]
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {name: copy}
spec: {type: Static, static: {hosts: [{host: copy.example.com, port: 8080}]}}
---
"""
_KGATEWAY = (
    _RULE % ("gateway.kgateway.dev", "Backend")
    + """
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {name: models}
spec:
  type: AI
  ai:
    priorityGroups:
    - providers:
      - name: near
        openai: {authToken: {kind: Inline, inline: sk-x}, model: a}
        host: near.example.com
        port: 8000
        path: {full: /v1/chat/completions}
      - name: far
        openai: {authToken: {kind: Passthrough}, model: a}
        host: far.example.com
        port: 8000
        path: {full: /v1/chat/completions}
    - providers:
      - name: last
        openai: {authToken: {kind: Inline, inline: sk-x}, model: b}
        host: last.example.com
        port: 8000
        path: {full: /v1/chat/completions}
"""
)
_POLICIES = """
  policies:
    health:
      unhealthyCondition: response.code >= 500
      eviction: {duration: 10s, consecutiveFailures: 5, healthThreshold: 40, restoreHealth: 50}
    http: {requestTimeout: 30s}
    tcp: {connectTimeout: 2s, keepalive: {time: 60s, interval: 30s, retries: 3}}
"""
_AGENTGATEWAY = (
    _RULE % ("agentgateway.dev", "AgentgatewayBackend")
    + """
apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayBackend
metadata: {name: models}
spec:
  ai:
    groups:
    - providers:
      - name: near
        openai: {model: a}
        host: near.example.com
        port: 8000
        path: /v1/chat/completions
        policies: {auth: {key: sk-x}}
      - {name: far, openai: {model: a}, host: far.example.com, port: 8000, path: /v1/chat/completions}
    - providers:
      - name: last
        openai: {model: b}
        host: last.example.com
        port: 8000
        path: /v1/chat/completions
        policies: {auth: {key: sk-x}}
"""
)
_FILE = """
binds:
- port: 8080
  listeners:
  - routes:
    - name: models
      matches: [{path: {pathPrefix: /models}}]
      policies:
        retry: {codes: [500, 503], attempts: 3, backoff: 100ms}
        timeout: {requestTimeout: 10s, backendRequestTimeout: 2s}
        requestMirror: {percentage: 0.25, backend: {host: copy.example.com:8080}}
      backends:
      - POLICIES
        ai:
          groups:
          - providers:
            - name: near
              provider: {openAI: {model: a}}
              hostOverride: near.example.com:8000
              pathOverride: /v1/chat/completions
              policies: {backendAuth: {key: sk-x}}
            - name: far
              provider: {openAI: {model: a}}
              hostOverride: far.example.com:8000
              pathOverride: /v1/chat/completions
          - providers:
            - name: last
              provider: {openAI: {model: b}}
              hostOverride: last.example.com:8000
              pathOverride: /v1/chat/completions
              policies: {backendAuth: {key: sk-x}}
"""
_FILE_POLICIES = """policies:
          health:
            unhealthyExpression: response.code >= 500
            eviction: {duration: 10s, consecutiveFailures: 5, healthThreshold: 0.4, restoreHealth: 0.5}
          http: {requestTimeout: 30s}
          tcp: {connectTimeout: 2s, keepalives: {time: 60s, interval: 30s, retries: 3}}
"""


@pytest.mark.parametrize(
    ("manifests", "file_policies"),
    [(_KGATEWAY, "weight: 1"), (_AGENTGATEWAY, "weight: 1"), (_AGENTGATEWAY + _POLICIES, _FILE_POLICIES)],
    ids=["kgateway", "agentgateway", "agentgateway with policies"],
)
def test_same_traffic(manifests: str, file_policies: str) -> None:
    """Groups of providers, retries, timeouts, mirrors and what a backend says of its health are equal routes."""
    kubernetes = translate(objects(manifests), Options(implicit_gateway=8080))
    assert [str(problem) for problem in kubernetes.problems if "is absent" not in problem.what] == []
    standalone = load(_FILE.replace("POLICIES", file_policies), "same.yaml", {}, _GUIDE).config
    route = _route(kubernetes.config, "models")
    assert [len(group) for group in route.backends[0].groups] == [2, 1]
    assert route == _route(standalone, "models")
