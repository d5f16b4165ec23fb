"""A whole chat completion as the response that a Responses client gets, and errors in its form."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from openai.types.responses import Response

from torana.errors import GatewayError, Reason
from torana.llm.errors import error_body
from torana.llm.formats.responses_to_chat import RESPONSES_TO_CHAT

Item = dict[str, Any]

LOGPROB = {"token": "a", "bytes": [97], "logprob": -1.5, "top_logprobs": []}
DEFAULTS: dict[str, Any] = {
    "background": False, "previous_response_id": None, "store": False, "truncation": "disabled", "instructions": None,
    "max_output_tokens": None, "max_tool_calls": None, "metadata": {}, "parallel_tool_calls": True,
    "prompt_cache_key": None, "reasoning": {"effort": None, "summary": None}, "safety_identifier": None,
    "service_tier": None, "temperature": None, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
    "top_logprobs": None, "top_p": None, "user": None,
}  # fmt: skip


def memo(**asked: Any) -> bytes:
    return RESPONSES_TO_CHAT.request(json.dumps({"model": "m", "input": "hi", **asked}).encode(), None).memo


def text(text: str, logprobs: list[Any] | None = None) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def refusal(refusal: str) -> Item:
    return {"type": "refusal", "refusal": refusal}


def message(index: int, *parts: Item, status: str = "completed") -> Item:
    return {"id": f"msg_c1_{index}", "type": "message", "status": status, "role": "assistant", "content": list(parts)}


def thinking(index: int, thought: str, sealed: str | None) -> Item:
    item = {"id": f"rs_c1_{index}", "type": "reasoning", "status": "completed", "summary": [],
            "content": [{"type": "reasoning_text", "text": thought}]}  # fmt: skip
    return item if sealed is None else {**item, "encrypted_content": sealed}


def called(index: int, arguments: str, call_id: str = "t1", status: str = "completed") -> Item:
    return {"id": f"fc_c1_{index}", "type": "function_call", "status": status, "call_id": call_id, "name": "f",
            "arguments": arguments}  # fmt: skip


def call(arguments: Any, **members: Any) -> Item:
    return {"id": "t1", "type": "function", "function": {"name": "f", "arguments": arguments}, **members}


class Case(NamedTuple):
    """A choice of a completion, and the output and the reason for its end that it becomes."""

    name: str
    message: dict[str, Any]
    output: list[Item]
    finish: str | None = "stop"
    reason: str | None = None
    choice: dict[str, Any] = {}  # noqa: RUF012 - never changed


CASES = [
    Case("text", {"content": "a"}, [message(0, text("a"))]),
    Case("content null", {"content": None}, []),
    Case("content empty", {"content": ""}, []),
    Case("content absent", {}, []),
    Case("a limit", {"content": "a"}, [message(0, text("a"), status="incomplete")], "length", "max_output_tokens"),
    Case("a filter", {"content": ""}, [], "content_filter", "content_filter"),
    Case("no finish_reason", {"content": "a"}, [message(0, text("a"))], None),
    Case("an unknown finish_reason", {"content": "a"}, [message(0, text("a"))], "eos"),
    Case("a refusal", {"content": None, "refusal": "no"}, [message(0, refusal("no"))]),
    Case("text and a refusal", {"content": "a", "refusal": "no"}, [message(0, text("a"), refusal("no"))]),
    Case("a call", {"content": None, "tool_calls": [call('{"x": 1}')]}, [called(0, '{"x": 1}')], "tool_calls"),
    Case("no call", {"content": "a", "tool_calls": []}, [message(0, text("a"))], "tool_calls"),
    Case("text and calls", {"content": "a", "tool_calls": [call("{}"), call("{}", id="t2")]},
         [message(0, text("a")), called(1, "{}"), called(2, "{}", "t2")], "tool_calls"),
    Case("calls without ids", {"tool_calls": [call("", id=None), call(" ", id="")]},
         [called(0, "{}", "call_c1_0"), called(1, "{}", "call_c1_1")], "tool_calls"),
    Case("arguments as an object", {"tool_calls": [call({"x": [1]})]}, [called(0, '{"x":[1]}')], "tool_calls"),
    Case("arguments cut off", {"content": "a", "tool_calls": [call('{"x": ')]},
         [message(0, text("a")), called(1, '{"x": ', status="incomplete")], "length", "max_output_tokens"),
    Case("thoughts", {"content": "a", "reasoning_content": "hm"},
         [thinking(0, "hm", "reasoning_content"), message(1, text("a"))]),
    Case("thoughts by their newer name", {"content": "a", "reasoning": "hm"},
         [thinking(0, "hm", "reasoning"), message(1, text("a"))]),
    Case("thoughts by both names", {"reasoning_content": "hm", "reasoning": "hm"},
         [thinking(0, "hm", "reasoning_content")]),
    Case("content in parts",
         {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                      {"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "x"}]},
         [thinking(0, "hm", None), message(1, text("ab"))]),
    Case("logprobs", {"content": "a"}, [message(0, text("a", [LOGPROB]))],
         choice={"logprobs": {"content": [LOGPROB]}}),
]  # fmt: skip


def completion(case: Case, **members: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **case.message}, "finish_reason": case.finish, **case.choice}
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice], **members}
    return json.dumps(whole).encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers(case: Case) -> None:
    """Everything the model said is an item of the output, and OpenAI's SDK takes the response."""
    told = RESPONSES_TO_CHAT.answer(completion(case), "m", memo=memo())
    assert json.loads(told) == {
        "id": "c1", "object": "response", "created_at": 1, "status": "incomplete" if case.reason else "completed",
        "error": None, "incomplete_details": {"reason": case.reason} if case.reason else None, "model": "m",
        "output": case.output, "usage": None, **DEFAULTS,
    }  # fmt: skip
    said = [part["text"] for item in case.output for part in item.get("content", ()) if part["type"] == "output_text"]
    assert Response.model_validate_json(told).output_text == "".join(said)


def test_when_an_answer_was_made() -> None:
    """A provider's own date is told; one that tells none has its answer dated by when it came."""
    for given, told in ((1, 1), (None, 7)):
        body = RESPONSES_TO_CHAT.answer(completion(CASES[0], created=given), "m", memo=memo(), now=7)
        assert json.loads(body)["created_at"] == told


def test_an_answer_to_the_byte() -> None:
    """What was asked is repeated as it was written, and arguments stay as the model wrote them."""
    asked = b'{"model":"m","input":"hi","temperature":1.50,"metadata":{ "a":"b" },"service_tier":"auto"}'
    body = completion(Case("", {"tool_calls": [call('{ "x":1.50 }')]}, [], "tool_calls"), service_tier="default")
    assert RESPONSES_TO_CHAT.answer(body, None, memo=RESPONSES_TO_CHAT.request(asked, None).memo) == (
        b'{"id":"c1","object":"response","created_at":1,"status":"completed","error":null,"incomplete_details":null,'
        b'"model":"m-1","output":[{"id":"fc_c1_0","type":"function_call","status":"completed","call_id":"t1",'
        b'"name":"f","arguments":"{ \\"x\\":1.50 }"}],"usage":null,"background":false,"previous_response_id":null,'
        b'"store":false,"truncation":"disabled","instructions":null,"max_output_tokens":null,"max_tool_calls":null,'
        b'"metadata":{ "a":"b" },"parallel_tool_calls":true,"prompt_cache_key":null,'
        b'"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"service_tier":"default",'
        b'"temperature":1.50,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_logprobs":null,'
        b'"top_p":null,"user":null}'
    )


def test_an_answer_repeats_what_was_asked() -> None:
    """Settings come back as they were asked, tools and all; only what no chat provider does is told as it is."""
    tools = [{"type": "function", "name": "f", "parameters": {}, "strict": None}, {"type": "web_search"}]
    settings = {
        "instructions": "i", "max_output_tokens": 9, "parallel_tool_calls": False, "tools": tools,
        "tool_choice": "required", "reasoning": {"effort": "low"}, "text": {"verbosity": "low"}, "user": "u",
    }  # fmt: skip
    asked = memo(**settings, truncation="auto")
    told = json.loads(RESPONSES_TO_CHAT.answer(completion(CASES[0]), None, memo=asked))
    assert told == told | settings
    assert told["truncation"] == "disabled"


def test_tools_have_the_names_that_the_client_gave_them() -> None:
    """Custom tools are called with their input, tools of a namespace by their own name."""
    function = {"type": "function", "name": "f", "parameters": {}}
    tools = [function, {"type": "namespace", "name": "n", "tools": [function]}, {"type": "custom", "name": "c"}]

    def named(name: str, arguments: str) -> dict[str, Any]:
        return {"id": name, "function": {"name": name, "arguments": arguments}}

    calls = [named("n__f", "{}"), named("c", '{"input":"a\\n"}'), named("c", "bare")]
    body = completion(Case("", {"tool_calls": calls}, []))
    output = json.loads(RESPONSES_TO_CHAT.answer(body, None, memo=memo(tools=tools)))["output"]
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "c"}
    assert output == [
        {**called(0, "{}", "n__f"), "namespace": "n"},
        {"id": "ctc_c1_1", **custom, "input": "a\n"},
        {"id": "ctc_c1_2", **custom, "input": "bare"},
    ]


def test_sealed_thoughts() -> None:
    """A client that asks for it gets thoughts in the member that clients send back without reading it."""
    body = completion(Case("", {"reasoning": "hm"}, []))
    told = RESPONSES_TO_CHAT.answer(body, None, memo=memo(include=["reasoning.encrypted_content"]))
    assert json.loads(told)["output"] == [thinking(0, "hm", "reasoning:hm")]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, None),
        ({"prompt_tokens": 5, "completion_tokens": 2}, (5, 0, 2, 0, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3},
          "completion_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 99}, (5, 3, 9, 7, 14)),
    ],
)  # fmt: skip
def test_usage(usage: Any, counts: tuple[int, int, int, int, int] | None) -> None:
    """Both APIs count the same, under other names."""
    told = Response.model_validate_json(RESPONSES_TO_CHAT.answer(completion(CASES[0], usage=usage), None)).usage
    if counts is None:
        assert told is None
    else:
        assert told is not None
        assert counts == (
            told.input_tokens, told.input_tokens_details.cached_tokens, told.output_tokens,
            told.output_tokens_details.reasoning_tokens, told.total_tokens,
        )  # fmt: skip


def test_an_answer_without_names() -> None:
    """An answer needs an id, a time and a model for the SDK, whatever the provider left out."""
    told = json.loads(RESPONSES_TO_CHAT.answer(b'{"created":"x","choices":[{"message":{"content":"a"}}]}', None))
    assert (told["id"], told["created_at"], told["model"]) == ("resp_0", 0, "")
    assert told["output"][0]["content"] == [text("a")]


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
        b'{"choices":[{"message":{"tool_calls":[{"id":"t"}]}}]}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    """What cannot be told as a response is the provider's fault, not a made-up response."""
    with pytest.raises(GatewayError) as caught:
        RESPONSES_TO_CHAT.answer(body, "m")
    assert caught.value.reason is Reason.BAD_ANSWER


# --- errors ---


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"error":{"message":"no","type":"x","param":"p","code":"y"}}', ("no", "x", "p", "y")),
        (400, b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}',
         ("no", "BadRequestError", None, "400")),
        (429, b'{"error":{"message":"no"}}', ("no", "rate_limit_error", None, None)),
        (400, b'[{"error":{"code":400,"message":"no","status":"INVALID"}}]',
         ("no", "invalid_request_error", None, "400")),
        (422, b'{"detail":[{"loc":["body"],"msg":"no","type":"x"}]}',
         ("body: no", "invalid_request_error", None, None)),
        (401, b'{"error":"no"}', ("no", "authentication_error", None, None)),
        (500, b" no\n", ("no", "api_error", None, None)),
        (502, b"<html>no</html>", ("The provider answered with status 502.", "api_error", None, None)),
        (404, b"", ("The provider answered with status 404.", "not_found_error", None, None)),
        (400, b'{"error":{"message":null,"type":["x"],"param":7,"code":true}}',
         ("The provider answered with status 400.", "invalid_request_error", None, None)),
    ],
)  # fmt: skip
def test_errors(status: int, body: bytes, error: tuple[str, str, str | None, str | None]) -> None:
    """A provider's error has all members of OpenAI's form; what the provider told in them stays."""
    told = json.loads(RESPONSES_TO_CHAT.error(status, body))
    assert told == {"error": dict(zip(("message", "type", "param", "code"), error, strict=True))}


def test_errors_of_our_own() -> None:
    """The gateway's own errors have the client's form already."""
    body = error_body(GatewayError(Reason.CONNECT_FAILED, "Cannot connect.", "a detail"))
    assert RESPONSES_TO_CHAT.error(503, body) == body
