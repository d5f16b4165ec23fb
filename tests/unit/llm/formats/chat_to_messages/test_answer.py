"""A whole message as the chat completion that a chat client gets, and errors in its form."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from openai.types.chat import ChatCompletion

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages import CHAT_TO_MESSAGES

THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
REDACTED = {"type": "redacted_thinking", "data": "x"}
SEARCHED = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}


def text(text: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **members}


def used(call_id: str = "t1", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": arguments}


def call(call_id: str = "t1", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}}


class Case(NamedTuple):
    """A message's blocks and stop, and the members of the choice's message besides role and refusal."""

    name: str
    content: list[dict[str, Any]]
    output: dict[str, Any]
    stop: str | None = "end_turn"
    finish: str = "stop"
    members: dict[str, Any] = {}  # noqa: RUF012 - never changed
    refusal: str | None = None


CASES = [
    Case("text", [text("a")], {"content": "a"}),
    Case("text cut up by its sources", [text("a", citations=None), text("b", citations=[{"type": "x"}])],
         {"content": "ab"}),
    Case("nothing", [], {"content": ""}),
    Case("a stop sequence", [text("a")], {"content": "a"}, "stop_sequence", "stop", {"stop_sequence": "#"}),
    Case("a limit", [text("a")], {"content": "a"}, "max_tokens", "length"),
    Case("the end of the context", [text("a")], {"content": "a"}, "model_context_window_exceeded", "length"),
    Case("a pause", [text("a"), SEARCHED], {"content": "a"}, "pause_turn"),
    Case("a stop of a kind to come", [text("a")], {"content": "a"}, "tired"),
    Case("no stop", [used()], {"content": None, "tool_calls": [call()]}, None, "tool_calls"),
    Case("a refusal", [], {"content": ""}, "refusal", "content_filter"),
    Case("a refusal that is explained", [], {"content": None}, "refusal", "content_filter",
         {"stop_details": {"type": "refusal", "category": "bio", "explanation": "no"}}, "no"),
    Case("a call", [used(x=1)], {"content": None, "tool_calls": [call(arguments='{"x": 1}')]},
         "tool_use", "tool_calls"),
    Case("text and calls", [text("a"), used(), used("t2")], {"content": "a", "tool_calls": [call(), call("t2")]},
         "tool_use", "tool_calls"),
    Case("a call without input", [{"type": "tool_use", "id": "t1", "name": "f"}],
         {"content": None, "tool_calls": [call()]}, "tool_use", "tool_calls"),
    Case("a call whose input is null", [{**used(), "input": None}], {"content": None, "tool_calls": [call()]},
         "tool_use", "tool_calls"),
    Case("thoughts", [THOUGHT, text("a")],
         {"content": "a", "reasoning_content": "hm", "thinking_blocks": [THOUGHT]}),
    Case("thoughts that are kept from us", [{**THOUGHT, "thinking": ""}, REDACTED, text("a")],
         {"content": "a", "thinking_blocks": [{**THOUGHT, "thinking": ""}, REDACTED]}),
    Case("tools at Anthropic", [SEARCHED, {"type": "web_search_tool_result", "content": [{}]}, text("a")],
         {"content": "a"}),
]  # fmt: skip


def message(case: Case) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1", "content": case.content,
        "stop_reason": case.stop, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 2},
        **case.members,
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers(case: Case) -> None:
    """Everything Claude said is in the completion, and OpenAI's SDK takes it."""
    told = CHAT_TO_MESSAGES.answer(json.dumps(message(case)).encode(), "m")
    answer = json.loads(told)
    assert answer.pop("usage")["total_tokens"] == 3
    assert answer == {
        "id": "msg_1", "object": "chat.completion", "created": 0, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "refusal": case.refusal, **case.output},
             "finish_reason": case.finish}],
    }  # fmt: skip
    ChatCompletion.model_validate_json(told)


def test_an_answer_to_the_byte() -> None:
    """The order of members is OpenAI's, and a call's input stays as Claude wrote it."""
    body = (
        b'{"id":"msg_1","model":"claude-1","content":[{"type":"tool_use","id":"t1","name":"f","input":{ "x":1.50 }}],'
        b'"stop_reason":"tool_use","usage":{"input_tokens":4,"cache_read_input_tokens":3,'
        b'"cache_creation_input_tokens":2,"output_tokens":5,"output_tokens_details":{"thinking_tokens":1},'
        b'"service_tier":"standard"}}'
    )
    assert CHAT_TO_MESSAGES.answer(body, None, now=7) == (
        b'{"id":"msg_1","object":"chat.completion","created":7,"model":"claude-1","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"t1","type":"function","function":'
        b'{"name":"f","arguments":"{ \\"x\\":1.50 }"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,'
        b'"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":2},'
        b'"completion_tokens_details":{"reasoning_tokens":1}},"service_tier":"default"}'
    )


def test_an_answer_without_names() -> None:
    """An answer needs an id and a model for the SDK, whatever the provider left out; usage is not made up."""
    told = json.loads(CHAT_TO_MESSAGES.answer(b'{"content":[{"type":"text","text":"a"}]}', None))
    assert (told["id"], told["model"], "usage" in told) == ("msg_0", "", False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"type":"error","error":{"type":"api_error","message":"no"}}',
        b'{"content":"a"}',
        b'{"content":[7]}',
        b'{"content":[{"type":"text","text":7}]}',
        b'{"choices":[{"message":{"content":"a"}}]}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    """What is no message is the provider's fault, not an empty completion."""
    with pytest.raises(GatewayError) as caught:
        CHAT_TO_MESSAGES.answer(body, "m")
    assert caught.value.reason is Reason.BAD_ANSWER


# --- errors ---


def failure(kind: str, message: str = "no") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}).encode()


TOO_LONG = "prompt is too long: 200001 tokens > 200000 maximum"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, failure("invalid_request_error"), ("no", "invalid_request_error", None)),
        (400, failure("invalid_request_error", TOO_LONG),
         (TOO_LONG, "invalid_request_error", "context_length_exceeded")),
        (401, failure("authentication_error"), ("no", "authentication_error", "invalid_api_key")),
        (402, failure("billing_error"), ("no", "billing_error", "insufficient_quota")),
        (404, failure("not_found_error"), ("no", "not_found_error", "model_not_found")),
        (429, failure("rate_limit_error"), ("no", "rate_limit_error", "rate_limit_exceeded")),
        (500, failure("api_error"), ("no", "api_error", None)),
        (529, failure("overloaded_error"), ("no", "overloaded_error", "overloaded")),
        (400, failure("kind_to_come"), ("no", "invalid_request_error", None)),
        (403, b'{"message":"no"}', ("no", "permission_error", None)),
        (502, b"<html>bad gateway</html>", ("The provider answered with status 502.", "api_error", None)),
        (503, b"", ("The provider answered with status 503.", "overloaded_error", "overloaded")),
    ],
)  # fmt: skip
def test_errors(status: int, body: bytes, told: tuple[str, str, str | None]) -> None:
    """An error keeps the provider's words and type, and gets the code that clients of OpenAI's look for."""
    error = json.loads(CHAT_TO_MESSAGES.error(status, body))["error"]
    assert (error["message"], error["type"], error["code"]) == told
    assert error["param"] is None
