"""What the configuration changes in the body of a call, before anything else looks at it.

In agentgateway's order: overrides, defaults, then messages put before and behind the client's. Every byte that no rule
touches stays the client's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from torana.llm.operation import Operation
from torana.llm.request import members_of, rewritten
from torana.llm.usage import UNREADABLE
from torana.model.backend import BodyEdits, Message

_NULL: Final = msgspec.Raw(b"null")
_encode: Final = msgspec.json.Encoder().encode
_list_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

_CONVERSATION: Final = {
    Operation.CHAT_COMPLETIONS: "messages",
    Operation.MESSAGES: "messages",
    Operation.COUNT_TOKENS: "messages",
    Operation.RESPONSES: "input",
}
"""The member that holds the messages."""

_WITHOUT_SYSTEM: Final = (Operation.MESSAGES, Operation.COUNT_TOKENS)


class Edits:
    """A BodyEdits, ready to be made; `form_sets` and `form_adds` are the overrides and defaults a form can hold."""

    __slots__ = ("_append", "_defaults", "_overrides", "_prepend", "form_adds", "form_sets")

    def __init__(self, edits: BodyEdits) -> None:
        self._overrides = {name: value.encode() for name, value in edits.overrides}
        self._defaults = {name: value.encode() for name, value in edits.defaults}
        self._prepend = edits.prepend
        self._append = edits.append
        self.form_sets = _form_fields(edits.overrides)
        self.form_adds = _form_fields(edits.defaults)

    def made(self, body: bytes, operation: Operation) -> bytes:
        """The body with the edits in it. Raises GatewayError BAD_JSON when it is no JSON object."""
        members = members_of(body)
        changes = {name: value for name, value in self._defaults.items() if name not in members} | self._overrides
        name = _CONVERSATION.get(operation)
        if name is not None and (self._prepend or self._append):
            after = members | {each: msgspec.Raw(value) for each, value in changes.items()}
            changes |= self._with_messages(after, name, operation)
        return rewritten(body, _less_look_alikes(members, changes), changes) if changes else body

    def _with_messages(self, members: dict[str, msgspec.Raw], name: str, operation: Operation) -> dict[str, bytes]:
        """What changes of the conversation in `name`; nothing where that is none, which the provider will say."""
        given = _listed(members.get(name), operation)
        if given is None:
            return {}
        before, after = self._prepend, self._append
        if operation not in _WITHOUT_SYSTEM:
            return {name: _encode([*map(_written, before), *given, *map(_written, after)])}
        changes = {}
        first, last = _texts(before), _texts(after)
        if first or last:
            changes["system"] = _encode([*first, *_system(members.get("system")), *last])
        before, after = _spoken(before), _spoken(after)
        if before or after:
            changes[name] = _encode([*map(_written, before), *given, *map(_written, after)])
        return changes


def _less_look_alikes(members: dict[str, msgspec.Raw], changes: Collection[str]) -> dict[str, msgspec.Raw]:
    """Go's encoding/json, and so Ollama, reads `Max_Tokens` as `max_tokens`, and the last one wins."""
    folded = {name.casefold() for name in changes}
    return {name: raw for name, raw in members.items() if name in changes or name.casefold() not in folded}


def _form_fields(members: Iterable[tuple[str, str]]) -> dict[bytes, bytes]:
    """Values of JSON as those of a form: texts, numbers, true and false; what else there is has no place in one."""
    decoded = ((name, text, msgspec.json.decode(text)) for name, text in members)
    return {
        name.encode(): (value if isinstance(value, str) else text).encode()
        for name, text, value in decoded
        if isinstance(value, str | int | float)
    }


def _listed(raw: msgspec.Raw | None, operation: Operation) -> list[Any] | None:
    """The messages of a conversation. Responses takes a text for its only one, whatever bytes are in it."""
    if raw is None or raw == _NULL:
        return []
    if operation is Operation.RESPONSES and _is_text(raw):
        return [{"role": "user", "content": raw}]
    try:
        return _list_of(raw)
    except UNREADABLE:
        return None


def _is_text(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b'"'


def _written(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


# Messages has no system role; what would be one is in its `system`, a text or a list of blocks.


def _is_system(message: Message) -> bool:
    return message.role in ("system", "developer")


def _spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(message for message in messages if not _is_system(message))


def _texts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"type": "text", "text": message.content} for message in messages if _is_system(message)]


def _system(raw: msgspec.Raw | None) -> list[Any]:
    if raw is None or raw == _NULL:
        return []
    if _is_text(raw):
        return [{"type": "text", "text": raw}]
    try:
        return _list_of(raw)
    except UNREADABLE:
        return [raw]


class Aliases:
    """Names for other models: exact ones, and patterns with one `*`, of which the longest that fits counts."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, aliases: tuple[tuple[str, str], ...]) -> None:
        self._exact = {name: target for name, target in aliases if "*" not in name}
        patterns = [(*name.split("*", 1), target) for name, target in aliases if "*" in name]
        self._patterns = sorted(patterns, key=lambda pattern: -len(pattern[0]) - len(pattern[1]))

    @property
    def names(self) -> Iterable[str]:
        """The exact ones."""
        return self._exact.keys()

    def of(self, model: str) -> str | None:
        """What `model` is another name for; None when it is none."""
        target = self._exact.get(model)
        if target is not None:
            return target
        for head, tail, target in self._patterns:
            if len(model) >= len(head) + len(tail) and model.startswith(head) and model.endswith(tail):
                return target
        return None
