"""expression: what a policy asks of a request or its answer, in CEL (the variables are agentgateway's).

Only what an expression mentions is put together for it: a single header instead of all of them, where its name is
written out. An expression that cannot be evaluated (a header that is not there, a text compared with a number) has no
value, and as a condition is false; `has(request.headers.x)` and `"x" in request.headers` ask first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

import msgspec

from torana.exchange import Exchange
from torana.http.message import Fields, ResponseHead
from torana.policies.cel import added_functions, compiled, first_line, mentions, unknown_function

_log = logging.getLogger(__name__)

_Keys: TypeAlias = frozenset[bytes] | None  # names of headers; None is all of them
_Member: TypeAlias = Callable[[Exchange, ResponseHead | None, _Keys], Any]  # None: it is not known
_Part: TypeAlias = tuple[str, _Member, _Keys]


class Sees(Enum):
    """What there is when an expression is evaluated: the request alone, its body too, or an answer to it."""

    REQUEST = "request"
    CALL = "call"
    ANSWER = "answer"


# --- Variables ------------------------------------------------------------------------------------------------------


def _path_and_query(exchange: Exchange) -> str:
    path = exchange.path if exchange.query is None else exchange.path + b"?" + exchange.query
    return path.decode("latin-1")


def _uri(exchange: Exchange) -> str:
    return f"{exchange.scheme.decode()}://{exchange.host.decode('latin-1')}{_path_and_query(exchange)}"


def _headers(fields: Fields, keys: _Keys) -> dict[str, str]:
    """By lower-case name; repeated ones as one list (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for lower, _, value in fields:
        if keys is None or lower in keys:
            name, text = lower.decode("latin-1"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _address(exchange: Exchange) -> str | None:
    return exchange.record.peer.rpartition(":")[0].strip("[]") or None


def _port(exchange: Exchange) -> int | None:
    port = exchange.record.peer.rpartition(":")[2]
    return int(port) if port.isdigit() else None


def _streaming(exchange: Exchange) -> bool | None:
    return exchange.record.streaming if exchange.record.protocol == "llm" else None


_MEMBERS: Final[Mapping[str, Mapping[str, _Member]]] = {
    "request": {
        "method": lambda exchange, _, __: exchange.method.decode(),
        "uri": lambda exchange, _, __: _uri(exchange),
        "host": lambda exchange, _, __: exchange.host.decode("latin-1"),
        "scheme": lambda exchange, _, __: exchange.scheme.decode(),
        "path": lambda exchange, _, __: exchange.path.decode("latin-1"),
        "pathAndQuery": lambda exchange, _, __: _path_and_query(exchange),
        "version": lambda exchange, _, __: f"HTTP/{exchange.record.version}",
        "headers": lambda exchange, _, keys: _headers(exchange.fields, keys),
    },
    "response": {
        "code": lambda _, head, __: None if head is None else head.status,
        "headers": lambda _, head, keys: None if head is None else _headers(head.fields, keys),
    },
    "source": {
        "address": lambda exchange, _, __: _address(exchange),
        "port": lambda exchange, _, __: _port(exchange),
    },
    "llm": {
        "requestModel": lambda exchange, _, __: exchange.record.model,
        "streaming": lambda exchange, _, __: _streaming(exchange),
        "provider": lambda exchange, _, __: exchange.record.provider or None,
    },
    "backend": {
        "name": lambda exchange, _, __: None if exchange.record.backend == "unknown" else exchange.record.backend,
    },
}
_ONLY_ANSWERED: Final = frozenset(("response",))
_BODY: Final = "llmRequest"  # the body of a call; its members are the client's


# --- Reading --------------------------------------------------------------------------------------------------------


def expression_fault(text: str, sees: Sees = Sees.ANSWER) -> str | None:
    """What is wrong with an expression, in words; None when it is fine."""
    try:
        program = compiled(text)
    except ValueError as error:
        return f"it is not CEL: {first_line(error)}"
    there = [root for root in _MEMBERS if sees is Sees.ANSWER or root not in _ONLY_ANSWERED]
    if sees is Sees.CALL:
        there.append(_BODY)
    for mention in mentions(text):
        if mention.root == _BODY and sees is Sees.CALL:
            continue
        if mention.root not in there:
            return f"there is no variable `{mention.root}` here, only {', '.join(there)}"
        if mention.member is not None and mention.member not in _MEMBERS[mention.root]:
            members = ", ".join(_MEMBERS[mention.root])
            return f"there is no `{mention.root}.{mention.member}` here; `{mention.root}` has {members}"
        if mention.member == "headers" and mention.key is not None and mention.key != mention.key.lower():
            return f"names of headers are in lower case here: write `{mention.key.lower()}` for `{mention.key}`"
    function = unknown_function(program)
    return None if function is None else f"there is no function `{function}`"


class Expression:
    """One expression, ready to be evaluated on any number of requests. Raises ValueError for a text with a fault."""

    __slots__ = ("_complained", "_functions", "_parts", "_program", "_reads_body", "text")

    def __init__(self, text: str, sees: Sees = Sees.ANSWER) -> None:
        fault = expression_fault(text, sees)
        if fault is not None:
            raise ValueError(f"`{text}`: {fault}")
        self.text = text
        self._program = compiled(text)
        self._functions = added_functions(self._program)
        self._parts = _parts(text)
        self._reads_body = any(mention.root == _BODY for mention in mentions(text))
        self._complained = False

    def evaluate(self, exchange: Exchange, head: ResponseHead | None = None) -> Any:
        """Its value, None when it has none. `head` is the answer's, where there is one."""
        variables: dict[str, Any] = {**self._functions}
        for root, parts in self._parts.items():
            values = ((name, member(exchange, head, keys)) for name, member, keys in parts)
            variables[root] = {name: value for name, value in values if value is not None}
        if self._reads_body:
            variables[_BODY] = _decoded(exchange.content)
        try:
            return self._program.execute(variables)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            self._complain(error)
            return None

    def holds(self, exchange: Exchange, head: ResponseHead | None = None) -> bool:
        """Whether it is true; anything else, no value too, is not."""
        return self.evaluate(exchange, head) is True

    def _complain(self, error: Exception) -> None:
        """Once: what fails for one request fails for many. Values of the request, maybe secrets, are not shown."""
        if self._complained:
            return
        self._complained = True
        match error:
            case KeyError(args=(str(key), *_)) if key in self.text:
                why = f"there is no `{key}`; ask with has() or `in` first"
            case TypeError():
                why = "its values are of types that do not fit together"
            case ArithmeticError():
                why = "a number is too large, or divided by zero"
            case _:
                why = "a part of it has no value for this request"
        _log.warning("the expression `%s` could not be evaluated and counts as not true: %s", self.text, why)


def _decoded(body: bytes | None) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def compile_optional(text: str | None, sees: Sees = Sees.ANSWER) -> Expression | None:
    return None if text is None else Expression(text, sees)


def _parts(text: str) -> dict[str, tuple[_Part, ...]]:
    """For each variable that is mentioned, its members that are, and of headers the names."""
    wanted: dict[str, dict[str, set[str] | None]] = {}
    for mention in mentions(text):
        if mention.root == _BODY:
            continue
        members = wanted.setdefault(mention.root, {})
        for member in _MEMBERS[mention.root] if mention.member is None else (mention.member,):
            keys = members.setdefault(member, set())
            if mention.key is None:
                members[member] = None
            elif keys is not None:
                keys.add(mention.key)
    return {
        root: tuple(
            (name, _MEMBERS[root][name], None if keys is None else frozenset(key.encode() for key in keys))
            for name, keys in members.items()
        )
        for root, members in wanted.items()
    }
