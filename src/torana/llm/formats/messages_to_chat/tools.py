"""`tools` and `tool_choice` of a request.

https://docs.claude.com/en/docs/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

from typing import Any, Final

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_request import NO_PARAMETERS
from torana.llm.formats.members import Members
from torana.llm.formats.messages_to_chat.schemas import may_be_strict

_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def carry_tools(asked: Members, out: dict[str, Any]) -> None:
    """Tools with a schema of their own become functions.

    Those of Anthropic's own types (web search, bash, text editor ...) are lost: their meaning is known to Claude alone,
    and some run at Anthropic. Raises GatewayError UNTRANSLATABLE when that leaves none, or when one is demanded.
    """
    tools = asked.items("tools")
    functions: list[dict[str, Any]] = []
    own: dict[str | None, str] = {}
    for tool in tools:
        if tool.text("type") in {None, "custom"}:
            functions.append(_function(tool))
        else:
            own[tool.text("name")] = tool.path
            tool.lose()
    if tools and not functions:
        raise _only_anthropic(tools[0].path)
    if functions:
        out["tools"] = functions
    choice = asked.members("tool_choice")
    if choice is not None:
        _carry_choice(choice, own, out)


def _function(tool: Members) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.needed_text("name")}
    description, strict = tool.take("description"), tool.flag("strict")
    if description is not None:
        function["description"] = description
    schema = tool.take("input_schema") or NO_PARAMETERS
    if strict and not may_be_strict(schema):
        tool.lost.append(tool.at("strict"))
    elif strict is not None:
        function["strict"] = strict
    function["parameters"] = schema
    tool.close()
    return {"type": "function", "function": function}


def _carry_choice(choice: Members, own: dict[str | None, str], out: dict[str, Any]) -> None:
    kind = choice.needed_text("type")
    if kind == "tool":
        name = choice.needed_text("name")
        if name in own:
            raise _only_anthropic(own[name])
        out["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif kind in _CHOICES:
        out["tool_choice"] = _CHOICES[kind]
    else:
        choice.lose()
        return
    alone = choice.flag("disable_parallel_tool_use")
    if alone is not None:
        out["parallel_tool_calls"] = not alone
    choice.close()


def _only_anthropic(path: str) -> GatewayError:
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` is a tool of Anthropic's own, which this provider does not have; "
        "give it as a tool with an `input_schema`, or route the request to Anthropic.",
        param=path,
    )
