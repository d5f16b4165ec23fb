"""What may be shown of a configuration or a request, wherever it is shown: the admin API, `explain`, golden files.

Three rules. A value whose name says that it is a credential is `***`: in fields, in query parameters, wherever a name
and a value stand together. A text that came from an environment variable is `***` wherever it stands, but for members
that say where and what. And a Secret is `***` by itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from torana.model.secret import MASK, Secret

_CREDENTIAL = re.compile(
    r"auth(?!or(?!i[sz]))|cookie|credential|key|passw|\bpwd\b|secret|\bsig\b|signature|token", re.IGNORECASE
).search
_COUNT = re.compile(r"(?:\w+_)?tokens|[a-z]\w*Tokens").fullmatch
"""Names of fields and query parameters whose values are not shown: too many rather than too few, since what is shown is
pasted into tickets. `authorization` is one of them, `author` and `:authority` are not.
Nor is a number of tokens, such as `max_tokens`."""

_PARAMETER = re.compile(r"([?&])([^?&=#\s]*)=([^&#\s]+)")

_NAMES = frozenset(("backend", "connect", "host", "hostname", "hostnames", "model", "name"))
_ADDRESSES = frozenset(("authority", "target"))
"""Members that say where and what, and hold no credential: worth reading wherever they came from."""

_SHORTEST = 6  # characters; a shorter text would be found everywhere


def is_credential(name: str) -> bool:
    return _CREDENTIAL(name) is not None and _COUNT(name) is None


def shown_value(name: str, value: str) -> str:
    """The value of a field or parameter of this name, or `***`."""
    return MASK if is_credential(name) else shown_text(value)


def shown_text(text: str, ours: str | None = None) -> str:
    """A path, a URL, or any text: the values of query parameters that are credentials, or are called `ours`, masked."""

    def masked(parameter: re.Match[str]) -> str:
        mark, name, _ = parameter.groups()
        plain = unquote_plus(name)
        return f"{mark}{name}={MASK}" if plain == ours or is_credential(plain) else parameter[0]

    return _PARAMETER.sub(masked, text) if "=" in text else text


def shown(value: Any, hidden: Collection[Secret] = ()) -> Any:
    """Plain dicts, lists and texts with all that must not be shown as `***`; `hidden` are values of variables."""
    texts = {text for text in (secret.reveal() for secret in hidden) if len(text) >= _SHORTEST}
    # Values within bodies are JSON as text, where quotes are escaped.
    texts |= {msgspec.json.encode(text)[1:-1].decode() for text in texts}
    return _shown(value, sorted(texts, key=len, reverse=True))


def _shown(value: Any, texts: list[str]) -> Any:
    match value:
        case str():
            for text in texts:
                value = value.replace(text, MASK)
            return shown_text(value)
        case {"name": str(name), "value": str(text)}:  # a ValueMatch
            return value | {"value": _value(name, text, texts)}
        case dict():
            return {key: _member(key, item, texts) for key, item in value.items()}
        case list() | tuple():
            if value and all(map(_is_pair, value)):
                return [[name, _value(name, text, texts)] for name, text in value]
            return [_shown(item, texts) for item in value]
        case _:
            return value


def _member(key: str, item: Any, texts: list[str]) -> Any:
    if key in _ADDRESSES or (key in _NAMES and not isinstance(item, dict)):
        return item
    return _shown(item, texts)


def _is_pair(item: Any) -> bool:
    """A name and its value: the model has no other lists of two texts within a list."""
    return isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _value(name: str, text: str, texts: list[str]) -> Any:
    return MASK if is_credential(name) else _shown(_shown_json(text), texts)


def _shown_json(text: str) -> str:
    """A value that is JSON, as those set in bodies are, with the members within it masked by their names."""
    if not text.startswith(("{", "[")):
        return text
    try:
        made = _masked(value := msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return text
    return text if made == value else msgspec.json.encode(made).decode()


def _masked(value: Any) -> Any:
    match value:
        case dict():
            return {name: MASK if is_credential(name) else _masked(item) for name, item in value.items()}
        case list():
            return [*map(_masked, value)]
        case _:
            return value
