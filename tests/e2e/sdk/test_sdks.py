"""Official SDKs, each in its own environment, against a real model: directly as the control, then through the gateway.

The gateway's configuration names the model and holds the model server's key, and the clients have neither: an answer
proves that both were put in.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import pytest

from tests.e2e.conftest import Model, StartStandIn
from tests.e2e.provider import serve
from tests.e2e.sdk.environments import (
    AI,
    CHATTING,
    COHERE,
    GROQ,
    MISTRAL,
    OPENAI,
    OPENAI_JS,
    PERPLEXITY,
    TOGETHER,
    Sdk,
    prepare,
)
from tests.e2e.simulator import simulating

# An environment that `make sdks` did not prepare is made by the first test that wants it.
pytestmark = [pytest.mark.sdk, pytest.mark.timeout(600)]

_CALL_SECONDS = 200


class Gateway(Protocol):
    """A running gateway; `base_url` is its origin, as http://127.0.0.1:PORT."""

    base_url: str


StartGateway = Callable[[str], Gateway]


class Paths(NamedTuple):
    """What the SDK wants behind the origin as its base URL, and the rewriting its own paths need to reach the model."""

    base: str = ""
    rewritten: str | None = None


PATHS = {
    OPENAI: Paths(base="/v1"),
    OPENAI_JS: Paths(base="/v1"),
    AI: Paths(base="/v1"),
    MISTRAL: Paths(),
    TOGETHER: Paths(),
    GROQ: Paths(rewritten="/v1/chat/completions"),  # it calls /openai/v1/chat/completions
    PERPLEXITY: Paths(rewritten="/v1/chat/completions"),  # it calls /chat/completions
}


def config(model: Model, rewritten: str | None = None, key: str | None = None) -> str:
    """A gateway in front of the model. $GATEWAY_PORT is the port that the `gateway` fixture found free."""
    path = f"path: {{full: {rewritten}}}" if rewritten else ""
    auth = f"backendAuth: {{key: {key}}}" if key else ""
    return f"""
binds:
- port: $GATEWAY_PORT
  listeners:
  - routes:
    - matches:
      - path: {{pathPrefix: /v1/}}
      - path: {{exact: /openai/v1/chat/completions}}
      - path: {{exact: /chat/completions}}
      policies:
        urlRewrite:
          authority: {{full: {model.authority}}}
          {path}
        {auth}
      backends:
      - ai:
          name: local
          hostOverride: {model.authority}
          provider:
            openAI:
              model: {model.name}
"""


def call(sdk: Sdk, base_url: str, api_key: str, model: str, *calls: str) -> dict[str, Any]:
    """Run the SDK's client script for these calls; one result for each."""
    # Nothing else of our environment: a key or a proxy in it must not change what an SDK does.
    env = {"PATH": os.environ["PATH"], "BASE_URL": base_url, "API_KEY": api_key, "MODEL": model}
    done = subprocess.run(
        [*prepare(sdk), *calls], env=env, capture_output=True, text=True, timeout=_CALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"{sdk}: {done.stderr}"
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def check_chat(results: dict[str, Any], plain: str = "plain", stream: str = "stream") -> None:
    assert results[plain].get("text"), results[plain]
    assert results[plain]["model"] == "smollm2"
    assert results[plain]["tokens"] > 0
    assert results[stream].get("pieces", 0) > 1, results[stream]
    assert results[stream]["finish"] in {"stop", "length"}


@pytest.mark.parametrize("sdk", [sdk for sdk in CHATTING if sdk is not GROQ], ids=str)
def test_reaches_the_model_directly(sdk: Sdk, model_server: Model) -> None:
    """The control: without a gateway the SDK gets its answers, so what fails below is the gateway's doing.

    Not Groq's: its path, /openai/v1/chat/completions, exists on no server but Groq's.
    """
    base_url = model_server.origin + PATHS[sdk].base
    check_chat(call(sdk, base_url, model_server.api_key, model_server.name, "plain", "stream"))


@pytest.mark.parametrize("sdk", CHATTING, ids=str)
def test_chats_through_the_gateway(sdk: Sdk, model_server: Model, gateway: StartGateway) -> None:
    """With the gateway's origin as base URL and a key and model of no worth, the SDK gets its answers all the same."""
    running = gateway(config(model_server, PATHS[sdk].rewritten, key=model_server.api_key))
    check_chat(call(sdk, running.base_url + PATHS[sdk].base, "sk-worthless", "another-model", "plain", "stream"))


def test_openai_asynchronous(model_server: Model, gateway: StartGateway) -> None:
    """The asynchronous client gets the same as the synchronous one."""
    running = gateway(config(model_server, key=model_server.api_key))
    results = call(OPENAI, f"{running.base_url}/v1", "sk-worthless", "another", "async_plain", "async_stream")
    check_chat(results, "async_plain", "async_stream")


def test_openai_leaves_mid_stream(model_server: Model, gateway: StartGateway) -> None:
    """A client that hangs up in the middle of a long answer leaves a gateway and a model that serve the next one."""
    running = gateway(config(model_server, key=model_server.api_key))
    results = call(OPENAI, f"{running.base_url}/v1", "sk-worthless", "another", "leave", "leave", "leave", "plain")
    assert results["leave"] == {"chunks": 2}
    assert results["plain"].get("text"), results["plain"]


def test_openai_lists_models(model_server: Model, gateway: StartGateway) -> None:
    """A call without a body, to another path of the provider, goes through as well."""
    running = gateway(config(model_server, key=model_server.api_key))
    assert call(OPENAI, f"{running.base_url}/v1", "sk-worthless", "another", "models") == {"models": ["smollm2"]}


def test_openai_error_classes(model_server: Model, gateway: StartGateway) -> None:
    """The provider's 401 and the gateway's own 404 raise the SDK's class for each, with a message to read.

    Here the gateway holds no key: the client's own passes through, and only the right one gets an answer.
    """
    running = gateway(config(model_server))
    results = call(OPENAI, f"{running.base_url}/v1", model_server.api_key, "another", "plain", "wrong_key")
    assert results["plain"].get("text"), results["plain"]
    assert results["wrong_key"]["error"] == "AuthenticationError"
    assert "Invalid API Key" in results["wrong_key"]["message"]

    results = call(OPENAI, f"{running.base_url}/v2", model_server.api_key, "another", "plain")
    assert results["plain"]["error"] == "NotFoundError"
    assert "/v2/chat/completions" in results["plain"]["message"], "the gateway's 404 says what it looked for"


def test_ai_runs_tools(gateway: StartGateway) -> None:
    """The AI SDK's loop, whole and streamed, runs its tool and gets a text for the result."""
    with simulating("--api-key", "sk-of-the-gateway") as simulator:
        running = gateway(models("agent", "openAI", f"http://127.0.0.1:{simulator.port}/v1"))
        results = call(AI, f"{running.base_url}/v1", "sk-worthless", "agent", "tools", "tools_stream")
    for result in results.values():
        assert result.get("results") == ["sunny in Paris"], result
        assert result["text"]


def test_cohere_reranks(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """Cohere's SDK calls either version of its path; both lead to the one that the provider has."""
    provider = stand_in()
    provider.script = serve
    running = gateway(models("rerank-v3.5", "cohere", f"http://127.0.0.1:{provider.port}"))
    results = call(COHERE, running.base_url, "sk-worthless", "rerank-v3.5", "rerank", "rerank_v2")
    assert list(results.values()) == [{"order": [1, 0], "scores": [0.9, 0.1]}] * 2
    for seen in provider.seen:
        assert seen.line == "POST /v2/rerank HTTP/1.1"
        assert seen["authorization"] == "Bearer sk-of-the-gateway"
        assert seen.json()["documents"] == ["a", "b"]


def models(name: str, provider: str, base_url: str) -> str:
    """A gateway in the `llm:` form with one model."""
    return f"""
llm:
  port: $GATEWAY_PORT
  models:
  - name: {name}
    provider: {provider}
    params: {{baseUrl: "{base_url}", apiKey: sk-of-the-gateway}}
"""
