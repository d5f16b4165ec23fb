"""`tools`, `tool_choice` and `parallel_tool_calls` of a request.

https://docs.claude.com/en/docs/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.members import Members

_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}
_Tool = dict[str, Any]
_text = msgspec.json.Decoder(str).decode


def carry_tools(asked: Members, out: dict[str, Any]) -> bool:
    """Functions become tools; whether the model must call one.

    A tool of another type with a name of its own is Anthropic's (web search, bash ...), and goes as it came. OpenAI's
    custom tools, whose input is no JSON, are lost. Raises GatewayError UNTRANSLATABLE when none is left or one of them
    is demanded, and for `functions`, the form before `tools`.
    """
    _refuse_functions(asked)
    tools: list[_Tool] = []
    given = asked.items("tools")
    for tool in given:
        kind = tool.text("type")
        if kind == "function":
            tools.append(_function(tool))
        elif kind == "custom" and tool.take("custom") is not None:
            tool.lose()
        else:
            named = {"type": kind, "name": tool.text("name")}
            tools.append({member: value for member, value in named.items() if value is not None} | tool.rest())
    if given and not tools:
        raise _only_custom(given[0].path)
    choice = _choice(asked, tools)
    alone = asked.flag("parallel_tool_calls") is False
    if tools:
        out["tools"] = tools
    elif choice.get("type") in {None, "auto", "none"}:
        return False  # all say nothing without tools, and Anthropic refuses them
    if alone and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        out["tool_choice"] = choice
    return choice.get("type") in {"any", "tool"}


def _refuse_functions(asked: Members) -> None:
    """The answer would have to come in the old form too, which nothing in the answer tells."""
    call = asked.take("function_call")
    if asked.items("functions") or (call is not None and bytes(call) not in {b'"none"', b'"auto"'}):
        message = "`functions` and `function_call` are not translated for Anthropic; send `tools` and `tool_choice`."
        raise GatewayError(Reason.UNTRANSLATABLE, message, param="functions")


def _function(tool: Members) -> _Tool:
    function = tool.members("function")
    if function is None:
        raise GatewayError(Reason.BAD_JSON, f"`{tool.at('function')}` is missing.", param=tool.at("function"))
    made: _Tool = {"name": function.needed_text("name")}
    for name in ("description", "strict"):
        value = function.take(name)
        if value is not None:
            made[name] = value
    schema = function.members("parameters")
    # Anthropic: the type must be there, and `object`. OpenAI: no parameters at all are an empty list of them.
    made["input_schema"] = {"type": "object", **(schema.rest() if schema is not None else {"properties": {}})}
    cache = tool.take("cache_control") or function.take("cache_control")
    if cache is not None:
        made["cache_control"] = cache
    function.close()
    tool.close()
    return made


def _choice(asked: Members, tools: list[_Tool]) -> dict[str, Any]:
    """`tool_choice` in Anthropic's form; empty when absent. One among allowed tools takes the others out of `tools`."""
    raw = asked.take("tool_choice")
    if raw is None:
        return {}
    if bytes(raw).startswith(b'"'):
        kind = _text(raw)
        if kind not in _CHOICES:
            raise _no_choice("tool_choice")
        return {"type": _CHOICES[kind]}
    choice = Members(raw, "tool_choice", asked.lost)
    match choice.needed_text("type"):
        case "function":
            made = {"type": "tool", "name": _name(choice)}
        case "allowed_tools":
            allowed = choice.members("allowed_tools") or choice
            names = {_name(tool) for tool in allowed.items("tools")}
            tools[:] = [tool for tool in tools if tool.get("name") in names]
            made = {"type": _CHOICES.get(allowed.needed_text("mode"), "auto")}
            if allowed is not choice:
                allowed.close()
        case "custom":
            raise _only_custom("tool_choice")
        case _:
            raise _no_choice("tool_choice.type")
    choice.close()
    return made


def _name(owner: Members) -> str:
    """The name in `{"type": "function", "function": {"name": ...}}`; its owner is closed."""
    owner.take("type")
    function = owner.members("function")
    if function is None:
        raise GatewayError(Reason.BAD_JSON, f"`{owner.at('function')}` is missing.", param=owner.at("function"))
    name = function.needed_text("name")
    function.close()
    owner.close()
    return name


def _no_choice(path: str) -> GatewayError:
    message = f"`{path}` must be `auto`, `none`, `required`, a function, or `allowed_tools`."
    return GatewayError(Reason.BAD_JSON, message, param=path)


def _only_custom(path: str) -> GatewayError:
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` is a custom tool of OpenAI's, whose input is no JSON, which Anthropic does not have; "
        "give it as a function with `parameters`.",
        param=path,
    )
