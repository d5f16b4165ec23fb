"""Memo: what the answer must know of the request, for a response repeats what was asked and names tools as it did."""

from __future__ import annotations

from typing import Final

import msgspec


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as the client knows it; `custom` has a text for input where a function has arguments."""

    name: str
    namespace: str | None = None
    custom: bool = False


class Memo(msgspec.Struct, frozen=True, omit_defaults=True):
    """`settings` are members of the request as they came, `tools` by the name that the provider knows them by.

    Functions outside a namespace have the same name here and there; they are not in `tools`. `sealed`: the client wants
    thoughts in a form that it can send back without reading them (`include: ["reasoning.encrypted_content"]`).
    """

    settings: dict[str, msgspec.Raw] = {}
    tools: dict[str, Tool] = {}
    sealed: bool = False

    def tool(self, chat_name: str) -> Tool:
        return self.tools.get(chat_name) or Tool(chat_name)


encode_memo: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Memo).decode


def read_memo(memo: bytes) -> Memo:
    return _decode(memo) if memo else Memo()
