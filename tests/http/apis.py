"""What tests of translation share: a call and an answer of each API, and providers that speak one of them."""

from __future__ import annotations

import json
from typing import Any

from tests.http.calls import call
from torana.model.backend import Backend, Format, Provider, ProviderKind, Target

MESSAGES = b"/v1/messages?beta=true"
COUNT = b"/v1/messages/count_tokens"
CHAT = b"/v1/chat/completions"
ANTHROPIC_HEAD = b"Content-Type: application/json\r\nAnthropic-Version: 2023-06-01\r\nAnthropic-Beta: x\r\n"

ASKED: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 9,
    "system": "Be kind.",
    "top_k": 3,
    "messages": [{"role": "user", "content": "Hi"}],
}
CHAT_ASKED: dict[str, Any] = {"model": "gpt", "seed": 1, "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION: dict[str, Any] = {
    "id": "c1",
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-1",
    "content": [{"type": "text", "text": "Ho"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
HELLO = b'data: {"model":"m1","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def post(value: dict[str, Any], path: bytes = MESSAGES, fields: bytes = ANTHROPIC_HEAD) -> bytes:
    return call(encoded(value), path, fields)


def openai(port: int, **members: Any) -> Backend:
    return Backend(f"openai{port}", Target("127.0.0.1", port), provider=Provider(ProviderKind.OPENAI), **members)


def anthropic(port: int, **members: Any) -> Backend:
    return Backend(f"anthropic{port}", Target("127.0.0.1", port), provider=Provider(ProviderKind.ANTHROPIC), **members)


def chat_only(port: int) -> Backend:
    provider = Provider(ProviderKind.CUSTOM, formats=(Format("chat_completions"),))
    return Backend("chat", Target("127.0.0.1", port), provider=provider)


def events(body: bytes) -> list[Any]:
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ") and line != "data: [DONE]"]
    return [json.loads(line) for line in lines]
