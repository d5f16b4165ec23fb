"""Members: one JSON object of a request, whose members are taken one by one; what nobody took is lost.

So nothing is dropped in silence: a member that a translation does not know is named like one that it cannot carry.
Values stay the client's own bytes (`Raw`) until they are asked for by type.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.request import without_halves
from torana.llm.usage import UNREADABLE

_Value = TypeVar("_Value")
_NULL: Final = msgspec.Raw(b"null")
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_flag: Final = msgspec.json.Decoder(bool)
_number: Final = msgspec.json.Decoder(float)
_texts: Final[msgspec.json.Decoder[str | list[str]]] = msgspec.json.Decoder(str | list[str])
_content: Final[msgspec.json.Decoder[str | list[msgspec.Raw]]] = msgspec.json.Decoder(str | list[msgspec.Raw])


def members_of_request(body: bytes, lost: list[str]) -> Members:
    """Those of a whole body. A Raw may hold any bytes in its strings, so that they are looked at here, and only here.

    Raises GatewayError BAD_JSON when the body is no JSON object in UTF-8.
    """
    try:
        body.decode()
    except UnicodeDecodeError:
        message = "The request body is not valid JSON: a text in it is not valid UTF-8."
        raise GatewayError(Reason.BAD_JSON, message) from None
    try:
        return Members(body, "", lost)
    except GatewayError:
        return Members(without_halves(body), "", lost)


class Members:
    """An object at `path` (empty: the body). A member that is null counts as absent.

    Every method that takes a member raises GatewayError BAD_JSON, naming its path, when it is of another type.
    """

    __slots__ = ("_left", "lost", "path")

    def __init__(self, raw: bytes | msgspec.Raw, path: str, lost: list[str]) -> None:
        self.path = path
        self.lost = lost
        self._left = _read(_object, raw, path or "The request body", "an object")

    def take(self, name: str) -> msgspec.Raw | None:
        """The member as it came."""
        raw = self._left.pop(name, None)
        return None if raw == _NULL else raw

    def peek(self, name: str) -> msgspec.Raw | None:
        """As `take`, but it is still to be taken."""
        raw = self._left.get(name)
        return None if raw == _NULL else raw

    def text(self, name: str) -> str | None:
        return self._typed(_text, name, "a string")

    def needed_text(self, name: str) -> str:
        """As `text`, but its absence is a fault too."""
        found = self.text(name)
        if found is None:
            raise _fault(self.at(name), "a string")
        return found

    def flag(self, name: str) -> bool | None:
        return self._typed(_flag, name, "true or false")

    def number(self, name: str) -> float | None:
        return self._typed(_number, name, "a number")

    def texts(self, name: str) -> list[str]:
        """One text or an array of them; an absent one is an array of none."""
        found = self._typed(_texts, name, "a string or an array of strings")
        if found is None:
            return []
        return [found] if isinstance(found, str) else found

    def content(self, name: str = "content") -> str | list[msgspec.Raw]:
        """A text, or an array of blocks; an absent one is an array of none."""
        found = self._typed(_content, name, "a string or an array")
        return [] if found is None else found

    def members(self, name: str) -> Members | None:
        """The object in a member; close it too."""
        raw = self.take(name)
        return None if raw is None else Members(raw, self.at(name), self.lost)

    def items(self, name: str) -> list[Members]:
        """The objects of an array; close them too. An absent array is an empty one."""
        return self.blocks(name, self._typed(_array, name, "an array") or [])

    def blocks(self, name: str, raws: list[msgspec.Raw]) -> list[Members]:
        """The objects of an array that has been read already."""
        path = self.at(name)
        return [Members(raw, f"{path}[{index}]", self.lost) for index, raw in enumerate(raws)]

    def rest(self) -> dict[str, msgspec.Raw]:
        """Whatever has not been taken yet, as it came."""
        taken, self._left = self._left, {}
        return taken

    def close(self) -> None:
        """Whatever has not been taken is lost."""
        self.lost += [self.at(name) for name, raw in self._left.items() if raw != _NULL]

    def lose(self) -> None:
        """The whole object is lost."""
        self.lost.append(self.path)

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _typed(self, decoder: msgspec.json.Decoder[_Value], name: str, kind: str) -> _Value | None:
        raw = self.take(name)
        return None if raw is None else _read(decoder, raw, self.at(name), kind)


def _read(decoder: msgspec.json.Decoder[_Value], raw: bytes | msgspec.Raw, path: str, kind: str) -> _Value:
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        raise _fault(path, kind) from None


def _fault(path: str, kind: str) -> GatewayError:
    return GatewayError(Reason.BAD_JSON, f"`{path}` must be {kind}.", param=path)
