"""`instructions` and `input` of a request, as chat messages.

What the model said stands in several items, which are one message in chat: thoughts, text and calls, up to the next
item of somebody else's. Results must follow their calls at once in chat, so they are moved there; what else than text a
tool returned, the user shows after them. System messages that follow each other are one, for many models take only one.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat import REASONING
from torana.llm.formats.chat_request import ChatMessage, Part, plain, text_part
from torana.llm.formats.members import Members
from torana.llm.formats.responses_to_chat.content import parts_of, texts_of
from torana.llm.formats.responses_to_chat.refusals import no_form, no_memory
from torana.llm.formats.responses_to_chat.tools import INPUT, Toolbox

_encode = msgspec.json.Encoder().encode

_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})

# What the model wrote, or OpenAI for it, by tools of OpenAI's own; a client only sends it back.
_OWN: Final = frozenset({
    "web_search_call", "file_search_call", "computer_call", "code_interpreter_call", "image_generation_call",
    "local_shell_call", "shell_call", "apply_patch_call", "mcp_list_tools", "mcp_call", "mcp_approval_request",
    "tool_search_call", "tool_search_output", "program", "program_output", "configuration_update",
})  # fmt: skip


class _Item(msgspec.Struct, eq=False):
    """An item of the input; `call_id` of those that are results."""

    kind: str
    members: Members
    call_id: str = ""
    carried: bool = False


class _Turn:
    """What the model said, until somebody else speaks."""

    __slots__ = ("calls", "texts", "thoughts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.thoughts: dict[str, str] = {}

    def message(self) -> ChatMessage:
        # OpenAI: content is required, unless there are tool calls.
        content = "\n".join(self.texts) if self.texts or not self.calls else None
        message: ChatMessage = {"role": "assistant", "content": content, **self.thoughts}
        if self.calls:
            message["tool_calls"] = self.calls
        return message


class Conversation:
    """The whole conversation. Raises GatewayError BAD_JSON, and UNTRANSLATABLE for what chat has no form for."""

    def __init__(self, instructions: str | None, asked: Members) -> None:
        self._messages: list[ChatMessage] = []
        self._turn: _Turn | None = None
        self._system(instructions or "")
        self._said = asked.content("input")
        self._items: list[_Item] = []
        if isinstance(self._said, list):
            self._items = [_item(members) for members in asked.blocks("input", self._said)]
        self._results: dict[str, _Item] = {}  # the first of each call
        for item in self._items:
            if item.kind in _RESULTS:
                item.call_id = item.members.needed_text("call_id")
                self._results.setdefault(item.call_id, item)

    def tools(self) -> list[Members]:
        """Tools that were added on the way (`additional_tools`); a chat request has them from the beginning."""
        return [tool for item in self._items if item.kind == "additional_tools" for tool in item.members.items("tools")]

    def messages(self, toolbox: Toolbox) -> list[ChatMessage]:
        if isinstance(self._said, str):
            self._messages.append({"role": "user", "content": self._said})
        for item in self._items:
            if self._read(item, toolbox):
                for name in ("id", "status"):  # they are the stored item's
                    item.members.take(name)
                item.members.close()
        self._end_turn()
        if not self._messages:
            raise GatewayError(Reason.BAD_JSON, "`input` must hold a text or at least one item.", param="input")
        return self._messages

    # --- items ---

    def _read(self, item: _Item, toolbox: Toolbox) -> bool:
        """Whether its members have been read, and are still to be closed."""
        members = item.members
        match item.kind:
            case "message":
                self._message(members)
            case "function_call":
                self._call(members, toolbox, members.needed_text("arguments"))
            case "custom_tool_call":
                self._call(members, toolbox, _encode({INPUT: members.needed_text("input")}).decode())
            case "function_call_output" | "custom_tool_call_output":
                self._returned(item)
                return False
            case "reasoning":
                return self._reasoning(members)
            case "additional_tools":
                members.take("role")
            case "item_reference":
                raise no_memory(members.path, "send the item itself")
            case kind if kind in _OWN:
                members.lose()
                return False
            case kind:
                raise no_form(members.path, f"is an item of type `{kind}`", "send it as text in a message")
        return True

    def _message(self, members: Members) -> None:
        role = members.needed_text("role")
        content = members.content()
        parts = members.blocks("content", content) if isinstance(content, list) else None
        match role:
            case "assistant":
                turn = self._open_turn()
                turn.texts.append(content if isinstance(content, str) else "".join(texts_of(parts or [])))
            case "user":
                self._end_turn()
                said = content if parts is None else plain([part for each in parts for part in parts_of(each)])
                self._messages.append({"role": "user", "content": said})
            case "system" | "developer":
                self._end_turn()
                self._system(content if isinstance(content, str) else "\n".join(texts_of(parts or [])))
            case _:
                path = members.at("role")
                message = f"`{path}` must be `user`, `assistant`, `system` or `developer`."
                raise GatewayError(Reason.BAD_JSON, message, param=path)

    def _system(self, text: str) -> None:
        """`developer` is a name that only OpenAI's models have for it."""
        if not text:
            return
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == "system":
            last["content"] += f"\n\n{text}"
        else:
            self._messages.append({"role": "system", "content": text})

    def _call(self, members: Members, toolbox: Toolbox, arguments: str) -> None:
        name = toolbox.chat_name(members.needed_text("name"), members.text("namespace"))
        function = {"name": name, "arguments": arguments}
        call = {"id": members.needed_text("call_id"), "type": "function", "function": function}
        self._open_turn().calls.append(call)

    def _returned(self, item: _Item) -> None:
        if item.carried:
            return
        self._end_turn()  # which carries it, if it belongs to a call of this turn
        if not item.carried:  # its call is not there, or has a result already
            self._messages += self._result(item)

    def _reasoning(self, members: Members) -> bool:
        """Reasoning goes back under the name it came by, which the answer's translation wrote as its sealed content.

        So only a provider that has that member gets it, see `messages_to_chat`. What OpenAI's models thought is lost.
        """
        source, _, text = (members.text("encrypted_content") or "").partition(":")
        if source not in REASONING:
            members.lose()
            return False
        members.take("summary")
        # Clients may leave out what they can read, and send back what is sealed.
        shown = "".join(texts_of(members.items("content")))
        thoughts = self._open_turn().thoughts
        thoughts[source] = thoughts.get(source, "") + (text or shown)
        return True

    # --- turns of the model ---

    def _open_turn(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _end_turn(self) -> None:
        turn = self._turn
        if turn is None:
            return
        self._turn = None
        self._messages.append(turn.message())
        shown: list[ChatMessage] = []
        for call in turn.calls:
            result = self._results.get(call["id"])
            if result is not None and not result.carried:
                result.carried = True
                message, *rest = self._result(result)
                self._messages.append(message)
                shown += rest
        self._messages += shown

    def _result(self, item: _Item) -> list[ChatMessage]:
        """A tool message, which has text alone, and a message of the user's with what else the tool returned."""
        content = item.members.content("output")
        texts: list[str] = []
        others: list[Part] = []
        if isinstance(content, str):
            texts.append(content)
        else:
            for part in [part for each in item.members.blocks("output", content) for part in parts_of(each)]:
                if part["type"] == "text":
                    texts.append(part["text"])
                else:
                    others.append(part)
        for name in ("id", "status", "name", "namespace"):
            item.members.take(name)
        item.members.close()
        messages: list[ChatMessage] = [{"role": "tool", "tool_call_id": item.call_id, "content": "\n".join(texts)}]
        if others:
            heading = text_part(f"Returned by tool call {item.call_id}:")
            messages.append({"role": "user", "content": [heading, *others]})
        return messages


def _item(members: Members) -> _Item:
    """A message may be without a type."""
    return _Item(members.text("type") or "message", members)
