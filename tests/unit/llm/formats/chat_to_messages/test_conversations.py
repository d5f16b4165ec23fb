"""Any conversation at all, there and back: what one translation writes means the same to the other."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from torana.llm.formats.chat_to_messages import CHAT_TO_MESSAGES
from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT

Members = dict[str, Any]

MODEL = "claude-opus-4-6"
WORDS = st.text(min_size=1, max_size=8).filter(str.strip)  # white space alone says nothing, and is left out
INPUT = st.dictionaries(WORDS, st.integers(-9, 9) | WORDS | st.lists(WORDS, max_size=2), max_size=3)
TEXT = st.builds(lambda text: {"type": "text", "text": text}, WORDS)
IMAGE = st.sampled_from(
    [
        {"type": "image", "source": {"type": "url", "url": "https://x.test/i"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
    ]
)
FILE = st.just({
    "type": "document", "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"},
})  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> list[Members]:
    """Turns of user and model, in which every call is answered at the beginning of the next turn."""
    messages: list[Members] = []
    calls: list[Members] = []
    for turn in range(draw(st.integers(1, 4))):
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": draw(WORDS)} for call in calls]
        shown = draw(st.lists(TEXT | IMAGE | FILE, max_size=3))
        messages.append({"role": "user", "content": [*results, draw(TEXT), *shown]})
        calls = [
            {"type": "tool_use", "id": f"t{turn}_{number}", "name": draw(WORDS), "input": draw(INPUT)}
            for number in range(draw(st.integers(0, 2)))
        ]
        said = draw(st.lists(TEXT, max_size=2, min_size=0 if calls else 1))
        messages.append({"role": "assistant", "content": [*said, *calls]})
    return messages


OPTIONS = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 99_999)},
    optional={
        "system": WORDS,
        "temperature": st.floats(0, 1),
        "stop_sequences": st.lists(WORDS, min_size=1, max_size=3),
        "stream": st.just(True),
        "metadata": st.just({"user_id": "u"}),
        "service_tier": st.sampled_from(["auto", "standard_only"]),
        "output_config": st.just({"format": {"type": "json_schema", "schema": {"type": "object"}}}),
    },
)
CLOSED = {"type": "object", "additionalProperties": False}
TOOLS = st.fixed_dictionaries(
    {"tools": st.just([{"name": "f", "description": "d", "strict": True, "input_schema": CLOSED}])},
    optional={
        "tool_choice": st.sampled_from(
            [
                {"type": "auto"},
                {"type": "any", "disable_parallel_tool_use": True},
                {"type": "tool", "name": "f"},
                {"type": "none"},
            ]
        )
    },
)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def joined(blocks: str | list[Members], between: str) -> list[Members]:
    """Blocks with their texts in one, wherever they stood: chat joins those that stand alone."""
    if isinstance(blocks, str):
        return [{"type": "text", "text": blocks}]
    others = [block for block in blocks if block["type"] != "text"]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    return [*others, {"type": "text", "text": between.join(texts)}] if texts else others


def meaning(request: Members) -> Members:
    messages = [
        {"role": message["role"], "content": joined(message["content"], "\n" if message["role"] == "user" else "")}
        for message in request["messages"]
    ]
    return {**request, "messages": messages}


@given(conversations(), OPTIONS, st.just({}) | TOOLS)
def test_messages_to_chat_and_back(messages: list[Members], options: Members, tools: Members) -> None:
    """A request of Messages that is told as chat and told back still asks the same."""
    asked = {"model": MODEL, "messages": messages, **options, **tools}
    there = MESSAGES_TO_CHAT.request(compact(asked), None)
    back = CHAT_TO_MESSAGES.request(there.body, None)
    assert (there.lost, back.lost) == ((), ())
    assert meaning(json.loads(back.body)) == meaning(asked)


@st.composite
def chats(draw: st.DrawFn) -> list[Members]:
    messages: list[Members] = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": draw(WORDS)})
        calls = [
            {"id": f"t{turn}_{number}", "type": "function",
             "function": {"name": draw(WORDS), "arguments": compact(draw(INPUT)).decode()}}
            for number in range(draw(st.integers(0, 2)))
        ]  # fmt: skip
        content = draw(st.none() | WORDS) if calls else draw(WORDS)
        messages.append({"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": draw(WORDS)} for call in calls]
    return messages


@given(chats())
def test_chat_to_messages_and_back(messages: list[Members]) -> None:
    """A chat that is told as messages and told back is the same to the byte."""
    asked = compact({"model": MODEL, "messages": messages, "max_tokens": 9})
    there = CHAT_TO_MESSAGES.request(asked, None)
    back = MESSAGES_TO_CHAT.request(there.body, None)
    assert (there.lost, back.lost) == ((), ())
    assert back.body == asked


BLOCKS = st.lists(TEXT, max_size=1)


@given(BLOCKS, st.lists(INPUT, max_size=2), st.sampled_from(["end_turn", "max_tokens", "refusal"]))
def test_an_answer_there_and_back(said: list[Members], inputs: list[Members], stop: str) -> None:
    """A message that is told as a completion and told back says the same."""
    calls = [{"type": "tool_use", "id": f"t{n}", "name": "f", "input": given} for n, given in enumerate(inputs)]
    message = {
        "type": "message", "id": "msg_1", "role": "assistant", "model": "m", "content": [*said, *calls],
        "stop_reason": "tool_use" if calls and stop == "end_turn" else stop, "stop_sequence": None,
        "usage": {"input_tokens": 4, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 2,
                  "output_tokens_details": {"thinking_tokens": 1}},
    }  # fmt: skip
    told = MESSAGES_TO_CHAT.answer(CHAT_TO_MESSAGES.answer(compact(message), None), None)
    assert json.loads(told) == message
