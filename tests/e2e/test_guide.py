"""Every configuration of agentgateway's standalone guide to OpenAI-compatible providers, as it stands under examples/.

Each is in front of a stand-in for its provider. Nothing of a file is changed but the port of its bind. The provider's
name leads to the stand-in through `--resolve`; the stand-in's certificate is by a private CA that SSL_CERT_FILE names,
so connecting, SNI and the check are real.
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

FOLDER = Path(__file__).parents[2] / "examples"
KEY = "sk-from-the-environment"
MESSAGES = [{"role": "user", "content": "Say hello."}]


class Example(NamedTuple):
    """What the guide promises of one provider."""

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
        return (FOLDER / f"{self.name}.yaml").read_text()

    @property
    def env(self) -> dict[str, str]:
        return {self.variable: KEY} if self.variable else {}


EXAMPLES = [
    Example("xai", "api.x.ai", "grok-2-latest", variable="XAI_API_KEY"),
    Example(
        "cohere", "api.cohere.ai", "command-r-plus", "/compatibility/v1/chat/completions", variable="COHERE_API_KEY"
    ),
    Example("ollama", "localhost", "llama3.2", port=11434, tls=False),
    Example(
        "together", "api.together.xyz", "meta-llama/Llama-3.2-90B-Vision-Instruct-Turbo", variable="TOGETHER_API_KEY"
    ),
    Example("groq", "api.groq.com", "llama-3.3-70b-versatile", "/openai/v1/chat/completions", variable="GROQ_API_KEY"),
    Example("deepseek", "api.deepseek.com", "deepseek-chat", variable="DEEPSEEK_API_KEY"),
    Example("mistral", "api.mistral.ai", "mistral-large-latest", variable="MISTRAL_API_KEY"),
    Example("perplexity", "api.perplexity.ai", "llama-3.1-sonar-large-128k-online", variable="PERPLEXITY_API_KEY"),
    Example(
        "fireworks",
        "api.fireworks.ai",
        "accounts/fireworks/models/llama-v3p1-70b-instruct",
        "/inference/v1/chat/completions",
        variable="FIREWORKS_API_KEY",
    ),
    Example("vllm", "vllm-server.example.com", "meta-llama/Llama-3.1-8B-Instruct", port=8000),
    Example("lmstudio", "localhost", "llama-3.2-3b-instruct", port=1234, tls=False),
    Example("generic", "api.provider.example", "model-name", variable="PROVIDER_API_KEY"),
]

examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
keyed = pytest.mark.parametrize("example", [each for each in EXAMPLES if each.variable], ids=lambda each: each.name)


def test_every_example_is_here() -> None:
    """No configuration of a single provider under examples/ is left out of this file's table."""
    of_several = {"failover", "llm"}  # tests/golden has them, and tests/http what they do
    assert {each.name for each in EXAMPLES} == {file.stem for file in FOLDER.glob("*.yaml")} - of_several


@examples
def test_serves(example: Example, gateway: StartGateway, stand_in: StartStandIn, trust: dict[str, str]) -> None:
    """The provider gets its own name, path, key and model, and the client its answer, streamed and not."""
    provider = stand_in(example.host) if example.tls else stand_in()
    text = example.text
    assert text.count("port: 3000\n") == 1, "the bind's port is the one thing replaced"
    running = gateway(
        text.replace("port: 3000\n", "port: $GATEWAY_PORT\n"),
        *provider.resolve(example.host, example.port),
        env=example.env | trust,
    )
    check_plain(example, running, provider)
    provider.forget()
    check_stream(example, running, provider)
    assert "warn" not in running.log, "a configuration of the guide gives no cause for a warning"


@pytest.mark.parametrize("address", ["localhost:8000", "http://localhost:8000"])
def test_vllm_without_tls(address: str, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """As the guide's note on vLLM says: `http://localhost:8000`, and backendTLS left out."""
    example = next(each for each in EXAMPLES if each.name == "vllm")
    lines = [line for line in example.text.splitlines() if "backendTLS" not in line]
    text = "\n".join(lines).replace("port: 3000", "port: $GATEWAY_PORT")
    text = text.replace("hostOverride: vllm-server.example.com:8000", f"hostOverride: {address}")
    text = text.replace("full: vllm-server.example.com:8000", "full: localhost:8000")
    provider = stand_in()
    running = gateway(text, *provider.resolve("localhost", 8000))
    local = example._replace(host="localhost", tls=False)
    check_plain(local, running, provider)
    provider.forget()
    check_stream(local, running, provider)


@keyed
def test_needs_its_key(example: Example, tmp_path: Path) -> None:
    """Without its key's variable a file does not load: exit 1, with the variable, the line and the purpose named."""
    file = FOLDER / f"{example.name}.yaml"
    line = next(
        number for number, text in enumerate(example.text.splitlines(), 1) if "$" + str(example.variable) in text
    )
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
        for part in (f"{example.name}.yaml:{line}:", str(example.variable), "backendAuth.key"):
            assert part in done.stderr, f"{part!r} is missing in {done.stderr!r}"


def check_plain(example: Example, gateway: Gateway, provider: StandIn) -> None:
    body = {"model": "whatever", "messages": MESSAGES, "temperature": 0.5}
    answer = chat(gateway, body)
    seen = check_seen(example, provider)
    assert json.loads(seen) == {**body, "model": example.model}
    assert seen == json.dumps({**body, "model": example.model}, separators=(",", ":")).encode(), "no other byte changes"
    assert answer.status == 200
    assert answer["content-type"] == "application/json"
    assert answer.json() == completion()


def check_stream(example: Example, gateway: Gateway, provider: StandIn) -> None:
    body: dict[str, Any] = {"model": "whatever", "messages": MESSAGES, "stream": True}
    answer = chat(gateway, body)
    sent = json.loads(check_seen(example, provider))
    assert sent == {**body, "model": example.model, "stream_options": {"include_usage": True}}
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


def check_seen(example: Example, provider: StandIn) -> bytes:
    seen = provider.one
    assert seen.line == f"POST {example.path} HTTP/1.1"
    assert seen["host"] == example.authority
    assert seen.tls == example.tls
    assert seen.sni == (example.host if example.tls else None)
    credentials = [text for name, text in seen.headers if name.lower() == "authorization"]
    assert credentials == [f"Bearer {KEY if example.variable else 'sk-of-the-client'}"]
    assert seen["content-type"] == "application/json"
    return seen.body
