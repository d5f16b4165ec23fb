"""localRateLimit from the file to the SDK."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.e2e.conftest import StartGateway
from tests.e2e.routes import ai_route, bind
from tests.e2e.simulator import HELLO, Simulator, simulating, stream_of

TOKENS = "localRateLimit: [{maxTokens: 4, tokensPerFill: 4, fillInterval: 1h, type: tokens, key: apiKey}]"
REQUESTS = "localRateLimit: [{maxTokens: 6, tokensPerFill: 3, fillInterval: 1h}]"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulating() as running:
        yield running


def limited(policies: str, simulator: Simulator) -> str:
    return bind([ai_route("up", f'hostOverride: "127.0.0.1:{simulator.port}"', policies, matches="{}")])


def client(port: int, key: str = "sk-a") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout=30)


def test_all_workers_together(gateway: StartGateway, simulator: Simulator) -> None:
    """Whichever worker a client meets, it gets what the file says and no more, then the SDK's RateLimitError."""
    running = gateway(limited(REQUESTS, simulator), workers=2)
    left = []
    refused: list[openai.RateLimitError] = []
    for _ in range(12):
        with client(running.port) as one:  # a connection of its own, which the kernel gives to either worker
            try:
                answer = one.chat.completions.with_raw_response.create(model="m", messages=HELLO, max_tokens=1)
            except openai.RateLimitError as error:
                refused.append(error)
            else:
                left.append(answer.headers["x-ratelimit-remaining"])
    assert left == ["5", "4", "3", "2", "1", "0"]
    assert len(refused) == 6
    assert (refused[0].code, refused[0].type) == ("rate_limit_exceeded", "rate_limit_error")
    assert "6 requests, 3 more every 3600 s" in refused[0].message
    assert 3500 <= int(refused[0].response.headers["retry-after"]) <= 3600
    assert 'reason="RateLimit"' in running.metrics()


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_of_each_key(gateway: StartGateway, simulator: Simulator, stream: bool) -> None:
    """A key that has used its tokens is refused, whether it streams or not; another is served."""
    running = gateway(limited(TOKENS, simulator))

    def ask(key: str) -> None:
        with client(running.port, key) as one:
            if stream:
                stream_of(one)
            else:
                one.chat.completions.create(model="m", messages=HELLO, max_tokens=3)

    ask("sk-a")
    running.wait_for_log("gen_ai.usage.output_tokens")  # the stream has ended for the gateway too
    with pytest.raises(openai.RateLimitError, match="4 tokens, 4 more every 3600 s, for each API key"):
        ask("sk-a")
    ask("sk-b")
