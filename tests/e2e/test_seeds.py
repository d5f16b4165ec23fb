"""Every configuration of the first seed as it stands under examples/, in front of a stand-in for its provider.

Nothing of a file is changed but the port of its bind. The provider's name leads to the stand-in through `--resolve`;
the stand-in's certificate is by a private CA that SSL_CERT_FILE names, so connecting, SNI and the check are real.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, command, environment
from tests.e2e.stand_in import USAGE, StandIn, completion
from tests.e2e.wire import Answer, events, post

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "sk-from-the-environment"
MESSAGES = [{"role": "user", "content": "Say hello."}]


class Seed(NamedTuple):
    """What the seed promises of one provider."""

    name: str
    host: str
    model: str
    path: str = "/v1/chat/completions"
    port: int = 443
    variable: str | None = None
    tls: bool = True

    @property
    def authority(self) -> str:
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        return (EXAMPLES / f"{self.name}.yaml").read_text()

    @property
    def env(self) -> dict[str, str]:
        return {self.variable: KEY} if self.variable else {}


SEEDS = [
    Seed("xai", "api.x.ai", "grok-2-latest", variable="XAI_API_KEY"),
    Seed("cohere", "api.cohere.ai", "command-r-plus", "/compatibility/v1/chat/completions", variable="COHERE_API_KEY"),
    Seed("ollama", "localhost", "llama3.2", port=11434, tls=False),
    Seed("together", "api.together.xyz", "meta-llama/Llama-3.2-90B-Vision-Instruct-Turbo", variable="TOGETHER_API_KEY"),
    Seed("groq", "api.groq.com", "llama-3.3-70b-versatile", "/openai/v1/chat/completions", variable="GROQ_API_KEY"),
    Seed("deepseek", "api.deepseek.com", "deepseek-chat", variable="DEEPSEEK_API_KEY"),
    Seed("mistral", "api.mistral.ai", "mistral-large-latest", variable="MISTRAL_API_KEY"),
    Seed("perplexity", "api.perplexity.ai", "llama-3.1-sonar-large-128k-online", variable="PERPLEXITY_API_KEY"),
    Seed(
        "fireworks",
        "api.fireworks.ai",
        "accounts/fireworks/models/llama-v3p1-70b-instruct",
        "/inference/v1/chat/completions",
        variable="FIREWORKS_API_KEY",
    ),
    Seed("vllm", "vllm-server.example.com", "meta-llama/Llama-3.1-8B-Instruct", port=8000),
    Seed("lmstudio", "localhost", "llama-3.2-3b-instruct", port=1234, tls=False),
    Seed("generic", "api.provider.example", "model-name", variable="PROVIDER_API_KEY"),
]

seeds = pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
keyed = pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed.variable], ids=lambda seed: seed.name)


def test_every_example_is_here() -> None:
    """No configuration of a single provider under examples/ is left out of this file's table."""
    of_several = {"failover", "llm"}  # tests/golden has them, and tests/http what they do
    assert {seed.name for seed in SEEDS} == {file.stem for file in EXAMPLES.glob("*.yaml")} - of_several


@seeds
def test_serves(seed: Seed, gateway: StartGateway, stand_in: StartStandIn, trust: dict[str, str]) -> None:
    """The provider gets its own name, path, key and model, and the client its answer, streamed and not."""
    provider = stand_in(seed.host) if seed.tls else stand_in()
    text = seed.text
    assert text.count("port: 3000\n") == 1, "the bind's port is the one thing replaced"
    running = gateway(
        text.replace("port: 3000\n", "port: $GATEWAY_PORT\n"),
        *provider.resolve(seed.host, seed.port),
        env=seed.env | trust,
    )
    check_plain(seed, running, provider)
    provider.forget()
    check_stream(seed, running, provider)
    assert "warn" not in running.log, "a configuration of the seed gives no cause for a warning"


@pytest.mark.parametrize("address", ["localhost:8000", "http://localhost:8000"])
def test_vllm_without_tls(address: str, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """As the seed's note on vLLM says: `http://localhost:8000`, and backendTLS left out."""
    seed = next(seed for seed in SEEDS if seed.name == "vllm")
    lines = [line for line in seed.text.splitlines() if "backendTLS" not in line]
    text = "\n".join(lines).replace("port: 3000", "port: $GATEWAY_PORT")
    text = text.replace("hostOverride: vllm-server.example.com:8000", f"hostOverride: {address}")
    text = text.replace("full: vllm-server.example.com:8000", "full: localhost:8000")
    provider = stand_in()
    running = gateway(text, *provider.resolve("localhost", 8000))
    local = seed._replace(host="localhost", tls=False)
    check_plain(local, running, provider)
    provider.forget()
    check_stream(local, running, provider)


@keyed
def test_needs_its_key(seed: Seed, tmp_path: Path) -> None:
    """Without its key's variable a file does not load: exit 1, with the variable, the line and the purpose named."""
    file = EXAMPLES / f"{seed.name}.yaml"
    line = next(number for number, text in enumerate(seed.text.splitlines(), 1) if "$" + str(seed.variable) in text)
    for words in ([], ["--validate-only"]):
        done = subprocess.run(
            command("-f", str(file), *words),
            env=environment({}, tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done
        assert done.stdout == "", done
        for part in (f"{seed.name}.yaml:{line}:", str(seed.variable), "backendAuth.key"):
            assert part in done.stderr, f"{part!r} is missing in {done.stderr!r}"


def check_plain(seed: Seed, gateway: Gateway, provider: StandIn) -> None:
    body = {"model": "whatever", "messages": MESSAGES, "temperature": 0.5}
    answer = chat(gateway, body)
    seen = check_seen(seed, provider)
    assert json.loads(seen) == {**body, "model": seed.model}
    assert seen == json.dumps({**body, "model": seed.model}, separators=(",", ":")).encode(), "no other byte changes"
    assert answer.status == 200
    assert answer["content-type"] == "application/json"
    assert answer.json() == completion()


def check_stream(seed: Seed, gateway: Gateway, provider: StandIn) -> None:
    body: dict[str, Any] = {"model": "whatever", "messages": MESSAGES, "stream": True}
    answer = chat(gateway, body)
    sent = json.loads(check_seen(seed, provider))
    assert sent == {**body, "model": seed.model, "stream_options": {"include_usage": True}}
    assert answer.status == 200
    assert answer["content-type"] == "text/event-stream"
    assert answer.complete, "the stream ends properly"
    *chunks, last = events(answer.body)
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["Hello", " there"]
    assert last == "[DONE]"
    line = gateway.request_line("/v1/chat/completions", 2)
    assert f"gen_ai.usage.output_tokens={USAGE['completion_tokens']}" in line, "the usage reaches the log all the same"


def chat(gateway: Gateway, body: dict[str, Any]) -> Answer:
    """As any OpenAI client does it: a key of its own, and the path under /v1."""
    return post(gateway.port, "/v1/chat/completions", body, {"Authorization": "Bearer sk-of-the-client"})


def check_seen(seed: Seed, provider: StandIn) -> bytes:
    seen = provider.one
    assert seen.line == f"POST {seed.path} HTTP/1.1"
    assert seen["host"] == seed.authority
    assert seen.tls == seed.tls
    assert seen.sni == (seed.host if seed.tls else None)
    credentials = [text for name, text in seen.headers if name.lower() == "authorization"]
    assert credentials == [f"Bearer {KEY if seed.variable else 'sk-of-the-client'}"]
    assert seen["content-type"] == "application/json"
    return seen.body
