"""Answers: what is said follows from what is asked, and from nothing about how it is delivered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from torana.simulate.answer import Answer, answer_chat, answer_completion
from torana.simulate.asks import ChatAsk, CompletionAsk, decode, inputs_of, read
from torana.simulate.dials import Dials
from torana.simulate.failure import ApiError

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("first", "second")]


def chat(content: Any = "Hello", dials: Dials | None = None, **fields: Any) -> Answer:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields}).encode()
    return answer_chat(decode(body, ChatAsk), read(body).seed, dials or Dials())


def test_delivery_changes_nothing() -> None:
    """Order of fields, whitespace, streaming and limits leave id and text alone; the question does not."""
    one = read(b'{"model": "m", "messages": [], "stream": true, "max_tokens": 3, "n": 2}')
    other = read(b'{"messages":[],"model":"m"}')
    assert one.seed == other.seed
    assert read(b'{"messages":[],"model":"m","temperature":1}').seed != other.seed


@pytest.mark.parametrize(
    ("content", "choice", "called"),
    [
        ("Hello", None, None),
        ("Hello", "auto", None),
        ("Hello", "required", "first"),
        ("call second", None, "second"),
        ("call anything", "auto", "first"),
        ("call second", "none", None),
        ("Hello", {"type": "function", "function": {"name": "second"}}, "second"),
    ],
)
def test_which_function_is_called(content: str, choice: Any, called: str | None) -> None:
    """A named function is called, the first when one is required, the user's when they say `call`, else none."""
    call = chat(content, tools=TOOLS, tool_choice=choice).choices[0].call
    assert (call and call.name) == called


def test_a_tool_result_is_answered_in_words() -> None:
    """After the tool's result comes text, so that an agent's loop ends."""
    said = [{"role": "user", "content": "call first"}, {"role": "tool", "content": "42", "tool_call_id": "x"}]
    assert chat(messages=said, tools=TOOLS).choices[0].call is None


def test_written_arguments() -> None:
    """What is written behind `call NAME` is passed on as it is when it is a JSON object, and ignored when it is not."""
    assert "".join(chat('call first {"a":  1}', tools=TOOLS).choices[0].pieces) == '{"a":  1}'
    assert "".join(chat("call first [1]", tools=TOOLS).choices[0].pieces) == "{}"


def test_structured_output() -> None:
    """A json_schema is answered with text that fits it."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"a": {"const": 1}}}}}
    assert json.loads("".join(chat(response_format=wanted).choices[0].pieces)) == {"a": 1}


def test_counts() -> None:
    """Prompt tokens are words of text parts, completion tokens what all choices say."""
    parts = [{"type": "text", "text": "two words"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert chat(parts, n=2, max_tokens=3).usage == {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}


@pytest.mark.parametrize(
    ("given", "texts"),
    [("a b", ["a b"]), (["a", "b"], ["a", "b"]), ([1, 2], ["1 2"]), ([[1, 2], [3]], ["1 2", "3"])],
)
def test_inputs(given: Any, texts: list[str]) -> None:
    """Texts and token ids, one or many, are one text an input."""
    assert inputs_of(given) == texts


@pytest.mark.parametrize("given", [[], ["x"] * 2049])
def test_refused_inputs(given: list[Any]) -> None:
    """No input, or more than OpenAI takes, is an error."""
    with pytest.raises(ApiError, match="1 to 2048"):
        inputs_of(given)


def test_too_long_answers() -> None:
    """An answer that would not fit into its share of memory is refused, however it comes about."""
    with pytest.raises(ApiError, match="too long"):
        chat(n=2, dials=Dials(tokens=100_000))
    with pytest.raises(ApiError, match="too long"):
        chat("x" * 4_000_001, Dials(echo=True))
    body = json.dumps({"model": "m", "prompt": [""] * 2048, "n": 128}).encode()
    with pytest.raises(ApiError, match="too long"):
        answer_completion(decode(body, CompletionAsk), b"seed", Dials(echo=True))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a":', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000])
def test_bodies_that_are_no_object(body: bytes) -> None:
    """Whatever is no JSON object is an error in the request, not in the simulator."""
    with pytest.raises(ApiError, match="not a JSON object"):
        read(body)
