"""Every provider preset of `llm:`, by every API that clients speak, in front of a stand-in under the provider's name.

One gateway serves them all. The names lead to the stand-ins through `--resolve`; what is not on this machine has a
certificate by a private CA that SSL_CERT_FILE names, so connecting, SNI and the check are real.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.provider import MESSAGE, RERANKED, RESPONSE, VECTORS, serve
from tests.e2e.stand_in import Seen, StandIn, completion
from tests.e2e.wire import post, values
from torana.llm.providers import PROVIDERS

KEY = "sk-from-the-environment"
CLIENT_KEY = "sk-of-the-client"
HELLO = [{"role": "user", "content": "Say hello."}]
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"

BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO},
    RESPONSES: {"input": "Say hello."},
    MESSAGES: {"messages": HELLO, "max_tokens": 9},
    EMBEDDINGS: {"input": "Say hello."},
    RERANK: {"query": "hello", "documents": ["a", "b"]},
}
"""What a client of each API sends, its model aside."""

ANSWERS = {CHAT: completion(), RESPONSES: RESPONSE, MESSAGES: MESSAGE, EMBEDDINGS: VECTORS, RERANK: RERANKED}
"""What the stand-in answers where the provider is asked in the client's own words."""


class Preset(NamedTuple):
    """What is known of a provider. `native` has what it serves, and where; it is asked in these words only.

    `translated` has what is asked in others: the path it then goes to.
    """

    name: str
    host: str
    native: dict[str, str]
    translated: dict[str, str]
    port: int = 443
    tls: bool = True
    key_header: str = "authorization"
    base_url: str | None = None

    @property
    def authority(self) -> str:
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    @property
    def credential(self) -> str:
        return KEY if self.key_header == "x-api-key" else f"Bearer {KEY}"


def preset(name: str, host: str, paths: dict[str, str], **more: Any) -> Preset:
    """One that serves chat completions: the APIs that it has not are translated into these."""
    translated = {path: paths[CHAT] for path in (RESPONSES, MESSAGES) if path not in paths}
    return Preset(name, host, paths, translated, **more)


def under(base: str, *paths: str) -> dict[str, str]:
    """`/v1` of the client's path is `base` there."""
    return {path: base + path.removeprefix("/v1") for path in paths}


PRESETS = [
    preset("openAI", "api.openai.com", under("/v1", CHAT, RESPONSES, EMBEDDINGS, RERANK)),
    Preset(
        "anthropic", "api.anthropic.com", {MESSAGES: "/v1/messages"}, {CHAT: "/v1/messages"}, key_header="x-api-key"
    ),
    preset("baseten", "inference.baseten.co", under("/v1", CHAT, MESSAGES)),
    preset("cerebras", "api.cerebras.ai", under("/v1", CHAT)),
    preset("cohere", "api.cohere.ai", under("/compatibility/v1", CHAT, EMBEDDINGS) | {RERANK: "/v2/rerank"}),
    preset(
        "deepinfra",
        "api.deepinfra.com",
        under("/v1/openai", CHAT, EMBEDDINGS) | {MESSAGES: "/anthropic/v1/messages"},
    ),
    preset("deepseek", "api.deepseek.com", under("/v1", CHAT, RESPONSES) | {MESSAGES: "/anthropic/v1/messages"}),
    preset("fireworks", "api.fireworks.ai", under("/inference/v1", CHAT, MESSAGES, RESPONSES, EMBEDDINGS, RERANK)),
    preset("groq", "api.groq.com", under("/openai/v1", CHAT, RESPONSES)),
    preset("huggingface", "router.huggingface.co", under("/v1", CHAT, RESPONSES)),
    preset("lmstudio", "localhost", under("/v1", CHAT, RESPONSES, EMBEDDINGS), port=1234, tls=False),
    preset("mistral", "api.mistral.ai", under("/v1", CHAT, EMBEDDINGS)),
    preset("ollama", "localhost", under("/v1", CHAT, RESPONSES, EMBEDDINGS), port=11434, tls=False),
    preset("openrouter", "openrouter.ai", under("/api/v1", CHAT, MESSAGES, RESPONSES, EMBEDDINGS, RERANK)),
    preset(
        "perplexity",
        "api.perplexity.ai",
        under("/v1", RESPONSES, EMBEDDINGS) | {CHAT: "/chat/completions"},
    ),
    preset("togetherai", "api.together.xyz", under("/v1", CHAT, EMBEDDINGS, RERANK)),
    preset(
        "vllm",
        "localhost",
        under("/v1", CHAT, RESPONSES, EMBEDDINGS, RERANK),
        port=8000,
        tls=False,
        base_url="http://localhost:8000/v1",
    ),
    preset("xai", "api.x.ai", under("/v1", CHAT, RESPONSES)),
]

presets = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
apis = pytest.mark.parametrize("path", BODIES, ids=lambda path: path.removeprefix("/v1/"))


def config() -> str:
    """A model for each preset, under its name, with nothing said that the preset knows."""
    lines = ["llm:", "  port: $GATEWAY_PORT", "  models:"]
    for each in PRESETS:
        base = f", baseUrl: '{each.base_url}'" if each.base_url else ""
        lines += [
            f"  - name: my-{each.name}",
            f"    provider: {each.name}",
            f"    params: {{model: their-{each.name}, apiKey: $PROVIDER_KEY{base}}}",
        ]
    return "\n".join(lines) + "\n"


class World(NamedTuple):
    """The gateway before all of them, and the stand-ins by whether they speak TLS."""

    gateway: Gateway
    stand_ins: dict[bool, StandIn]

    def ask(self, path: str, model: str) -> Any:
        """The answer to the client of an API, who has a key of its own where that API has it."""
        for stand_in in self.stand_ins.values():
            stand_in.forget()
            stand_in.script = serve
        key = {"x-api-key": CLIENT_KEY} if path == MESSAGES else {"Authorization": f"Bearer {CLIENT_KEY}"}
        return post(self.gateway.port, path, {"model": model, **BODIES[path]}, key)


@pytest.fixture(scope="module")
def world(shared_gateway: StartGateway, shared_stand_in: StartStandIn, trust: dict[str, str]) -> World:
    stand_ins = {
        True: shared_stand_in(*(each.host for each in PRESETS if each.tls)),
        False: shared_stand_in(),
    }
    ways = [word for each in PRESETS for word in stand_ins[each.tls].resolve(each.host, each.port)]
    return World(shared_gateway(config(), *ways, env={"PROVIDER_KEY": KEY, **trust}), stand_ins)


def test_every_preset_is_here() -> None:
    """No provider is left out of this file's table but `custom`, which has no name of its own."""
    assert {each.name.lower() for each in PRESETS} == {kind.value.lower() for kind in PROVIDERS} - {"custom"}


@presets
@apis
def test_reaches_its_provider(preset: Preset, path: str, world: World) -> None:
    """A call goes to the provider's own host, path and model with its key; in other words only where it must."""
    answer = world.ask(path, f"my-{preset.name}")
    expected = preset.native.get(path) or preset.translated.get(path)
    if expected is None:
        assert answer.status == 400
        assert not any(stand_in.seen for stand_in in world.stand_ins.values()), "nobody is asked in vain"
        return
    assert answer.status == 200, answer
    seen = world.stand_ins[preset.tls].one
    check_seen(seen, preset, expected)
    if path in preset.native:
        assert seen.json() == {**BODIES[path], "model": f"their-{preset.name}"}
        assert answer.json() == ANSWERS[path], "an answer in the client's own words is passed on as it is"
    else:
        assert seen.json()["messages"], "the same question in the provider's words"
        assert json.loads(answer.body).keys() >= shape_of(path)


def check_seen(seen: Seen, preset: Preset, path: str) -> None:
    assert seen.line == f"POST {path} HTTP/1.1"
    assert seen["host"] == preset.authority
    assert seen.tls == preset.tls
    assert seen.sni == (preset.host if preset.tls else None)
    assert values(seen.headers, preset.key_header) == [preset.credential]
    assert CLIENT_KEY not in str(seen.headers), "the client's own key stays with the gateway"
    assert seen["content-type"] == "application/json"
    assert seen.json()["model"] == f"their-{preset.name}"
    assert (seen["anthropic-version"] is not None) == (preset.name == "anthropic")


def shape_of(path: str) -> set[str]:
    """Members that only an answer of this API has."""
    return {CHAT: {"choices", "object"}, RESPONSES: {"output", "object"}, MESSAGES: {"content", "stop_reason"}}[path]
