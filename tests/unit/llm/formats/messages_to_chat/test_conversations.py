"""Any conversation at all: nothing that was said, shown, called or returned is missing from the chat, or moved."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT

Block = dict[str, Any]

WORDS = st.text(min_size=1, max_size=8)
TEXT = st.builds(lambda text: {"type": "text", "text": text}, WORDS)
IMAGE = st.builds(lambda url: {"type": "image", "source": {"type": "url", "url": url}}, WORDS)
INPUT = st.dictionaries(WORDS, st.integers(-9, 9) | WORDS | st.lists(WORDS, max_size=2), max_size=3)
SHOWN = st.lists(TEXT | IMAGE, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns of user and model, in which every call is answered at the beginning of the next turn."""
    messages: list[dict[str, Any]] = []
    open_calls: list[str] = []
    for turn in range(draw(st.integers(1, 4))):
        results = [{"type": "tool_result", "tool_use_id": call, "content": draw(WORDS | SHOWN)} for call in open_calls]
        messages.append({"role": "user", "content": [*results, draw(TEXT), *draw(SHOWN)]})
        open_calls = [f"t{turn}_{number}" for number in range(draw(st.integers(0, 2)))]
        calls = [{"type": "tool_use", "id": call, "name": draw(WORDS), "input": draw(INPUT)} for call in open_calls]
        messages.append({"role": "assistant", "content": [*draw(st.lists(TEXT, max_size=2)), *calls]})
    return messages


def text_of(content: str | list[Block], between: str) -> str:
    if isinstance(content, str):
        return content
    return between.join(block["text"] for block in content if block["type"] == "text")


def images_of(content: str | list[Block]) -> list[str]:
    return [block["source"]["url"] for block in content if isinstance(block, dict) and block["type"] == "image"]


def told_of_user(content: list[Block]) -> list[Any]:
    """What the provider must read of a user's message, in order: results, images, then what was said."""
    results = [block for block in content if block["type"] == "tool_result"]
    said = [block for block in content if block["type"] != "tool_result"]
    images = [url for block in results for url in images_of(block["content"])] + images_of(said)
    tools = [(block["tool_use_id"], text_of(block["content"], "\n")) for block in results]
    return [*tools, images, text_of(said, "\n")]


def read_of_user(messages: list[dict[str, Any]]) -> list[Any]:
    *tools, last = messages
    assert [tool["role"] for tool in tools] == ["tool"] * len(tools)
    parts = last["content"]
    if isinstance(parts, str):
        images, text = [], parts
    else:
        images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        text = "\n".join(text for text in texts if not text.startswith("Returned by tool call "))
    return [*((tool["tool_call_id"], tool["content"]) for tool in tools), images, text]


def read_of_model(message: dict[str, Any]) -> list[Any]:
    calls = message.get("tool_calls", [])
    called = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return [message["content"] or "", called]


def told_of_model(content: list[Block]) -> list[Any]:
    calls = [(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
    return [text_of(content, ""), calls]


@given(conversations())
def test_nothing_said_is_missing(messages: list[dict[str, Any]]) -> None:
    """Every turn reaches the provider whole: texts, images, calls with their arguments, results by their calls."""
    told = MESSAGES_TO_CHAT.request(json.dumps({"model": "m", "messages": messages}).encode(), None)
    assert told.lost == ()
    chat = json.loads(told.body)["messages"]
    at = 0
    for message in messages:
        if message["role"] == "assistant":
            assert read_of_model(chat[at]) == told_of_model(message["content"])
            at += 1
            continue
        end = at + 1 + sum(block["type"] == "tool_result" for block in message["content"])
        assert chat[end - 1]["role"] == "user"
        assert read_of_user(chat[at:end]) == told_of_user(message["content"])
        at = end
    assert at == len(chat)
