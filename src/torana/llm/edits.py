"""What the configuration changes in the body of a call, before anything else looks at it.

In agentgateway's order: overrides, defaults, then messages put before and behind the client's. Nested values that no
rule touches stay the client's own bytes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.llm.operation import Operation
from torana.llm.request import members_of
from torana.model.backend import BodyEdits, Message

_encode: Final = msgspec.json.Encoder().encode
_list_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

_CONVERSATION: Final = {
    Operation.CHAT_COMPLETIONS: "messages",
    Operation.MESSAGES: "messages",
    Operation.COUNT_TOKENS: "messages",
    Operation.RESPONSES: "input",
}
"""The member that holds the messages."""


class Edits:
    """A BodyEdits, ready to be made."""

    __slots__ = ("_append", "_defaults", "_overrides", "_prepend")

    def __init__(self, edits: BodyEdits) -> None:
        self._overrides = {name: msgspec.Raw(value.encode()) for name, value in edits.overrides}
        self._defaults = {name: msgspec.Raw(value.encode()) for name, value in edits.defaults}
        self._prepend = edits.prepend
        self._append = edits.append

    def made(self, body: bytes, operation: Operation) -> bytes:
        """The body with the edits in it. Raises GatewayError BAD_JSON when it is no JSON object."""
        members = members_of(body)
        members |= self._overrides
        members = self._defaults | members if self._defaults else members
        if self._prepend or self._append:
            self._add_messages(members, operation)
        return _encode(members)

    def _add_messages(self, members: dict[str, msgspec.Raw], operation: Operation) -> None:
        name = _CONVERSATION.get(operation)
        if name is None:
            return
        raw = members.get(name, msgspec.Raw(b"[]"))
        try:
            given: list[Any] = _list_of(raw)
        except msgspec.DecodeError:
            given = [{"role": "user", "content": raw}]  # Responses takes a text for its only message
        before, after = self._prepend, self._append
        if operation in (Operation.MESSAGES, Operation.COUNT_TOKENS):
            system = [message.content for message in (*before, *after) if message.role == "system"]
            if system:
                members["system"] = _with_system(members.get("system"), system)
            before = tuple(message for message in before if message.role != "system")
            after = tuple(message for message in after if message.role != "system")
        members[name] = msgspec.Raw(_encode([*map(_written, before), *given, *map(_written, after)]))


def _written(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def _with_system(raw: msgspec.Raw | None, texts: list[str]) -> msgspec.Raw:
    """Messages has no system role: what would be one stands before its `system`, a text or a list of blocks."""
    blocks: list[Any] = [{"type": "text", "text": text} for text in texts]
    if raw is not None:
        try:
            blocks += _list_of(raw)
        except msgspec.DecodeError:
            blocks.append({"type": "text", "text": raw})
    return msgspec.Raw(_encode(blocks))


class Aliases:
    """Names for other models: exact ones, and patterns with one `*`, of which the longest that fits counts."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, aliases: tuple[tuple[str, str], ...]) -> None:
        self._exact = {name: target for name, target in aliases if "*" not in name}
        patterns = [(*name.split("*", 1), target) for name, target in aliases if "*" in name]
        self._patterns = sorted(patterns, key=lambda pattern: -len(pattern[0]) - len(pattern[1]))

    def of(self, model: str) -> str | None:
        """What `model` is another name for; None when it is none."""
        target = self._exact.get(model)
        if target is not None:
            return target
        for head, tail, target in self._patterns:
            if len(model) >= len(head) + len(tail) and model.startswith(head) and model.endswith(tail):
                return target
        return None
