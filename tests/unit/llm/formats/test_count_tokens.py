"""The estimate of a request's tokens, for a client whose provider does not count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import MessageTokensCount

from torana.errors import GatewayError, Reason
from torana.llm.formats.count_tokens import count_tokens

TEXT = {"type": "text", "text": "x" * 40}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x" * 90_000}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({}, 0),
        ({"messages": []}, 0),
        (said(""), 4),
        (said("a"), 5),
        (said("x" * 40), 14),
        (said("\N{HIRAGANA LETTER A}" * 40), 34),
        (said([TEXT, {**TEXT, "cache_control": {"type": "ephemeral"}}]), 24),
        ({"system": "x" * 40}, 10),
        ({"system": [TEXT, TEXT], **said("")}, 24),
        (said([IMAGE]), 1_604),
        (said([{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]), 1_604),
        (said([{"type": "document", "source": {"type": "base64", "data": "x" * 4_000}}]), 104),
        (said([{"type": "document", "title": "abcd", "source": {"type": "text", "data": "abcd"}}]), 6),
        (said([{"type": "tool_use", "id": "t" * 99, "name": "f", "input": {"a": 1}}]), 6),
        (said([{"type": "tool_result", "tool_use_id": "t" * 99, "content": [TEXT]}]), 14),
        (said([{"type": "thinking", "thinking": "abcd", "signature": "x" * 99}]), 5),
        ({"tools": [TOOL], **said("")}, 4 + -(-len('[{"name":"f","input_schema":{"type":"object"}}]') // 4)),
        ({"messages": 7, "system": True, "tools": None}, 0),
    ],
)
def test_what_counts(asked: dict[str, Any], tokens: int) -> None:
    """A quarter of the bytes of all text, tools included, and fixed prices for what is no text."""
    told = count_tokens(json.dumps({"model": "m", **asked}).encode(), None)
    assert MessageTokensCount.model_validate_json(told).input_tokens == tokens


def test_half_an_emoji_counts() -> None:
    """A text that was cut in the middle of a surrogate pair is counted as the character that stands for the rest."""
    body = b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}]}'
    assert count_tokens(body, None) == b'{"input_tokens":5}'


def test_longer_is_never_less() -> None:
    """A conversation that grows is never told to have shrunk: clients compact their history by this number."""
    counts = []
    for length in range(0, 50, 7):
        turns = [{"role": "user", "content": "word " * turn} for turn in range(length)]
        body = json.dumps({"model": "m", "messages": turns}).encode()
        counts.append(json.loads(count_tokens(body, None))["input_tokens"])
    assert counts == sorted(set(counts))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.BAD_JSON),
        (b"[]", Reason.BAD_JSON),
        (b'{"messages":[]}', Reason.MODEL_MISSING),
        (b'{"model":"m","system":"\xff"}', Reason.BAD_JSON),
        (b'{"model":"m","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}", Reason.BAD_JSON),
    ],
)
def test_what_cannot_be_counted(body: bytes, reason: Reason) -> None:
    """What is no request is refused as it would be by the call itself."""
    with pytest.raises(GatewayError) as caught:
        count_tokens(body, None)
    assert caught.value.reason is reason
