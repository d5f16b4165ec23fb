"""A form on its way upstream: its fields are read, set and added, while the files beside them stream by untouched.

Forms (RFC 7578) carry what is too large to be gathered: audio and images. Only the head of each part and the value of
`model` are ever held, a few KiB at most; what cannot be read as a form passes as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

_MODEL: Final = b"model"
_NONE: Final[Mapping[bytes, bytes]] = MappingProxyType({})
_ADDED: Final = b'%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b'
_MOST_HEAD: Final = 8 * 1024  # bytes of a part's fields; a longer head is no field we know
_MOST_VALUE: Final = 1024  # bytes of the value of `model`
_FOLD: Final = re.compile(rb"\r\n[ \t]+")
_PARAMETER: Final = re.compile(rb';[ \t]*([^;="\s]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_BOUNDARY: Final = re.compile(rb';[ \t]*boundary=(?:"([^"]{1,200})"|([^;\s"]{1,200}))', re.IGNORECASE)


def boundary_of(content_type: bytes) -> bytes | None:
    """The boundary of a `multipart/form-data` content type; None when it is another, or has none, or more than one."""
    if not content_type.lower().startswith(b"multipart/form-data"):
        return None
    found = _BOUNDARY.findall(content_type)
    return (found[0][0] or found[0][1]) if len(found) == 1 else None


def _names(head: bytes) -> set[bytes]:
    """What a part is called, as any reader of forms may understand its Content-Disposition."""
    names = set()
    for line in _FOLD.sub(b" ", head).split(b"\r\n"):
        kind, _, value = line.partition(b":")
        if kind.strip().lower() == b"content-disposition":
            for name, quoted, plain in _PARAMETER.findall(value):
                given = _ESCAPED.sub(rb"\1", quoted) or plain
                if name.lower() == b"name":
                    names.add(given)
                if name.lower() == b"name*":
                    names.add(unquote_to_bytes(given.rpartition(b"'")[2]))
    return names


def _quoted(name: bytes) -> bytes:
    """https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data."""
    return name.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


Alias: TypeAlias = Callable[[str], str | None]
"""What a model is another name for; None when it is none."""


class Form:
    """Feeds a form through.

    Every field called as one of `sets` gets the value there, and a form without it gets it added; those of `adds` are
    added alone. A model that is an `alias` is replaced, unless one is set. With any of these the form's length changes.
    `asked` is the client's model, the first if it names several, once that has passed.
    """

    __slots__ = ("_adds", "_alias", "_delimiter", "_head", "_met", "_passed", "_rest", "_sets", "_state", "asked")

    def __init__(
        self,
        boundary: bytes,
        sets: Mapping[bytes, bytes] = _NONE,
        adds: Mapping[bytes, bytes] = _NONE,
        alias: Alias | None = None,
    ) -> None:
        self._sets = sets
        self._adds = adds
        self._alias = alias
        self._delimiter = b"\r\n--" + boundary
        self._rest = b"\r\n"  # so that the first delimiter, which begins the body, is one like any other
        self._passed = -2
        self._head = b""
        self._state: Callable[[list[bytes]], bool] = self._content if self.keeps_length else self._beginning
        self._met: set[bytes] = set()
        self.asked: str | None = None

    @property
    def keeps_length(self) -> bool:
        """Whether the form is only read."""
        return not self._sets and not self._adds and self._alias is None

    def whole(self, form: bytes) -> bytes:
        """A form that is at hand, by itself: what has been fed does not matter to it, nor it to what will be."""
        other = Form(self._delimiter[4:], self._sets, self._adds, self._alias)
        made = other.feed(form) + other.finish()
        self.asked = other.asked
        return made

    def feed(self, chunk: bytes) -> bytes:
        """What may go on now."""
        self._rest += chunk
        out: list[bytes] = []
        while self._state(out):
            pass
        return self._cut(b"".join(out))

    def finish(self) -> bytes:
        """The form has ended; what was held back, which is all of it where the form is none."""
        rest, self._rest = self._head + self._rest, b""
        self._head = b""
        if self._state == self._beginning:
            return b""
        return self._cut(rest)

    # Each of these takes from `_rest` what it can; False when it needs more to go on.

    def _beginning(self, _: list[bytes]) -> bool:
        """The first delimiter of a form in which something is to change.

        What does not begin with it, line end and all, some would read as a form and others not: nothing of it goes on.
        """
        size = len(self._delimiter)
        if len(self._rest) < size + 2:
            return False
        if self._rest.startswith(self._delimiter) and self._rest[size : size + 2] in (b"\r\n", b"--"):
            self._state = self._content
            return True
        self._rest = self._rest[: size + 2]
        return False

    def _content(self, out: list[bytes]) -> bool:
        """A part whose content is not looked at, up to the delimiter behind it."""
        at = self._rest.find(self._delimiter)
        if at < 0:
            keep = len(self._delimiter) - 1
            if len(self._rest) > keep:
                out.append(self._rest[:-keep])
                self._rest = self._rest[-keep:]
            return False
        out.append(self._rest[:at])
        self._rest = self._rest[at:]
        self._state = self._boundary
        return True

    def _boundary(self, out: list[bytes]) -> bool:
        """The delimiter, and whether it is the last one."""
        size = len(self._delimiter)
        if len(self._rest) < size + 2:
            return False
        if self._rest[size : size + 2] == b"--":
            for name, value in {**self._adds, **self._sets}.items():
                if name not in self._met:
                    out.append(_ADDED % (self._delimiter, _quoted(name), value))
            self._state = self._trailer
            return True
        self._head, self._rest = self._rest[:size], self._rest[size:]
        self._state = self._fields
        return True

    def _fields(self, out: list[bytes]) -> bool:
        """The head of a part."""
        end = self._rest.find(b"\r\n\r\n")
        if end < 0 and len(self._rest) <= _MOST_HEAD:
            return False
        head = self._rest[: end + 4] if end >= 0 else b""
        names = _names(head)
        known = self._sets.keys() & names
        if self._sets and (not 0 <= end <= _MOST_HEAD or len(known) > 1):
            self._head = b""
            self._state = self._dropped
            return True
        self._rest = self._rest[len(head) :]
        out.append(self._head + head)
        self._head = b""
        self._met |= names - {_MODEL}  # which counts when it has been read
        if known - {_MODEL}:
            out += (self._sets[name] for name in known)
            self._state = self._dropped
        else:
            self._state = self._value if _MODEL in names else self._content
        return True

    def _value(self, out: list[bytes]) -> bool:
        """The client's model."""
        model = self._sets.get(_MODEL)
        at = self._rest.find(self._delimiter)
        if at < 0:
            if len(self._rest) <= _MOST_VALUE + len(self._delimiter):
                return False
            self._met.add(_MODEL)
            self._state = self._content  # no model has such a name; whoever answers will say so
            if model is not None:
                out.append(model)
                self._state = self._dropped
            return True
        asked, self._rest = self._rest[:at], self._rest[at:]
        name = asked.decode("utf-8", "replace")
        if _MODEL not in self._met:
            self.asked = name or None
        other = self._alias(name) if self._alias is not None and model is None else None
        out.append(model or (other.encode() if other else asked))
        self._met.add(_MODEL)
        self._state = self._boundary
        return True

    def _dropped(self, _: list[bytes]) -> bool:
        """What is left of a value whose place was taken, or a part of which it cannot be known what it sets."""
        at = self._rest.find(self._delimiter)
        if at < 0:
            self._rest = self._rest[1 - len(self._delimiter) :]
            return False
        self._rest = self._rest[at:]
        self._state = self._boundary
        return True

    def _trailer(self, out: list[bytes]) -> bool:
        out.append(self._rest)
        self._rest = b""
        return False

    def _cut(self, out: bytes) -> bytes:
        """`out` without the two bytes that were put before the body."""
        if self._passed < 0:
            skipped = min(-self._passed, len(out))
            self._passed += skipped
            return out[skipped:]
        return out
