"""A request of a chat client, as Anthropic gets it: byte for byte, and what was lost."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages import CHAT_TO_MESSAGES
from torana.llm.operation import Operation

CACHED = {"type": "ephemeral"}
HI = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"name": "f", "description": "d", "input_schema": SCHEMA}
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
CALLED = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
NAMED = {"type": "function", "function": {"name": "f"}}
FORMAT = {"type": "json_schema", "schema": SCHEMA}


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
    model: str = "claude-opus-4-5"


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def adaptive(effort: str) -> dict[str, Any]:
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}


OPTIONS = [
    Told("a limit", {"max_tokens": 9}, {"max_tokens": 9}),
    Told("the newer limit", {"max_completion_tokens": 9}, {"max_tokens": 9}),
    Told("both limits", {"max_completion_tokens": 9, "max_tokens": 8}, {"max_tokens": 9}, ("max_tokens",)),
    Told("no limit", {}, {}),
    Told("a stop", {"stop": "a"}, {"stop_sequences": ["a"]}),
    Told("stops", {"stop": ["a", "\n", "b"]}, {"stop_sequences": ["a", "b"]}, ("stop[1]",)),
    Told("no stop that counts", {"stop": ["\n\n"]}, {}, ("stop[0]",)),
    Told("a stream", {"stream": True}, {"stream": True}),
    Told("a stream with usage", {"stream": True, "stream_options": {"include_usage": True, "x": 1}}, {"stream": True},
         ("stream_options.x",)),
    Told("no stream", {"stream": False}, {}),
    Told("null is absent", {"stop": None, "metadata": None, "tools": None, "tool_choice": None, "n": None}, {}),
    Told("what says nothing", {"n": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {},
                               "logprobs": False, "store": False, "modalities": ["text"], "tools": [],
                               "response_format": {"type": "text"}, "parallel_tool_calls": True}, {}),
    Told("what is lost", {"seed": 1, "frequency_penalty": 1, "logit_bias": {"1": 2}, "logprobs": True,
                          "top_logprobs": 2, "store": True, "prediction": {}, "verbosity": "low", "x": {"y": 1}}, {},
         ("frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "store", "seed", "prediction", "verbosity",
          "x")),
    Told("Messages' own", {"inference_geo": "eu", "container": "c"}, {"container": "c", "inference_geo": "eu"}),
    # --- sampling
    Told("a temperature", {"temperature": 0.5}, {"temperature": 0.5}),
    Told("a temperature that Anthropic has not", {"temperature": 1.5}, {"temperature": 1.0}, ("temperature",)),
    Told("all sampling", {"temperature": 0, "top_p": 0.9, "top_k": 5}, {"temperature": 0.0, "top_k": 5}, ("top_p",)),
    Told("a top_p that says nothing", {"temperature": 0, "top_p": 1}, {"temperature": 0.0}),
    Told("a top_p alone", {"top_p": 0.9}, {"top_p": 0.9}),
    Told("all sampling of another maker's", {"temperature": 0, "top_p": 0.9}, {"temperature": 0.0, "top_p": 0.9},
         model="deepseek-chat"),
    Told("sampling of a newer model", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {},
         ("temperature", "top_p", "top_k"), "claude-opus-4-7"),
    Told("sampling that says nothing", {"temperature": 1, "top_p": 1}, {}, (), "claude-sonnet-5-5"),
    # --- thinking
    Told("an effort", {"reasoning_effort": "low"}, budget(4096)),
    Told("more effort", {"reasoning_effort": "medium"}, budget(16384)),
    Told("much effort, within the limit", {"reasoning_effort": "high"}, budget(24000)),
    Told("much effort and room", {"reasoning_effort": "xhigh", "max_tokens": 64000},
         {**budget(31999), "max_tokens": 64000}),
    Told("an effort with too little room", {"reasoning_effort": "low", "max_tokens": 1000}, {"max_tokens": 1000},
         ("reasoning_effort",)),
    Told("no effort", {"reasoning_effort": "none"}, {}),
    Told("thinking takes no sampling", {"reasoning_effort": "low", "temperature": 0.5}, budget(4096), ("temperature",)),
    Told("an effort of a model that cannot think", {"reasoning_effort": "low"}, {}, ("reasoning_effort",),
         "claude-3-5-haiku-20241022"),
    Told("an effort of a newer model", {"reasoning_effort": "high"}, adaptive("high"), (), "claude-opus-4-6"),
    Told("little effort of a newer model", {"reasoning_effort": "minimal"}, adaptive("low"), (), "claude-fable-5"),
    Told("no effort of a model that thinks unasked", {"reasoning_effort": "none"}, {}, ("reasoning_effort",),
         "claude-sonnet-5"),
    Told("no effort of another maker's", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, (), "glm-5"),
    Told("thinking in Messages' words", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "temperature": 0},
         budget(2000), ("temperature",)),
    Told("Messages' words go first", {"thinking": {"type": "adaptive", "display": "omitted"},
                                      "output_config": {"effort": "max"}, "reasoning_effort": "low"},
         {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
         ("reasoning_effort",), "claude-opus-4-6"),
    Told("no thinking in Messages' words", {"thinking": {"type": "disabled"}, "temperature": 0},
         {"thinking": {"type": "disabled"}, "temperature": 0.0}),
    # --- the form of the answer
    Told("a schema", {"response_format": {"type": "json_schema",
                                          "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}},
         {"output_config": {"format": FORMAT}}),
    Told("a schema that is described",
         {"response_format": {"type": "json_schema", "json_schema": {"description": "d", "schema": SCHEMA}}},
         {"output_config": {"format": FORMAT}}, ("response_format.json_schema.description",)),
    Told("a schema without one", {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, {},
         ("response_format",)),
    Told("any JSON", {"response_format": {"type": "json_object"}}, {}, ("response_format",)),
    # --- who asks
    Told("a user", {"user": "u"}, {"metadata": {"user_id": "u"}}),
    Told("a user by the newer name", {"safety_identifier": "s", "user": "u"}, {"metadata": {"user_id": "s"}},
         ("user",)),
    Told("a user in Messages' words", {"metadata": {"user_id": "m", "x": "y"}, "user": "m"},
         {"metadata": {"user_id": "m"}}, ("metadata.x",)),
    Told("any tier", {"service_tier": "auto"}, {"service_tier": "auto"}),
    Told("the standard tier", {"service_tier": "default"}, {"service_tier": "standard_only"}),
    Told("another tier", {"service_tier": "flex"}, {}, ("service_tier",)),
    # --- tools
    Told("a tool", {"tools": [FUNCTION]}, {"tools": [TOOL]}),
    Told("a strict tool", {"tools": [{"type": "function", "function": {"name": "f", "strict": True}, "x": 1,
                                      "cache_control": CACHED}]},
         {"tools": [{"name": "f", "strict": True, "input_schema": {"type": "object", "properties": {}},
                     "cache_control": CACHED}]}, ("tools[0].x",)),
    Told("a tool without a type of its parameters",
         {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
         {"tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
    Told("a tool of Anthropic's", {"tools": [SEARCH, FUNCTION]}, {"tools": [SEARCH, TOOL]}),
    Told("a tool in Messages' form", {"tools": [TOOL, {"type": "custom", **TOOL}]},
         {"tools": [TOOL, {"type": "custom", **TOOL}]}),
    Told("a tool whose input is no JSON", {"tools": [CUSTOM, FUNCTION]}, {"tools": [TOOL]}, ("tools[0]",)),
    Told("choice auto", {"tools": [FUNCTION], "tool_choice": "auto"},
         {"tools": [TOOL], "tool_choice": {"type": "auto"}}),
    Told("choice required", {"tools": [FUNCTION], "tool_choice": "required"},
         {"tools": [TOOL], "tool_choice": {"type": "any"}}),
    Told("choice none", {"tools": [FUNCTION], "tool_choice": "none", "parallel_tool_calls": False},
         {"tools": [TOOL], "tool_choice": {"type": "none"}}),
    Told("choice without tools", {"tool_choice": "auto", "parallel_tool_calls": False}, {}),
    Told("choice of one", {"tools": [FUNCTION], "tool_choice": NAMED, "parallel_tool_calls": False},
         {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}}),
    Told("one call at a time", {"tools": [FUNCTION], "parallel_tool_calls": False},
         {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
    Told("choice among some", {"tools": [SEARCH, FUNCTION], "tool_choice":
                               {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}},
         {"tools": [TOOL], "tool_choice": {"type": "any"}}),
    Told("a forced call goes without thinking", {"tools": [FUNCTION], "tool_choice": "required",
                                                 "reasoning_effort": "low"},
         {"tools": [TOOL], "tool_choice": {"type": "any"}}, ("reasoning_effort",)),
    Told("a forced call keeps the effort of a newer model", {"tools": [FUNCTION], "tool_choice": NAMED,
                                                             "reasoning_effort": "low"},
         {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}, "output_config": {"effort": "low"}}, (),
         "claude-opus-4-6"),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=lambda case: case.name)
def test_options(case: Told) -> None:
    """What both APIs have is carried under the other's name; whatever is not is named as lost."""
    told = CHAT_TO_MESSAGES.request(compact({"model": case.model, "messages": [HI], **case.asked}), None)
    sent = json.loads(told.body)
    assert sent == {"model": case.model, "max_tokens": 32_000, "messages": [HI], **case.sent}
    assert told.lost == case.lost
    assert told.stream is ("stream" in case.sent)


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-3-haiku-20240307", None),
        ("claude-3-7-sonnet-latest", "enabled"),
        ("claude-opus-4-20250514", "enabled"),
        ("claude-sonnet-4@20250514", "enabled"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "enabled"),
        ("anthropic/claude-4.5-sonnet", "enabled"),
        ("anthropic/claude-sonnet-4.6", "adaptive"),
        ("claude-opus-4-6", "adaptive"),
        ("claude-haiku-5-5", "adaptive"),
        ("claude-mythos-preview", "adaptive"),
        ("kimi-k3", "enabled"),
    ],
)
def test_models_are_known_by_name(model: str, thinking: str | None) -> None:
    """A model is asked to think in the form it knows, however its name is written; a date is no version."""
    body = compact({"model": model, "messages": [HI], "reasoning_effort": "low"})
    sent = json.loads(CHAT_TO_MESSAGES.request(body, None).body)
    assert sent.get("thinking", {}).get("type") == thinking


class Said(NamedTuple):
    """A conversation in both forms; `sent` has `system` and `messages`."""

    name: str
    asked: list[dict[str, Any]]
    sent: dict[str, Any]
    lost: tuple[str, ...] = ()


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def model(*content: Any, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content[0] if len(content) == 1 else list(content) or None, **members}


def picture(url: str, **members: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **members}}


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def file(**members: Any) -> dict[str, Any]:
    return {"type": "file", "file": members}


def document(title: str | None = None, **source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **({} if title is None else {"title": title})}


def result(content: Any, call: str = "t1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": content}


def returned(content: Any, call: str = "t1") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": content}


def data_url(media_type: str, data: bytes = b"ABC") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


PNG = picture("data:image/png;base64,QUJD")
PNG_BLOCK = image(type="base64", media_type="image/png", data="QUJD")
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
REDACTED = {"type": "redacted_thinking", "data": "x"}
ASKED = {"messages": [HI]}

CONVERSATIONS = [
    Said("a system prompt", [{"role": "system", "content": "S"}, HI], {"system": "S", **ASKED}),
    Said("a developer's prompt in parts", [{"role": "developer", "content": [text("S")]}, HI],
         {"system": "S", **ASKED}),
    Said("several prompts", [{"role": "system", "content": "S"}, HI,
                             {"role": "developer", "content": [text("D", cache_control=CACHED), text(" ")]}],
         {"system": [text("S"), text("D", cache_control=CACHED)], **ASKED}),
    Said("a prompt marked for the cache", [{"role": "system", "content": "S", "cache_control": CACHED}, HI],
         {"system": [text("S", cache_control=CACHED)], **ASKED}),
    Said("a prompt alone", [{"role": "system", "content": "S"}], {"messages": [user("S")]}),
    Said("parts", [user(text("a"), text(""), text("b"))], {"messages": [user(text("a"), text("b"))]}),
    Said("one part", [user(text("a"))], {"messages": [user("a")]}),
    Said("a part marked for the cache", [user(text("a", cache_control=CACHED))],
         {"messages": [user(text("a", cache_control=CACHED))]}),
    Said("OpenAI's cache mark", [user(text("a", prompt_cache_breakpoint={"mode": "explicit"}))],
         {"messages": [user("a")]}, ("messages[0].content[0].prompt_cache_breakpoint",)),
    Said("a name", [{**HI, "name": "n"}], ASKED, ("messages[0].name",)),
    Said("one after the other", [user("a"), user(text("b"), PNG)],
         {"messages": [user(text("a"), text("b"), PNG_BLOCK)]}),
    Said("what says nothing", [HI, model(""), user(" ")], ASKED),
    Said("an image", [user(text("a"), PNG)], {"messages": [user(text("a"), PNG_BLOCK)]}),
    Said("an image with a detail", [user(picture("https://x.test/i", detail="low"))],
         {"messages": [user(image(type="url", url="https://x.test/i"))]}, ("messages[0].content[0].image_url.detail",)),
    Said("any detail", [user(picture("https://x.test/i", detail="auto"))],
         {"messages": [user(image(type="url", url="https://x.test/i"))]}),
    Said("an image by a name of old", [user(picture("DATA:image/jpg;x=y;base64,QUJD"))],
         {"messages": [user(image(type="base64", media_type="image/jpeg", data="QUJD"))]}),
    Said("a PDF", [user(file(filename="a.pdf", file_data=data_url("application/pdf")))],
         {"messages": [user(document("a.pdf", type="base64", media_type="application/pdf", data="QUJD"))]}),
    Said("a PDF as an image", [user(picture(data_url("application/pdf")))],
         {"messages": [user(document(type="base64", media_type="application/pdf", data="QUJD"))]}),
    Said("a text file", [user(file(filename="a.md", file_data=data_url("text/markdown", "é".encode())))],
         {"messages": [user(document("a.md", type="text", media_type="text/plain", data="é"))]}),
    Said("an image as a file", [user(file(filename="a.png", file_data=data_url("image/png")))],
         {"messages": [user(PNG_BLOCK)]}),
    Said("a file by its id", [user(file(file_id="f1"))], {"messages": [user(document(type="file", file_id="f1"))]}),
    Said("an answer", [HI, model("a"), user("b")], {"messages": [HI, model("a"), user("b")]}),
    Said("an answer as the SDK keeps it",
         [HI, model("a", refusal=None, annotations=[], audio=None, function_call=None, tool_calls=None)],
         {"messages": [HI, model("a")]}),
    Said("an answer with sources", [HI, model("a", annotations=[{}])], {"messages": [HI, model("a")]},
         ("messages[1].annotations",)),
    Said("a refusal", [HI, model(refusal="no")], {"messages": [HI, model("no")]}),
    Said("a refusal in parts", [HI, model(text("a"), {"type": "refusal", "refusal": "no"})],
         {"messages": [HI, model(text("a"), text("no"))]}),
    Said("a call", [HI, model(tool_calls=[CALLED]), result("r")],
         {"messages": [HI, {"role": "assistant", "content": [CALL]}, user(returned("r"))]}),
    Said("text and calls, results and more",
         [HI, model("a", tool_calls=[CALLED, {**CALLED, "id": "t2", "index": 1}]), result("r"), result("q", "t2"),
          user("b")],
         {"messages": [HI, model(text("a"), CALL, {**CALL, "id": "t2"}),
                       user(returned("r"), returned("q", "t2"), text("b"))]}),
    Said("a call without arguments", [HI, model(tool_calls=[{"id": "t1", "function": {"name": "f", "arguments": ""}}])],
         {"messages": [HI, {"role": "assistant", "content": [{**CALL, "input": {}}]}]}),
    Said("ids of another provider's", [HI, model(tool_calls=[{**CALLED, "id": "f:0.1"}]), result("r", "f:0.1")],
         {"messages": [HI, {"role": "assistant", "content": [{**CALL, "id": "f_0_1"}]}, user(returned("r", "f_0_1"))]}),
    Said("results in parts", [HI, model(tool_calls=[CALLED]), result([text("r"), PNG])],
         {"messages": [HI, {"role": "assistant", "content": [CALL]}, user(returned([text("r"), PNG_BLOCK]))]}),
    Said("a result of nothing", [HI, model(tool_calls=[CALLED]), result("")],
         {"messages": [HI, {"role": "assistant", "content": [CALL]},
                       user({"type": "tool_result", "tool_use_id": "t1"})]}),
    Said("a result marked for the cache", [HI, model(tool_calls=[CALLED]), {**result("r"), "cache_control": CACHED}],
         {"messages": [HI, {"role": "assistant", "content": [CALL]},
                       user({**returned("r"), "cache_control": CACHED})]}),
    Said("thoughts", [HI, model("a", reasoning_content="hm", thinking_blocks=[{**THOUGHT, "index": 0}, REDACTED])],
         {"messages": [HI, model(THOUGHT, REDACTED, text("a"))]}),
    Said("thoughts that nobody signed",
         [HI, model("a", reasoning_content="hm", thinking_blocks=[{"type": "thinking"}])],
         {"messages": [HI, model("a")]}, ("messages[1].thinking_blocks[0]", "messages[1].reasoning_content")),
    Said("another's thoughts", [HI, model("a", reasoning="hm")], {"messages": [HI, model("a")]},
         ("messages[1].reasoning",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CONVERSATIONS, ids=lambda case: case.name)
def test_conversations(case: Said) -> None:
    """Everything that was said reaches Claude, in its order; whatever cannot is named as lost."""
    told = CHAT_TO_MESSAGES.request(compact({"model": "claude-opus-4-6", "messages": case.asked}), None)
    assert told.body == compact({"model": "claude-opus-4-6", "max_tokens": 32_000, **case.sent})
    assert told.lost == case.lost


CALLS = model(tool_calls=[CALLED])
THINKS_FIRST = model(tool_calls=[CALLED], thinking_blocks=[THOUGHT])


@pytest.mark.parametrize(
    ("said", "thinks"),
    [
        ([HI, CALLS, result("r")], False),
        ([HI, model("a", tool_calls=[CALLED]), result("r"), user("go on")], False),
        ([HI, CALLS, result("r"), THINKS_FIRST, result("r")], False),
        ([HI, model("It is (")], False),
        ([HI, THINKS_FIRST, result("r")], True),
        ([HI, model(tool_calls=[CALLED], thinking_blocks=[REDACTED]), result("r"), CALLS, result("r")], True),
        ([HI, CALLS, result("r"), model("a"), user("b")], True),
        ([user("a"), user(text("b"), PNG)], True),
    ],
)
def test_calls_whose_thoughts_are_gone_go_without_thinking(said: list[dict[str, Any]], thinks: bool) -> None:
    """Claude refuses to think with a budget behind calls of its own that do not begin with its thoughts."""
    asked = {"messages": said, "reasoning_effort": "low"}
    told = CHAT_TO_MESSAGES.request(compact({"model": "claude-haiku-4-5", **asked}), None)
    assert ("thinking" in json.loads(told.body), "reasoning_effort" in told.lost) == (thinks, not thinks)
    adaptive = CHAT_TO_MESSAGES.request(compact({"model": "claude-opus-4-6", **asked}), None)
    assert json.loads(adaptive.body)["thinking"] == {"type": "adaptive"}


def test_a_request_to_the_byte() -> None:
    """Schemas and arguments are the client's own bytes; the route's model wins; the memo keeps the wish for usage."""
    body = (
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"},'
        b'{"role":"assistant","tool_calls":[{"id":"t1","type":"function","function":'
        b'{"name":"f","arguments":" { \\"x\\": 1.50 } "}}]},{"role":"tool","tool_call_id":"t1","content":"r"}],'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{"type": "object", "x": 1.0}}}]}'
    )
    told = CHAT_TO_MESSAGES.request(body, "claude-opus-4-6")
    assert told.body == (
        b'{"model":"claude-opus-4-6","max_tokens":32000,"messages":[{"role":"user","content":"hi"},'
        b'{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{ "x": 1.50 }}]},'
        b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"r"}]}],"stream":true,'
        b'"tools":[{"name":"f","input_schema":{"type":"object","x":1.0}}]}'
    )
    assert (told.model, told.asked_model, told.stream, told.lost) == ("claude-opus-4-6", "m", True, ())
    assert told.memo
    assert not CHAT_TO_MESSAGES.request(compact({"model": "m", "messages": [HI]}), None).memo
    assert CHAT_TO_MESSAGES.operation is Operation.MESSAGES


AUDIO = {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}
OLD_CALL = {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "functions"),
        ({"tools": [CUSTOM]}, "tools[0]"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "custom", "custom": {"name": "c"}}}, "tool_choice"),
        ({"messages": [user(AUDIO)]}, "messages[0].content[0]"),
        ({"messages": [user(picture("data:image/png,ABC"))]}, "messages[0].content[0].image_url.url"),
        ({"messages": [user(file(file_data=data_url("audio/wav")))]}, "messages[0].content[0].file.file_data"),
        ({"messages": [{"role": "system", "content": [PNG]}]}, "messages[0].content[0]"),
        ({"messages": [HI, {"role": "function", "name": "f", "content": "r"}]}, "messages[1].role"),
        ({"messages": [HI, model(function_call=OLD_CALL)]}, "messages[1].function_call"),
        ({"messages": [HI, model(tool_calls=[{"id": "t", "type": "custom", "custom": {}}])]},
         "messages[1].tool_calls[0]"),
        ({"messages": [HI, model(tool_calls=[{"id": "t", "function": {"name": "f", "arguments": "[1]"}}])]},
         "messages[1].tool_calls[0].function.arguments"),
        ({"messages": [HI, model(tool_calls=[{"id": "t", "function": {"name": "f", "arguments": '{"x'}}])]},
         "messages[1].tool_calls[0].function.arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(asked: dict[str, Any], param: str) -> None:
    """What would change the meaning of the request when left out is refused, naming the member."""
    with pytest.raises(GatewayError) as caught:
        CHAT_TO_MESSAGES.request(compact({"model": "m", "messages": [HI], **asked}), None)
    assert (caught.value.reason, caught.value.param) == (Reason.UNTRANSLATABLE, param)
    assert "`" in caught.value.message


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [user(" ")]}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
        ({"messages": [user({"type": "image_url"})]}, "messages[0].content[0].image_url"),
        ({"messages": [user(file(filename="x"))]}, "messages[0].content[0].file"),
        (
            {"messages": [user(file(file_data=data_url("text/plain", b"\xff")))]},
            "messages[0].content[0].file.file_data",
        ),
        ({"messages": [HI, {"role": "tool", "content": "r"}]}, "messages[1].tool_call_id"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "web_search_20250305", "name": 7}]}, "tools[0].name"),
        ({"tools": [FUNCTION], "tool_choice": "some"}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"stream_options": 1}, "stream_options"),
        ({"reasoning_effort": 1}, "reasoning_effort"),
    ],
)
def test_what_is_no_request(asked: dict[str, Any], param: str) -> None:
    """A member of another type than the API's is named, and where it is."""
    with pytest.raises(GatewayError) as caught:
        CHAT_TO_MESSAGES.request(compact({"model": "m", "messages": [HI], **asked}), None)
    assert (caught.value.reason, caught.value.param) == (Reason.BAD_JSON, param)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", Reason.BAD_JSON), (b"[]", Reason.BAD_JSON), (b'{"messages":[]}', Reason.MODEL_MISSING)],
)
def test_bodies_that_are_none(body: bytes, reason: Reason) -> None:
    """A body that is no JSON object, or names no model, is refused like any client's."""
    with pytest.raises(GatewayError) as caught:
        CHAT_TO_MESSAGES.request(body, None)
    assert caught.value.reason is reason
