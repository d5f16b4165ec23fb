"""Toolbox: `tools` and `tool_choice` of a request, and the names that the provider knows the tools by.

https://platform.openai.com/docs/guides/function-calling
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_request import NO_PARAMETERS
from torana.llm.formats.members import Members
from torana.llm.formats.responses_to_chat.memo import Tool
from torana.llm.formats.responses_to_chat.refusals import no_form, only_openai

INPUT: Final = "input"
"""The only argument of the function that stands for a custom tool."""

_INPUT_ALONE: Final = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)

_REQUIRED: Final = b'"required"'
_MODES: Final = frozenset({b'"auto"', b'"none"', _REQUIRED})


class Toolbox:
    """Tools of the client's become functions.

    A custom tool is one that takes a text, because few chat providers know custom tools. A tool in a namespace has its
    own name, and the namespace's before it where that is taken. OpenAI's own tools (web search, file search, computer
    ...) run at OpenAI or are known to its models alone: they are lost where the model has others and was only offered
    them. Raises GatewayError UNTRANSLATABLE when there is no other, or one is demanded.
    """

    def __init__(self, asked: Members, more: list[Members]) -> None:
        """`more` are tools that stand in the conversation."""
        self.told: dict[str, Tool] = {}  # see Memo.tools
        self._functions: dict[str, dict[str, Any]] = {}
        self._chat_names: dict[tuple[str | None, str], str] = {}
        self._parallel = asked.flag("parallel_tool_calls")
        self._choice = asked.take("tool_choice")
        self._asked = asked
        own: list[tuple[str, str]] = []
        for tool in [*asked.items("tools"), *more]:
            self._add(tool, None, own)
        if own and not self._functions:
            raise only_openai(*own[0])

    def chat_name(self, name: str, namespace: str | None) -> str:
        """What the provider knows a tool of the client's by; the same name for one that the request does not have."""
        return self._chat_names.get((namespace, name), name)

    def carry(self, out: dict[str, Any]) -> None:
        """Chat refuses a choice, and the other settings of tools, where there are none."""
        choice = self._chat_choice()
        if self._functions:
            out["tools"] = list(self._functions.values())
            if choice is not None:
                out["tool_choice"] = choice
            if self._parallel is not None:
                out["parallel_tool_calls"] = self._parallel
        elif choice is not None and bytes(choice) == _REQUIRED:
            self._asked.lost.append("tool_choice")

    # --- tools ---

    def _add(self, tool: Members, namespace: str | None, own: list[tuple[str, str]]) -> None:
        kind = tool.needed_text("type")
        match kind:
            case "function":
                function = self._named(tool, Tool(tool.needed_text("name"), namespace))
                function["parameters"] = tool.take("parameters") or NO_PARAMETERS
                strict = tool.take("strict")
                if strict is not None:
                    function["strict"] = strict
            case "custom":
                function = self._named(tool, Tool(tool.needed_text("name"), namespace, custom=True))
                function["parameters"] = _INPUT_ALONE
                _describe_format(tool.members("format"), function)
            case "namespace":
                name = tool.needed_text("name")
                for inner in tool.items("tools"):
                    self._add(inner, name, own)
            case _:
                own.append((tool.path, kind))
                tool.lose()
                return
        tool.close()

    def _named(self, tool: Members, told: Tool) -> dict[str, Any]:
        chat_name = told.name
        if chat_name in self._functions and told.namespace:
            chat_name = f"{told.namespace}__{told.name}"
        self._chat_names[told.namespace, told.name] = chat_name
        if told != Tool(chat_name):
            self.told[chat_name] = told
        function: dict[str, Any] = {"name": chat_name}
        description = tool.text("description")
        if description is not None:
            function["description"] = description
        self._functions[chat_name] = {"type": "function", "function": function}
        return function

    # --- the choice ---

    def _chat_choice(self) -> Any:
        raw = self._choice
        if raw is None:
            return None
        if bytes(raw) in _MODES:
            return raw
        choice = Members(raw, "tool_choice", self._asked.lost)
        kind = choice.needed_text("type")
        match kind:
            case "function" | "custom":
                chosen: Any = {"type": "function", "function": {"name": self._name_in(choice)}}
            case "allowed_tools":
                chosen = choice.needed_text("mode")
                self._keep({self._name_in(tool) for tool in choice.items("tools") if self._is_ours(tool)})
            case _:
                raise only_openai(choice.path, kind)
        choice.close()
        return chosen

    def _name_in(self, choice: Members) -> str:
        name = self.chat_name(choice.needed_text("name"), choice.text("namespace"))
        if name not in self._functions:
            path = choice.at("name")
            raise GatewayError(Reason.BAD_JSON, f"`{path}` is none of the names in `tools`.", param=path)
        return name

    def _is_ours(self, choice: Members) -> bool:
        ours = choice.needed_text("type") in {"function", "custom"}
        if not ours:
            choice.lose()
        return ours

    def _keep(self, names: set[str]) -> None:
        """Chat providers other than OpenAI know no `allowed_tools`; to be offered no others comes to the same."""
        if not names:
            raise no_form("tool_choice.tools", "allows only tools of OpenAI's own")
        self._functions = {name: function for name, function in self._functions.items() if name in names}


def _describe_format(form: Members | None, function: dict[str, Any]) -> None:
    """A grammar cannot be enforced; the model is told it."""
    if form is None:
        return
    if form.needed_text("type") == "grammar":
        words = f"`input` must match this grammar ({form.needed_text('syntax')}):\n{form.needed_text('definition')}"
        function["description"] = "\n\n".join(filter(None, [function.get("description"), words]))
        form.lost.append(form.path)
    form.close()
