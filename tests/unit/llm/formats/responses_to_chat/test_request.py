"""A request of a Responses client, as the chat-completions provider gets it: byte for byte, and what was lost."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats.responses_to_chat import RESPONSES_TO_CHAT
from torana.llm.operation import Operation

HI = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA}
FUNCTION: dict[str, Any] = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
WEB_SEARCH = {"type": "web_search"}
OTHER = {"type": "function", "name": "g", "parameters": None, "strict": None}
OTHER_FUNCTION = {
    "type": "function",
    "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
}
INPUT_ALONE = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Told(NamedTuple):
    """Members of a request besides `model` and `input`, those of its translation, and what is lost."""

    name: str
    asked: dict[str, Any]
    sent: dict[str, Any]
    lost: tuple[str, ...] = ()


def form(**members: Any) -> dict[str, Any]:
    return {"text": {"format": members}}


OPTIONS = [
    Told("no options", {}, {}),
    Told("max_output_tokens", {"max_output_tokens": 9}, {"max_tokens": 9}),
    Told("sampling", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "top_p": 0.9}, ("top_k",)),
    Told("chat's own", {"seed": 1, "stop": ["a"]}, {"seed": 1, "stop": ["a"]}),
    Told("n is lost", {"n": 2}, {}, ("n",)),
    Told("names", {"user": "u", "safety_identifier": "s", "prompt_cache_key": "p"},
         {"prompt_cache_key": "p", "safety_identifier": "s", "user": "u"}),
    Told("a tier", {"service_tier": "flex"}, {"service_tier": "flex"}),
    Told("metadata are repeated by the answer", {"metadata": {"a": "b"}}, {}),
    Told("a stream", {"stream": True}, {"stream": True}),
    Told("no stream", {"stream": False}, {}),
    Told("what only a stored response has, unset",
         {"store": False, "background": False, "previous_response_id": None, "conversation": None, "prompt": None}, {}),
    Told("unknown members", {"max_tool_calls": 3, "context_management": [], "x": {"y": 1}, "z": None}, {},
         ("max_tool_calls", "context_management", "x")),
    Told("reasoning", {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
    Told("all of reasoning", {"reasoning": {"effort": "high", "summary": "auto", "context": "auto"}},
         {"reasoning_effort": "high"}, ("reasoning.summary", "reasoning.context")),
    Told("verbosity", {"text": {"verbosity": "low"}}, {"verbosity": "low"}),
    Told("text", form(type="text"), {}),
    Told("an object", form(type="json_object"), {"response_format": {"type": "json_object"}}),
    Told("a schema", form(type="json_schema", schema=SCHEMA, strict=True, name="n", description="d", x=1),
         {"response_format": {"type": "json_schema",
                              "json_schema": {"name": "n", "description": "d", "schema": SCHEMA, "strict": True}}},
         ("text.format.x",)),
    Told("a schema that is not strict", form(type="json_schema", name="n", schema=SCHEMA, strict=None),
         {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}),
    Told("another format", form(type="grammar"), {}, ("text.format",)),
    Told("truncation as it is", {"truncation": "disabled"}, {}),
    Told("truncation", {"truncation": "auto"}, {}, ("truncation",)),
    Told("what to include", {"include": ["reasoning.encrypted_content", "message.output_text.logprobs",
                                         "file_search_call.results"]}, {"logprobs": True}, ("include[2]",)),
    Told("logprobs", {"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    Told("no logprobs", {"top_logprobs": 0, "include": None}, {}),
    Told("a tool", {"tools": [TOOL]}, {"tools": [FUNCTION]}),
    Told("all of a tool", {"tools": [{**TOOL, "strict": True, "defer_loading": True, "output_schema": {}}]},
         {"tools": [{"type": "function", "function": {**FUNCTION["function"], "strict": True}}]},
         ("tools[0].defer_loading", "tools[0].output_schema")),
    Told("a tool with a name alone", {"tools": [OTHER]}, {"tools": [OTHER_FUNCTION]}),
    Told("tools of OpenAI's among others", {"tools": [WEB_SEARCH, TOOL, {"type": "mcp", "server_label": "s"}]},
         {"tools": [FUNCTION]}, ("tools[0]", "tools[2]")),
    Told("a custom tool", {"tools": [{"type": "custom", "name": "c", "description": "d", "format": {"type": "text"}}]},
         {"tools": [{"type": "function", "function": {"name": "c", "description": "d", "parameters": INPUT_ALONE}}]}),
    Told("a custom tool with a grammar",
         {"tools": [{"type": "custom", "name": "c", "description": "d",
                     "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}]},
         {"tools": [{"type": "function", "function": {
             "name": "c", "description": "d\n\n`input` must match this grammar (lark):\nstart: x",
             "parameters": INPUT_ALONE}}]},
         ("tools[0].format",)),
    Told("tools in namespaces",
         {"tools": [TOOL, {"type": "namespace", "name": "n", "description": "d", "tools": [OTHER, TOOL, WEB_SEARCH]}]},
         {"tools": [FUNCTION, OTHER_FUNCTION,
                    {"type": "function", "function": {**FUNCTION["function"], "name": "n__f"}}]},
         ("tools[1].tools[2]", "tools[1].description")),
    Told("one call at a time", {"tools": [TOOL], "parallel_tool_calls": False},
         {"tools": [FUNCTION], "parallel_tool_calls": False}),
    Told("settings of tools without tools", {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
    Told("a choice that nothing meets", {"tool_choice": "required"}, {}, ("tool_choice",)),
    Told("choice auto", {"tools": [TOOL], "tool_choice": "auto"}, {"tools": [FUNCTION], "tool_choice": "auto"}),
    Told("choice none", {"tools": [TOOL], "tool_choice": "none"}, {"tools": [FUNCTION], "tool_choice": "none"}),
    Told("choice required", {"tools": [TOOL], "tool_choice": "required"},
         {"tools": [FUNCTION], "tool_choice": "required"}),
    Told("choice of one", {"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
         {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    Told("choice of a custom one", {"tools": [{"type": "custom", "name": "c"}],
                                    "tool_choice": {"type": "custom", "name": "c"}},
         {"tools": [{"type": "function", "function": {"name": "c", "parameters": INPUT_ALONE}}],
          "tool_choice": {"type": "function", "function": {"name": "c"}}}),
    Told("choice of some",
         {"tools": [TOOL, OTHER], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [
             {"type": "function", "name": "g"}, {"type": "web_search"}]}},
         {"tools": [OTHER_FUNCTION], "tool_choice": "required"}, ("tool_choice.tools[1]",)),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=lambda case: case.name)
def test_options(case: Told) -> None:
    """What both APIs have is carried under the other's name; whatever is not is named as lost."""
    told = RESPONSES_TO_CHAT.request(compact({"model": "m", "input": "hi", **case.asked}), None)
    sent = json.loads(told.body)
    assert sent == {"model": "m", "messages": [HI], **case.sent}
    assert set(told.lost) == set(case.lost)
    assert told.stream is ("stream" in case.sent)


def test_a_request_to_the_byte() -> None:
    """Nested values are the client's own bytes: schemas and arguments are passed on as they were written."""
    told = RESPONSES_TO_CHAT.request(
        b'{"model":"m","tools":[{"type":"function","name":"f","parameters":{ "b":1.50 }}],"stream":true,"input":['
        b'{"type":"function_call","call_id":"t","name":"f","arguments":"{ \\"z\\":1.0 }"}],"max_output_tokens":1e3}',
        None,
    )
    assert told.body == (
        b'{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function",'
        b'"function":{"name":"f","arguments":"{ \\"z\\":1.0 }"}}]}],"max_tokens":1e3,"stream":true,'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{ "b":1.50 }}}]}'
    )
    assert (told.lost, told.model, told.asked_model, told.stream) == ((), "m", "m", True)


def test_the_configured_model_wins() -> None:
    """The provider reads the configured model; the limit goes by the name which that one takes."""
    told = RESPONSES_TO_CHAT.request(b'{"model":"a","input":"hi","max_output_tokens":7}', "gpt-5-mini")
    assert json.loads(told.body) == {"model": "gpt-5-mini", "messages": [HI], "max_completion_tokens": 7}
    assert (told.model, told.asked_model) == ("gpt-5-mini", "a")
    assert RESPONSES_TO_CHAT.operation is Operation.CHAT_COMPLETIONS


# --- conversations ---


class Said(NamedTuple):
    """A conversation in both forms."""

    name: str
    items: Any
    messages: list[dict[str, Any]]
    lost: tuple[str, ...] = ()


def user(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(parts)}


def said(text: str, **members: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content, **members}


def call(call_id: str, **members: Any) -> dict[str, Any]:
    item = {"type": "function_call", "id": "fc", "call_id": call_id, "name": "f", "arguments": "{}"}
    return {**item, "status": "completed", **members}


def result(call_id: str, output: Any, **members: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output, **members}


def called(*call_ids: str, text: str | None = None, **members: Any) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in call_ids]
    return {"role": "assistant", "content": text, **members, "tool_calls": calls}


def returned(call_id: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def thought(sealed: str | None, *texts: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": text} for text in texts]
    summary = [{"type": "summary_text", "text": "s"}]
    return {"type": "reasoning", "id": "rs", "summary": summary, "content": content, "encrypted_content": sealed}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


A = {"type": "input_text", "text": "a"}
B = {"type": "input_text", "text": "b"}
PNG = {"type": "input_image", "image_url": "data:image/png;base64,QUJD"}
PNG_PART: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}

CONVERSATIONS = [
    Said("a text", "hi", [HI]),
    Said("a message without a type", [HI], [HI]),
    Said("texts", [user(A, B)], [{"role": "user", "content": "a\nb"}]),
    Said("text and an image", [user(A, PNG)], [{"role": "user", "content": [text("a"), PNG_PART]}]),
    Said("an image's detail",
         [user({**PNG, "detail": "auto"}, {**PNG, "detail": "low", "file_id": None, "prompt_cache_breakpoint": {}})],
         [{"role": "user", "content": [PNG_PART, {"type": "image_url", "image_url": {**PNG_PART["image_url"],
                                                                                     "detail": "low"}}]}],
         ("input[0].content[1].prompt_cache_breakpoint",)),
    Said("files", [user({"type": "input_file", "file_data": "data:x"}, {"type": "input_file", "file_id": "f"},
                        {"type": "input_file", "filename": "n", "file_data": "data:y", "detail": "low"})],
         [{"role": "user", "content": [
             {"type": "file", "file": {"file_data": "data:x", "filename": "document.pdf"}},
             {"type": "file", "file": {"file_id": "f"}},
             {"type": "file", "file": {"filename": "n", "file_data": "data:y"}}]}],
         ("input[0].content[2].detail",)),
    Said("audio", [user({"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}})],
         [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}]}]),
    Said("system and developer messages",
         [{"role": "developer", "content": "a"}, {"role": "system", "content": [A, B]}, HI,
          {"role": "developer", "content": [B]}],
         [{"role": "system", "content": "a\n\na\nb"}, HI, {"role": "system", "content": "b"}]),
    Said("what the model said", [HI, said("a"), HI, {"role": "assistant", "content": "b"}, HI],
         [HI, {"role": "assistant", "content": "a"}, HI, {"role": "assistant", "content": "b"}, HI]),
    Said("two messages of one turn", [said("a"), said("b")], [{"role": "assistant", "content": "a\nb"}]),
    Said("a refusal", [said("", content=[{"type": "refusal", "refusal": "no"}])],
         [{"role": "assistant", "content": "no"}]),
    Said("what is said of a text", [said("", phase="commentary", content=[
        {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}]}])],
         [{"role": "assistant", "content": "a"}], ("input[0].content[0].annotations", "input[0].phase")),
    Said("a call and its result", [HI, call("1"), result("1", "r", id="x", status="completed")],
         [HI, called("1"), returned("1", "r")]),
    Said("calls with text, and their results", [said("a"), call("1"), call("2"), result("2", "s"), result("1", "r")],
         [called("1", "2", text="a"), returned("1", "r"), returned("2", "s")]),
    Said("text after a call", [call("1"), said("a"), result("1", "r")], [called("1", text="a"), returned("1", "r")]),
    Said("one call after the other", [call("1"), result("1", "r"), call("2"), result("2", "s")],
         [called("1"), returned("1", "r"), called("2"), returned("2", "s")]),
    Said("a result that comes late", [call("1"), HI, result("1", "r")], [called("1"), returned("1", "r"), HI]),
    Said("a result without a call", [HI, result("1", "r")], [HI, returned("1", "r")]),
    Said("a call without a result", [call("1"), HI], [called("1"), HI]),
    Said("a result in parts", [call("1"), result("1", [A, B])], [called("1"), returned("1", "a\nb")]),
    Said("a result with an image", [call("1"), call("2"), result("1", [A, PNG]), result("2", "s"), HI],
         [called("1", "2"), returned("1", "a"), returned("2", "s"),
          {"role": "user", "content": [text("Returned by tool call 1:"), PNG_PART]}, HI]),
    Said("a custom call",
         [{"type": "custom_tool_call", "call_id": "1", "name": "c", "input": 'a "b"'},
          {"type": "custom_tool_call_output", "call_id": "1", "output": "r"}],
         [{"role": "assistant", "content": None, "tool_calls": [
             {"id": "1", "type": "function", "function": {"name": "c", "arguments": '{"input":"a \\"b\\""}'}}]},
          returned("1", "r")]),
    Said("thoughts by the name they came by", [thought("reasoning_content", "h", "m"), said("a"), call("1")],
         [called("1", text="a", reasoning_content="hm")]),
    Said("sealed thoughts", [{**thought("reasoning:a: b"), "content": None}, call("1")],
         [called("1", reasoning="a: b")]),
    Said("sealed thoughts that are shown too", [thought("reasoning:ab", "a", "b"), said("c")],
         [{"role": "assistant", "content": "c", "reasoning": "ab"}]),
    Said("thoughts of others", [thought("gAAAA:x", "hm"), thought(None, "hm"), said("a")],
         [{"role": "assistant", "content": "a"}], ("input[0]", "input[1]")),
    Said("calls of OpenAI's own tools", [HI, {"type": "web_search_call", "id": "w", "status": "completed"}, said("a")],
         [HI, {"role": "assistant", "content": "a"}], ("input[1]",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CONVERSATIONS, ids=lambda case: case.name)
def test_conversations(case: Said) -> None:
    """Whoever said what stays the same; results stand where chat wants them."""
    told = RESPONSES_TO_CHAT.request(compact({"model": "m", "input": case.items}), None)
    assert json.loads(told.body) == {"model": "m", "messages": case.messages}
    assert told.lost == case.lost


def test_instructions_come_first() -> None:
    """Instructions are one system message with the developer's, which many models take only once."""
    asked = {"model": "m", "instructions": "i", "input": [{"role": "developer", "content": "d"}, HI]}
    told = RESPONSES_TO_CHAT.request(compact(asked), None)
    assert json.loads(told.body)["messages"] == [{"role": "system", "content": "i\n\nd"}, HI]
    alone = RESPONSES_TO_CHAT.request(b'{"model":"m","instructions":"i","input":[]}', None)
    assert json.loads(alone.body)["messages"] == [{"role": "system", "content": "i"}]


def test_tools_that_were_added_on_the_way() -> None:
    """Tools among the items are offered like the others, and calls in the history go by the same names."""
    namespace = {"type": "namespace", "name": "n", "description": "", "tools": [TOOL]}
    items = [{"type": "additional_tools", "role": "developer", "tools": [namespace]}, call("1", namespace="n")]
    told = RESPONSES_TO_CHAT.request(compact({"model": "m", "tools": [TOOL], "input": items}), None)
    sent = json.loads(told.body)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["f", "n__f"]
    assert sent["messages"][0]["tool_calls"][0]["function"]["name"] == "n__f"
    assert told.lost == ("input[0].tools[0].description",)


# --- refusals ---


def asked(*items: Any) -> dict[str, Any]:
    return {"input": list(items)}


REFUSED = [
    ({"input": "hi", "model": None}, Reason.MODEL_MISSING, "model"),
    ({}, Reason.BAD_JSON, "input"),
    ({"input": 7}, Reason.BAD_JSON, "input"),
    ({"input": []}, Reason.BAD_JSON, "input"),
    (asked("hi"), Reason.BAD_JSON, "input[0]"),
    (asked({"content": "hi"}), Reason.BAD_JSON, "input[0].role"),
    (asked({"role": "tool", "content": "hi"}), Reason.BAD_JSON, "input[0].role"),
    (asked({"role": "user", "content": 7}), Reason.BAD_JSON, "input[0].content"),
    (asked(user({"text": "a"})), Reason.BAD_JSON, "input[0].content[0].type"),
    (asked(user({"type": "input_text"})), Reason.BAD_JSON, "input[0].content[0].text"),
    (asked({"type": "function_call", "call_id": "1", "name": "f"}), Reason.BAD_JSON, "input[0].arguments"),
    (asked({"type": "function_call_output", "output": "r"}), Reason.BAD_JSON, "input[0].call_id"),
    ({"input": "hi", "tools": [{}]}, Reason.BAD_JSON, "tools[0].type"),
    ({"input": "hi", "tools": [{"type": "function"}]}, Reason.BAD_JSON, "tools[0].name"),
    ({"input": "hi", "tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}, Reason.BAD_JSON,
     "tool_choice.name"),
    ({"input": "hi", "tool_choice": "some"}, Reason.BAD_JSON, "tool_choice"),
    ({"input": "hi", "include": 7}, Reason.BAD_JSON, "include"),
    ({"input": "hi", "store": "yes"}, Reason.BAD_JSON, "store"),
    ({"input": "hi", "previous_response_id": "resp_1"}, Reason.UNTRANSLATABLE, "previous_response_id"),
    ({"input": "hi", "conversation": {"id": "c"}}, Reason.UNTRANSLATABLE, "conversation"),
    ({"prompt": {"id": "p"}}, Reason.UNTRANSLATABLE, "prompt"),
    ({"input": "hi", "store": True}, Reason.UNTRANSLATABLE, "store"),
    ({"input": "hi", "background": True}, Reason.UNTRANSLATABLE, "background"),
    (asked({"type": "item_reference", "id": "x"}), Reason.UNTRANSLATABLE, "input[0]"),
    (asked(HI, {"type": "compaction", "encrypted_content": "x"}), Reason.UNTRANSLATABLE, "input[1]"),
    (asked({"type": "computer_call_output", "call_id": "1", "output": {}}), Reason.UNTRANSLATABLE, "input[0]"),
    (asked(user({"type": "input_image", "file_id": "f"})), Reason.UNTRANSLATABLE, "input[0].content[0]"),
    (asked(user({"type": "input_file", "file_url": "https://x/y.pdf"})), Reason.UNTRANSLATABLE, "input[0].content[0]"),
    (asked(user({"type": "input_video"})), Reason.UNTRANSLATABLE, "input[0].content[0]"),
    (asked({"role": "system", "content": [PNG]}), Reason.UNTRANSLATABLE, "input[0].content[0]"),
    ({"input": "hi", "tools": [WEB_SEARCH]}, Reason.UNTRANSLATABLE, "tools[0]"),
    ({"input": "hi", "tools": [TOOL, WEB_SEARCH], "tool_choice": WEB_SEARCH}, Reason.UNTRANSLATABLE, "tool_choice"),
    ({"input": "hi", "tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [WEB_SEARCH]}},
     Reason.UNTRANSLATABLE, "tool_choice.tools"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "reason", "param"), REFUSED)
def test_what_cannot_be_asked_is_refused_with_its_place(asked: dict[str, Any], reason: Reason, param: str) -> None:
    """What is wrong, or has no form in chat and would change the answer, is refused; the message names where it is."""
    with pytest.raises(GatewayError) as caught:
        RESPONSES_TO_CHAT.request(compact({"model": "m", **asked}), None)
    assert (caught.value.reason, caught.value.param) == (reason, param)
    assert param in caught.value.message


def test_a_refusal_teaches() -> None:
    """A client that counts on a memory reads what to do without one."""
    with pytest.raises(GatewayError) as caught:
        RESPONSES_TO_CHAT.request(b'{"model":"m","input":"hi","previous_response_id":"resp_1"}', None)
    assert caught.value.message == (
        "`previous_response_id` needs responses to be stored, and this provider is asked by chat completions, which "
        "remembers nothing; send the whole conversation in `input`, or route the request to OpenAI."
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"m","input":[{"role":"\xff"}]}', b"{" * 10_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """A body that is no JSON object is a fault of the client's."""
    with pytest.raises(GatewayError) as caught:
        RESPONSES_TO_CHAT.request(body, "m")
    assert caught.value.reason is Reason.BAD_JSON


def test_nesting_without_end_is_refused() -> None:
    """Tools nested deeper than the machine's stack are a fault of the client's, not ours."""
    deep = b'{"type":"namespace","name":"n","tools":['
    body = b'{"model":"m","input":"hi","tools":[' + deep * 5_000 + b"]}" * 5_000 + b"]}"
    with pytest.raises(GatewayError) as caught:
        RESPONSES_TO_CHAT.request(body, None)
    assert caught.value.reason is Reason.BAD_JSON
