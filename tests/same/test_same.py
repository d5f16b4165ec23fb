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

_SEED = Path(__file__).parent.parent / "golden" / "kubernetes" / "seed"
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
    return msgspec.structs.replace(route, name="", backends=refs)


def _nameless(backend: Backend) -> Backend:
    return msgspec.structs.replace(backend, name="")


@pytest.mark.parametrize("provider", ["mistral", "deepseek"])
def test_same_route(provider: str) -> None:
    """Mistral and DeepSeek of the two pages are equal routes, apart from names."""
    documents = []
    for path in sorted(_SEED.glob(f"{provider}-*.yaml")):
        for each in objects(path.read_text()):
            body = {**each.body, "stringData": {"Authorization": "sk-x"}} if each.kind == "Secret" else each.body
            documents.append(from_body(body))
    kubernetes = translate(documents, Options(implicit_gateway=8080)).config
    standalone = load(_STANDALONE, "same.yaml", {"KEY": "sk-x"}, _SEED).config
    route = _route(kubernetes, provider)
    assert len(route.backends) == 1
    assert route == _route(standalone, provider)
