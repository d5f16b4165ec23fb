"""Any conversation at all: nothing that was said, called or returned is missing from the chat, or out of place."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from torana.llm.formats.responses_to_chat import RESPONSES_TO_CHAT

Item = dict[str, Any]

WORDS = st.text(min_size=1, max_size=8)
USER = st.builds(lambda text: {"role": "user", "content": [{"type": "input_text", "text": text}]}, WORDS)
MODEL = st.builds(
    lambda text: {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}, WORDS
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Item]:
    """Items in any order, but that a result comes some time after its call."""
    items: list[Item] = draw(st.lists(USER | MODEL, min_size=1, max_size=6))
    for number in range(draw(st.integers(0, 4))):
        call = {"type": "function_call", "call_id": f"t{number}", "name": draw(WORDS), "arguments": draw(WORDS)}
        result = {"type": "function_call_output", "call_id": f"t{number}", "output": draw(WORDS)}
        called = draw(st.integers(0, len(items)))
        items.insert(called, call)
        items.insert(draw(st.integers(called + 1, len(items))), result)
    return items


def chat_of(items: list[Item]) -> list[Item]:
    told = RESPONSES_TO_CHAT.request(json.dumps({"model": "m", "input": items}).encode(), None)
    assert told.lost == ()
    messages: list[Item] = json.loads(told.body)["messages"]
    return messages


def texts(items: list[Item], role: str) -> list[str]:
    return [item["content"][0]["text"] for item in items if item.get("role") == role]


@given(conversations())
def test_nothing_said_is_missing(items: list[Item]) -> None:
    """Every text and call reaches the provider, in the order in which they came."""
    chat = chat_of(items)
    assert [each["content"] for each in chat if each["role"] == "user"] == texts(items, "user")
    said = [each["content"] for each in chat if each["role"] == "assistant" and each["content"] is not None]
    assert "\n".join(said) == "\n".join(texts(items, "assistant"))
    calls = [call for each in chat for call in each.get("tool_calls", ())]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        (item["call_id"], item["name"], item["arguments"]) for item in items if item.get("type") == "function_call"
    ]


@given(conversations())
def test_every_call_has_its_result_at_once(items: list[Item]) -> None:
    """Chat demands that the results of a message's calls follow it, whenever the client got them."""
    results = {item["call_id"]: item["output"] for item in items if item.get("type") == "function_call_output"}
    chat = chat_of(items)
    returned = 0
    for at, message in enumerate(chat):
        wanted = [call["id"] for call in message.get("tool_calls", ())]
        returned += len(wanted)
        assert [(each["tool_call_id"], each["content"]) for each in chat[at + 1 : at + 1 + len(wanted)]] == [
            (call_id, results[call_id]) for call_id in wanted
        ]
    assert returned == sum(message["role"] == "tool" for message in chat) == len(results)


@given(conversations())
def test_the_model_never_speaks_twice(items: list[Item]) -> None:
    """What the model said in one turn is one message."""
    roles = [message["role"] for message in chat_of(items)]
    assert ("assistant", "assistant") not in pairwise(roles)
