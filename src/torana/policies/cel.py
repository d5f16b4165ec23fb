"""cel: texts in the Common Expression Language, compiled; and what can be read from a text without running it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from cel import Program

_TOKEN: Final = re.compile(
    r"""//[^\n]*|\s+"""
    r"""|(?P<literal>[rRbB]{0,2}(?:"{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<number>\d\w*(?:\.\d\w*)?)|(?P<name>[A-Za-z_]\w*)|(?P<other>.)""",
    re.DOTALL,
)
_MACROS: Final = frozenset(("all", "exists", "exists_one", "existsOne", "map", "filter"))
_NATIVE: Final = (
    frozenset(("bytes", "contains", "double", "duration", "dyn", "endsWith", "int", "matches", "size", "startsWith"))
    | frozenset(("string", "timestamp", "type", "uint"))
    | frozenset(("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours"))
    | frozenset(("getMilliseconds", "getMinutes", "getMonth", "getSeconds"))
)
_ADDED: Final = (
    frozenset(("bool", "charAt", "distinct", "first", "flatten", "indexOf", "join", "last", "lastIndexOf"))
    | frozenset(("lowerAscii", "max", "min", "replace", "reverse", "slice", "sort", "split", "substring", "sum"))
    | frozenset(("trim", "upperAscii"))
)
"""Functions of cel-go's extension libraries, which the package has in Python."""


# The package warns of each call of an added function that fails, with the values it failed with: those of a request.
logging.getLogger("cel").setLevel(logging.CRITICAL)


@lru_cache(maxsize=4096)
def compiled(text: str) -> Program:
    """Raises ValueError, with a picture of the place, for what is no CEL."""
    import cel  # noqa: PLC0415 - takes a fifth of a second, and few configurations have expressions

    return cel.compile(text)


def added_functions(program: Program) -> dict[str, Callable[..., Any]]:
    """Those a program calls that it does not bring itself, by name."""
    names = _ADDED.intersection(program.functions())
    if not names:
        return {}
    from cel.stdlib import STDLIB_FUNCTIONS  # noqa: PLC0415 - as above

    return {name: STDLIB_FUNCTIONS[name] for name in names}


def unknown_function(program: Program) -> str | None:
    """The first that nobody has. Operators are functions too, with names like `_+_`."""
    called = (name for name in program.functions() if name[:1].isalpha())
    return next((name for name in called if name not in _NATIVE and name not in _ADDED), None)


def first_line(error: ValueError) -> str:
    """Of the parser's words: what is wrong, and where, without the list of all that would have been right."""
    found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.+?)(?: expecting .*)?$", str(error), re.MULTILINE)
    if found is None:
        return "it cannot be read"
    what = "something is missing" if "<EOF>" in found[3] else found[3]
    return f"{what} in line {found[1]}, column {found[2]}"


class Mention(msgspec.Struct, frozen=True):
    """A variable that a text mentions, with what of it: `request.headers["x"]` is request, headers, x.

    A part that is None is all there is, or one that only running the text tells.
    """

    root: str
    member: str | None
    key: str | None


class _Token(msgspec.Struct, frozen=True):
    text: str
    literal: bool = False

    @property
    def is_name(self) -> bool:
        return not self.literal and (self.text[0].isalpha() or self.text[0] == "_")

    @property
    def value(self) -> str | None:
        """What a plain text literal says; None for one with escapes, whose spelling is not its value."""
        quoted = self.literal and self.text[0] in "\"'" and "\\" not in self.text
        return self.text.strip(self.text[0]) if quoted else None


_END: Final = _Token("\0")
_WORDS: Final = frozenset(("true", "false", "null", "in"))
_BEFORE_TERMS: Final = frozenset((_END.text, "(", "[", ",", "&", "|", "?", ":"))  # what binds less than `in`


def mentions(text: str) -> Iterator[Mention]:
    """The variables of a text, without those that its macros bind. No text that compiles has one that is left out."""
    tokens = [_Token(found[0], found["literal"] is not None) for found in _TOKEN.finditer(text) if found.lastgroup]
    tokens = [*[_END] * 3, *tokens, *[_END] * 5]
    bound = {
        tokens[number + 2].text
        for number, token in enumerate(tokens[:-5])
        if not token.literal and token.text in _MACROS and tokens[number + 1].text == "("
    }
    for number, token in enumerate(tokens[:-5]):
        called = tokens[number + 1].text == "("
        if not token.is_name or token.text in bound | _WORDS or called or tokens[number - 1].text == ".":
            continue
        if tokens[number + 1].text == "." and tokens[number + 2].is_name and tokens[number + 3].text != "(":
            key = _key(tokens[number + 3 : number + 6], tokens[number - 3 : number])
            yield Mention(token.text, tokens[number + 2].text, key)
        else:
            yield Mention(token.text, None, None)


def _key(following: list[_Token], before: list[_Token]) -> str | None:
    """Of `["x"]` or `.x` behind a variable, or of `"x" in` before it."""
    if following[0].text == "[" and following[2].text == "]":
        return following[1].value
    if following[0].text == "." and following[1].is_name:
        return None if following[2].text == "(" else following[1].text
    asked = before[2].text == "in" and before[0].text in _BEFORE_TERMS and following[0].text not in {".", "["}
    return before[1].value if asked else None
