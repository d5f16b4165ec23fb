"""A request of a Messages client, as the chat-completions provider gets it: byte for byte, and what was lost."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT
from torana.llm.operation import Operation

CACHED = {"type": "ephemeral"}
HI = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"x": {"type": "number"}}}}
FUNCTION = {"name": "f", "description": "d", "parameters": TOOL["input_schema"]}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
CALLED = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
PDF_SOURCE = {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}}
CLOSED = {**SCHEMA, "required": ["a"], "additionalProperties": False}
STRICT_FORMAT = {"type": "json_schema", "json_schema": {"name": "output", "schema": CLOSED, "strict": True}}


def text(text: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **members}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Told(NamedTuple):
    """Members of a request besides `model` and `messages`, those of its translation, and what is lost."""

    name: str
    asked: dict[str, Any]
    sent: dict[str, Any]
    lost: tuple[str, ...] = ()


OPTIONS = [
    Told("max_tokens", {"max_tokens": 9}, {"max_tokens": 9}),
    Told("no max_tokens", {}, {}),
    Told("stop sequences", {"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
    Told("no stop sequences", {"stop_sequences": []}, {}),
    Told("sampling", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "top_p": 0.9}, ("top_k",)),
    Told("chat's own", {"seed": 1, "response_format": {"type": "json_object"}},
         {"seed": 1, "response_format": {"type": "json_object"}}),
    Told("n is lost", {"n": 2}, {}, ("n",)),
    Told("unknown members", {"container": "c", "mcp_servers": [], "x": {"y": 1}, "z": None}, {},
         ("container", "mcp_servers", "x")),
    Told("null is absent", {"stop_sequences": None, "metadata": None, "tools": None, "system": None}, {}),
    Told("a stream", {"stream": True}, {"stream": True}),
    Told("no stream", {"stream": False}, {}),
    Told("a user", {"metadata": {"user_id": "u" * 64}}, {"user": "u" * 64}),
    Told("a user too long for OpenAI", {"metadata": {"user_id": "u" * 65, "x": 1}}, {},
         ("metadata.user_id", "metadata.x")),
    Told("any tier", {"service_tier": "auto"}, {"service_tier": "auto"}),
    Told("the standard tier", {"service_tier": "standard_only"}, {"service_tier": "default"}),
    Told("another tier", {"service_tier": "golden"}, {}, ("service_tier",)),
    Told("thinking a little", {"thinking": {"type": "enabled", "budget_tokens": 4096}}, {"reasoning_effort": "low"}),
    Told("thinking", {"thinking": {"type": "enabled", "budget_tokens": 10000}}, {"reasoning_effort": "medium"}),
    Told("thinking hard", {"thinking": {"type": "enabled", "budget_tokens": 31999}}, {"reasoning_effort": "high"}),
    Told("thinking at will", {"thinking": {"type": "adaptive", "display": "omitted"}}, {}, ("thinking.display",)),
    Told("no thinking", {"thinking": {"type": "disabled"}}, {}, ("thinking",)),
    Told("an effort wins", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "max"}},
         {"reasoning_effort": "max"}),
    Told("a schema", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
         {"response_format": RESPONSE_FORMAT}),
    Told("a schema, as it was asked for before", {"output_format": {"type": "json_schema", "schema": SCHEMA}},
         {"response_format": RESPONSE_FORMAT}),
    Told("a schema that OpenAI can enforce", {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
         {"response_format": STRICT_FORMAT}),
    Told("another format", {"output_config": {"format": {"type": "xml"}, "x": 1}}, {},
         ("output_config.format", "output_config.x")),
    Told("a tool", {"tools": [TOOL]}, {"tools": [{"type": "function", "function": FUNCTION}]}),
    Told("all of a tool", {"tools": [{"type": "custom", **TOOL, "strict": True, "cache_control": CACHED,
                                      "input_examples": [{}], "defer_loading": True}]},
         {"tools": [{"type": "function", "function": {"name": "f", "description": "d",
                                                      "parameters": TOOL["input_schema"]}}]},
         ("tools[0].strict", "tools[0].cache_control", "tools[0].input_examples", "tools[0].defer_loading")),
    Told("a strict tool", {"tools": [{"name": "f", "strict": True, "input_schema": CLOSED}]},
         {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": CLOSED}}]}),
    Told("a tool that is not strict", {"tools": [{"name": "f", "strict": False, "input_schema": SCHEMA}]},
         {"tools": [{"type": "function", "function": {"name": "f", "strict": False, "parameters": SCHEMA}}]}),
    Told("a tool with a name alone", {"tools": [{"name": "g"}]},
         {"tools": [{"type": "function",
                     "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}]}),
    Told("a tool of Anthropic's among others", {"tools": [{"type": "web_search_20250305", "name": "web_search"}, TOOL]},
         {"tools": [{"type": "function", "function": FUNCTION}]}, ("tools[0]",)),
    Told("choice auto", {"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
    Told("choice any", {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
         {"tool_choice": "required", "parallel_tool_calls": False}),
    Told("choice none", {"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
    Told("choice of one", {"tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": False}},
         {"tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": True}),
    Told("choice of a kind to come", {"tool_choice": {"type": "some"}}, {}, ("tool_choice",)),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=lambda case: case.name)
def test_options(case: Told) -> None:
    """What both APIs have is carried under the other's name; whatever is not is named as lost."""
    told = MESSAGES_TO_CHAT.request(compact({"model": "m", "messages": [HI], **case.asked}), None)
    assert told.body == compact({"model": "m", "messages": [HI], **case.sent})
    assert told.lost == case.lost
    assert told.stream is ("stream" in case.sent)


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (SCHEMA, False),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "required": [7]}, False),
        ({**CLOSED, "required": "a"}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "null"}, CLOSED]}}}}, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "null"}, SCHEMA]}}}}, False),
        ({**CLOSED, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": CLOSED}}, True),
        ({**CLOSED, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": SCHEMA}}, False),
        ({"type": "object", "additionalProperties": False}, True),
        ({"type": "object"}, False),
        ({"type": "string"}, True),
        (7, True),
    ],
)
def test_only_what_openai_takes_as_strict_is(schema: Any, strict: bool) -> None:
    """OpenAI refuses strict schemas with optional or other properties, which Anthropic takes: they go as they are."""
    asked = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    told = MESSAGES_TO_CHAT.request(compact({"model": "m", "messages": [HI], **asked}), None)
    sent = json.loads(told.body)["response_format"]["json_schema"]
    assert sent == {"name": "output", "schema": schema, **({"strict": True} if strict else {})}


class Said(NamedTuple):
    """A conversation in both forms; `asked` has `system` and `messages`."""

    name: str
    asked: dict[str, Any]
    sent: list[dict[str, Any]]
    lost: tuple[str, ...] = ()


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def model(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": list(blocks)}]}


def heard(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def answered(content: Any, **members: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": content, **members}]


def result(content: Any, **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content, **members}


def returned(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "t1", "content": content}


CONVERSATIONS = [
    Said("system as text", {"system": "S", "messages": [HI]}, [{"role": "system", "content": "S"}, HI]),
    Said("system as blocks", {"system": [text("S", cache_control=CACHED), text("T")], "messages": [HI]},
         [{"role": "system", "content": "S\nT"}, HI], ("system[0].cache_control",)),
    Said("empty system", {"system": "", "messages": [HI]}, [HI]),
    Said("no block of system", {"system": [], "messages": [HI]}, [HI]),
    Said("system in between", {"messages": [HI, {"role": "system", "content": [text("S")]}]},
         [HI, {"role": "system", "content": "S"}]),
    Said("turns", {"messages": [HI, {"role": "assistant", "content": "yo"}, HI]},
         [HI, {"role": "assistant", "content": "yo"}, HI]),
    Said("text not of ASCII", user(text('é\n"\U0001f600')), heard('é\n"\U0001f600')),
    Said("one text", user(text("a", cache_control=CACHED)), heard("a"), ("messages[0].content[0].cache_control",)),
    Said("texts", user(text("a"), text("b")), heard("a\nb")),
    Said("no block", user(), heard("")),
    Said("an image in base64", user(text("a"), PNG), heard([text("a"), PNG_PART])),
    Said("an image by URL", user({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}),
         heard([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])),
    Said("a PDF", user({"type": "document", "source": PDF_SOURCE, "context": "c"}),
         heard([{"type": "file",
                 "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QUJD"}}]),
         ("messages[0].content[0].context",)),
    Said("a PDF with a title", user({"type": "document", "title": "t.pdf", "source": PDF_SOURCE}),
         heard([{"type": "file", "file": {"filename": "t.pdf", "file_data": "data:application/pdf;base64,QUJD"}}])),
    Said("a text as document",
         user({"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}),
         heard("a"), ("messages[0].content[0].title",)),
    Said("blocks as document", user({"type": "document", "source": {"type": "content", "content": [text("a"), PNG]}}),
         heard([text("a"), PNG_PART])),
    Said("a text for blocks as document", user({"type": "document", "source": {"type": "content", "content": "a"}}),
         heard("a")),
    Said("a search result", user({"type": "search_result", "title": "t", "source": "s", "content": [text("a")],
                                  "citations": {"enabled": True}}),
         heard("t\ns\na"), ("messages[0].content[0].citations",)),
    Said("an answer in texts", model(text("a", citations=[]), text("b")), answered("ab"),
         ("messages[0].content[0].citations",)),
    Said("an empty answer", model(), answered("")),
    Said("a call", model(CALL), answered(None, tool_calls=[CALLED])),
    Said("a call without input", model({"type": "tool_use", "id": "t1", "name": "f"}),
         answered(None, tool_calls=[{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}])),
    Said("text and calls", model(text("a"), CALL, {**CALL, "id": "t2"}),
         answered("a", tool_calls=[CALLED, {**CALLED, "id": "t2"}])),
    Said("thoughts of the provider's", model({"type": "thinking", "thinking": "hm", "signature": "reasoning_content"},
                                             text("a")), answered("a", reasoning_content="hm")),
    Said("thoughts by their newer name", model({"type": "thinking", "thinking": "h", "signature": "reasoning"},
                                               {"type": "thinking", "thinking": "m", "signature": "reasoning"}, CALL),
         answered(None, reasoning="hm", tool_calls=[CALLED])),
    Said("thoughts of Claude's", model({"type": "thinking", "thinking": "hm", "signature": "Ep=="},
                                       {"type": "redacted_thinking", "data": "x"}, text("a")), answered("a"),
         ("messages[0].content[0]", "messages[0].content[1]")),
    Said("a tool that ran at Anthropic", model({"type": "server_tool_use", "id": "s", "name": "web_search"},
                                               {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
                                               text("a")), answered("a"),
         ("messages[0].content[0]", "messages[0].content[1]")),
    Said("a result as text", user(result("r")), [returned("r")]),
    Said("a result as blocks", user(result([text("a"), text("b")], cache_control=CACHED)), [returned("a\nb")],
         ("messages[0].content[0].cache_control",)),
    Said("no result", user({"type": "tool_result", "tool_use_id": "t1"}), [returned("")]),
    Said("an error", user(result("no", is_error=True)), [returned("Error: no")]),
    Said("an error that says so", user(result("error 7", is_error=True)), [returned("error 7")]),
    Said("not an error", user(result("no", is_error=False)), [returned("no")]),
    Said("results before what was said", user(text("a"), result("r"), {**result("s"), "tool_use_id": "t2"}),
         [returned("r"), {**returned("s"), "tool_call_id": "t2"}, *heard("a")]),
    Said("a result with an image", user(result([text("r"), PNG]), text("a")),
         [returned("r"), *heard([text("Returned by tool call t1:"), PNG_PART, text("a")])]),
    Said("tools found", user(result([{"type": "tool_reference", "tool_name": "g"}])), [returned("g")]),
]  # fmt: skip


@pytest.mark.parametrize("case", CONVERSATIONS, ids=lambda case: case.name)
def test_conversations(case: Said) -> None:
    """Everything that was said reaches the model, in chat's order and in the plainest form that holds it."""
    told = MESSAGES_TO_CHAT.request(compact({"model": "m", **case.asked}), None)
    assert told.body == compact({"model": "m", "messages": case.sent})
    assert told.lost == case.lost


def test_numbers_and_order_of_arguments_stay() -> None:
    """A tool's input and schema are passed on as they were written, to the byte."""
    body = b"""{"model":"m","tools":[{"name":"f","input_schema":{ "b":1.50, "a":1e3 }}],"messages":[
        {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{ "z":1.0, "y":1e400 }}]}]}"""
    sent = MESSAGES_TO_CHAT.request(body, None).body
    assert b'"parameters":{ "b":1.50, "a":1e3 }' in sent
    assert b'"arguments":"{ \\"z\\":1.0, \\"y\\":1e400 }"' in sent


def test_half_an_emoji_is_replaced() -> None:
    """A text that was cut in the middle of a surrogate pair is asked with a replacement character in its place."""
    body = b'{"model":"m","messages":[{"role":"user","content":"\\ud83d\\ude00 \\ud83d"}]}'
    sent = json.loads(MESSAGES_TO_CHAT.request(body, None).body)
    assert sent == {"model": "m", "messages": [{"role": "user", "content": "\U0001f600 \ufffd"}]}


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("o1", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("gpt-5", "max_completion_tokens"),
        ("gpt-5.2-codex", "max_completion_tokens"),
        ("openai/gpt-5-mini", "max_completion_tokens"),
        ("gpt-4o", "max_tokens"),
        ("gpt-35-turbo", "max_tokens"),
        ("gpt-oss-120b", "max_tokens"),
        ("olmo-3", "max_tokens"),
        ("foo3", "max_tokens"),
        ("deepseek-chat", "max_tokens"),
    ],
)
def test_the_limit_goes_by_the_name_that_the_model_takes(name: str, member: str) -> None:
    """OpenAI's reasoning models refuse `max_tokens`; every other server knows it."""
    told = MESSAGES_TO_CHAT.request(compact({"model": "claude", "max_tokens": 7, "messages": [HI]}), name)
    assert json.loads(told.body) == {"model": name, "messages": [HI], member: 7}
    assert (told.model, told.asked_model) == (name, "claude")


def test_the_upstream_is_asked_for_a_chat_completion() -> None:
    """The path follows from the operation."""
    assert MESSAGES_TO_CHAT.operation is Operation.CHAT_COMPLETIONS


WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}

REFUSED = [
    ({"messages": [HI], "model": None}, Reason.MODEL_MISSING, "model"),
    ({}, Reason.BAD_JSON, "messages"),
    ({"messages": []}, Reason.BAD_JSON, "messages"),
    ({"messages": "hi"}, Reason.BAD_JSON, "messages"),
    ({"messages": ["hi"]}, Reason.BAD_JSON, "messages[0]"),
    ({"messages": [{"content": "hi"}]}, Reason.BAD_JSON, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "hi"}]}, Reason.BAD_JSON, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 7}]}, Reason.BAD_JSON, "messages[0].content"),
    (user({"text": "a"}), Reason.BAD_JSON, "messages[0].content[0].type"),
    (user({"type": "text"}), Reason.BAD_JSON, "messages[0].content[0].text"),
    (user({"type": "image"}), Reason.BAD_JSON, "messages[0].content[0].source"),
    (user(result("x", is_error="yes")), Reason.BAD_JSON, "messages[0].content[0].is_error"),
    ({"messages": [HI], "thinking": {"type": "enabled", "budget_tokens": "9"}}, Reason.BAD_JSON,
     "thinking.budget_tokens"),
    ({"messages": [HI], "tools": [{}]}, Reason.BAD_JSON, "tools[0].name"),
    (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), Reason.UNTRANSLATABLE,
     "messages[0].content[0].source"),
    (user({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}), Reason.UNTRANSLATABLE,
     "messages[0].content[0].source"),
    (user({"type": "document", "source": {"type": "content", "content": [
        {"type": "document", "source": {"type": "content", "content": "a"}}]}}), Reason.UNTRANSLATABLE,
     "messages[0].content[0].source.content[0]"),
    (user({"type": "container_upload", "file_id": "f"}), Reason.UNTRANSLATABLE, "messages[0].content[0]"),
    ({"messages": [HI], "system": [PNG]}, Reason.UNTRANSLATABLE, "system[0]"),
    ({"messages": [HI], "tools": [WEB_SEARCH]}, Reason.UNTRANSLATABLE, "tools[0]"),
    ({"messages": [HI], "tools": [TOOL, WEB_SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}},
     Reason.UNTRANSLATABLE, "tools[1]"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "reason", "param"), REFUSED)
def test_what_cannot_be_asked_is_refused_with_its_place(asked: dict[str, Any], reason: Reason, param: str) -> None:
    """What is wrong, or has no form in chat and would change the answer, is refused; the message names where it is."""
    with pytest.raises(GatewayError) as caught:
        MESSAGES_TO_CHAT.request(compact({"model": "m", **asked}), None)
    assert (caught.value.reason, caught.value.param) == (reason, param)
    assert param in caught.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"m","messages":[{"role":"\xff"}]}', b"{" * 10_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """A body that is no JSON object is a fault of the client's."""
    with pytest.raises(GatewayError) as caught:
        MESSAGES_TO_CHAT.request(body, "m")
    assert caught.value.reason is Reason.BAD_JSON


def test_nesting_without_end_is_refused() -> None:
    """Blocks nested deeper than the machine's stack are a fault of the client's, not ours."""
    deep = b'{"model":"m","messages":' + b'[{"role":"user","content":' * 5_000 + b"}]" * 5_000 + b"}"
    with pytest.raises(GatewayError) as caught:
        MESSAGES_TO_CHAT.request(deep, None)
    assert caught.value.reason is Reason.BAD_JSON
