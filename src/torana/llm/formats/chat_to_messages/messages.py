"""What is read of a message, whole or as events. Blocks and events of types that are not read may hold anything else.

https://docs.claude.com/en/api/messages, https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_NO_INPUT: Final = frozenset({b"", b"null"})


class Block(msgspec.Struct, gc=False):
    """A block of content of any type, or the beginning of one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")

    def arguments(self) -> str:
        """A call's input as the text that chat has of it; in a stream what was told with the beginning.

        A Raw may hold what is no UTF-8.
        """
        value = bytes(self.input)
        return "{}" if value in _NO_INPUT else value.decode(errors="replace")


class Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    stop_details: Any = None
    usage: Any = None


class Delta(msgspec.Struct, gc=False):
    """Of a block, by its type; or of the message, which has none."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_details: Any = None


class Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Any = None
    error: Any = None


decode_message: Final = msgspec.json.Decoder(Message).decode
decode_block: Final = msgspec.json.Decoder(Block).decode
decode_event: Final = msgspec.json.Decoder(Event).decode
