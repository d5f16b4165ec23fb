"""A whole chat completion as the message that a Messages client gets, and errors in its form."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from anthropic.types import Message

from torana.errors import GatewayError, Reason
from torana.llm.errors import error_body
from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT

PROMPT = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def thinking(thought: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def call(arguments: Any, **members: Any) -> dict[str, Any]:
    return {"id": "t1", "type": "function", "function": {"name": "f", "arguments": arguments}, **members}


def used(arguments: dict[str, Any], call_id: str = "t1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": arguments}


class Case(NamedTuple):
    """A choice of a completion, and the blocks and the stop that it becomes."""

    name: str
    message: dict[str, Any]
    content: list[dict[str, Any]]
    finish: str | None = "stop"
    stop: str = "end_turn"
    choice: dict[str, Any] = {}  # noqa: RUF012 - never changed
    sequence: str | None = None


CASES = [
    Case("text", {"content": "a"}, [text("a")]),
    Case("content null", {"content": None}, []),
    Case("content empty", {"content": ""}, []),
    Case("content absent", {}, []),
    Case("a limit", {"content": "a"}, [text("a")], "length", "max_tokens"),
    Case("a filter", {"content": ""}, [], "content_filter", "refusal"),
    Case("no finish_reason", {"content": "a"}, [text("a")], None),
    Case("an unknown finish_reason", {"content": "a"}, [text("a")], "eos"),
    Case("vLLM's stop sequence", {"content": "a"}, [text("a")], "stop", "stop_sequence", {"stop_reason": "###"}, "###"),
    Case("vLLM's stop token", {"content": "a"}, [text("a")], choice={"stop_reason": 128009}),
    Case("a refusal", {"content": None, "refusal": "no"}, [text("no")], "stop", "refusal"),
    Case("a call", {"content": None, "tool_calls": [call('{"x": 1}')]}, [used({"x": 1})], "tool_calls", "tool_use"),
    Case("a call that ends with stop", {"tool_calls": [call("{}")]}, [used({})], "stop", "tool_use"),
    Case("no call", {"content": "a", "tool_calls": []}, [text("a")], "tool_calls"),
    Case("text and calls", {"content": "a", "tool_calls": [call("{}"), call("{}", id="t2")]},
         [text("a"), used({}), used({}, "t2")], "tool_calls", "tool_use"),
    Case("calls without ids", {"tool_calls": [call("", id=None), call(" ", id="")]},
         [used({}, "c1_0"), used({}, "c1_1")], "tool_calls", "tool_use"),
    Case("arguments as an object", {"tool_calls": [call({"x": [1]})]}, [used({"x": [1]})], "tool_calls", "tool_use"),
    Case("arguments cut off", {"tool_calls": [call('{"x": ')]}, [used({})], "length", "max_tokens"),
    Case("thoughts", {"content": "a", "reasoning_content": "hm"}, [thinking("hm", "reasoning_content"), text("a")]),
    Case("thoughts by their newer name", {"content": "a", "reasoning": "hm"}, [thinking("hm", "reasoning"), text("a")]),
    Case("thoughts by both names", {"reasoning_content": "hm", "reasoning": "hm"},
         [thinking("hm", "reasoning_content")]),
    Case("thoughts null", {"content": "a", "reasoning_content": None, "reasoning": ""}, [text("a")]),
    Case("content in parts", {"content": [{"type": "thinking", "thinking": [text("hm")]}, text("a"), {"type": "x"}]},
         [thinking("hm", ""), text("a")]),
]  # fmt: skip


def completion(case: Case) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **case.message}, "finish_reason": case.finish, **case.choice}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers(case: Case) -> None:
    """Everything the model said is a block of the message, and Anthropic's SDK takes the message."""
    told = MESSAGES_TO_CHAT.answer(json.dumps(completion(case)).encode(), "m")
    assert json.loads(told) == {
        "type": "message", "id": "c1", "role": "assistant", "model": "m", "content": case.content,
        "stop_reason": case.stop, "stop_sequence": case.sequence, "usage": PROMPT,
    }  # fmt: skip
    Message.model_validate_json(told)


def test_an_answer_to_the_byte() -> None:
    """The order of members is Anthropic's, and arguments stay as the model wrote them."""
    body = json.dumps(completion(Case("", {"tool_calls": [call('{ "x":1.50 }')]}, [], "tool_calls"))).encode()
    assert MESSAGES_TO_CHAT.answer(body, None) == (
        b'{"type":"message","id":"c1","role":"assistant","model":"m-1","content":'
        b'[{"type":"tool_use","id":"t1","name":"f","input":{ "x":1.50 }}],"stop_reason":"tool_use",'
        b'"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,'
        b'"cache_read_input_tokens":0,"output_tokens":0}}'
    )


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (None, PROMPT),
        ({"prompt_tokens": 5, "completion_tokens": 2}, {**PROMPT, "input_tokens": 5, "output_tokens": 2}),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            {
                "input_tokens": 2,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 3,
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 7},
            },
        ),
        (
            {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 3}},
            {**PROMPT, "cache_read_input_tokens": 3},
        ),
    ],
)
def test_usage(usage: Any, told: dict[str, Any]) -> None:
    """Anthropic counts the input without what came from the cache; OpenAI counts it in."""
    body = json.dumps({**completion(CASES[0]), "usage": usage}).encode()
    assert json.loads(MESSAGES_TO_CHAT.answer(body, None))["usage"] == told


def test_an_answer_without_names() -> None:
    """An answer needs an id and a model for the SDK, whatever the provider left out."""
    told = json.loads(MESSAGES_TO_CHAT.answer(b'{"choices":[{"message":{"content":"a"}}]}', None))
    assert (told["id"], told["model"], told["content"]) == ("msg_0", "", [text("a")])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error":{"message":"no"}}',
        b'{"choices":[]}',
        b'{"choices":[{"text":"a"}]}',
        b'{"choices":7}',
        json.dumps(completion(Case("", {"tool_calls": [call("{")]}, [], "tool_calls"))).encode(),
        json.dumps(completion(Case("", {"tool_calls": [call("[]")]}, [], "tool_calls"))).encode(),
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    """What cannot be told as a message is the provider's fault, not a made-up message."""
    with pytest.raises(GatewayError) as caught:
        MESSAGES_TO_CHAT.answer(body, "m")
    assert caught.value.reason is Reason.BAD_ANSWER


def test_an_answer_that_is_an_error() -> None:
    """An error with the status of an answer is told by its kind, not by words that may quote the prompt."""
    body = b'{"id":"x","error":{"message":"Quoted.","code":502},"choices":[{"message":{"content":""}}]}'
    with pytest.raises(GatewayError, match=r"is an error \(502\)\.$") as caught:
        MESSAGES_TO_CHAT.answer(body, "m")
    assert caught.value.reason is Reason.BAD_ANSWER


# --- errors ---

OPENAI = b'{"error":{"message":"no","type":"x","param":null,"code":"y"}}'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"),
        (403, "permission_error"), (404, "not_found_error"), (408, "timeout_error"), (409, "invalid_request_error"),
        (413, "request_too_large"), (422, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"),
        (502, "api_error"), (503, "overloaded_error"), (504, "timeout_error"), (529, "overloaded_error"),
    ],
)  # fmt: skip
def test_error_types(status: int, kind: str) -> None:
    """The type of an error follows from the status by Anthropic's table; the words are the provider's."""
    told = MESSAGES_TO_CHAT.error(status, OPENAI)
    assert told == b'{"type":"error","error":{"type":"%b","message":"no"}}' % kind.encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (OPENAI, "no"),
        (b'[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]', "no"),
        (b'{"error":"no"}', "no"),
        (b'{"object":"error","message":"no","code":400}', "no"),
        (b'{"detail":"no"}', "no"),
        (b'{"detail":[{"loc":["body","tools",0],"msg":"no","type":"x"}]}', "body.tools.0: no"),
        (b'{"detail":[{"msg":"no"}]}', "no"),
        (b'{"object":"error","message":{"detail":[{"loc":["body","n"],"msg":"no"}]},"code":null}', "body.n: no"),
        (b'{"object":"Error","detail":[{"loc":["n"],"msg":"no"}],"message":[{"loc":["n"],"msg":"no"}]}', "n: no"),
        (b'{"error":["no"]}', "no"),
        (b'{"error":null,"message":"no"}', "no"),
        (b'"no"', "no"),
        (b" no\n", "no"),
        (b"x" * 9_000, "x" * 2_000),
        (b"", "The provider answered with status 400."),
        (b"<html>no</html>", "The provider answered with status 400."),
        (b'{"error":{"message":null}}', "The provider answered with status 400."),
        (b'{"error":null}', "The provider answered with status 400."),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b'{"error":' * 900 + b'"no"' + b"}" * 900, "The provider answered with status 400."),
    ],
)
def test_error_messages(body: bytes, message: str) -> None:
    """The message is found in the forms that providers use; without one, the status is told."""
    assert json.loads(MESSAGES_TO_CHAT.error(400, body))["error"]["message"] == message


def test_errors_of_our_own() -> None:
    """The gateway's own errors can take the same way into the client's form."""
    error = GatewayError(Reason.CONNECT_FAILED, "Cannot connect.", "a detail")
    told = json.loads(MESSAGES_TO_CHAT.error(error.reason.fault.status, error_body(error)))
    assert told == {"type": "error", "error": {"type": "overloaded_error", "message": "Cannot connect."}}
