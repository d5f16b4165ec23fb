"""Errors of upstreams, of any form: the words in them, and the type that Anthropic's API gives a status.

https://docs.claude.com/en/api/errors
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.llm.errors import type_of as type_of  # noqa: PLC0414 - part of what is here for all translations
from torana.llm.usage import UNREADABLE

# Anthropic's names, which OpenAI's types partly are too.
NAMES: Final = frozenset(map(type_of, range(400, 600)))

# A page of a proxy in between is not worth more.
_LONGEST_MESSAGE: Final = 2_000

# Mistral's `{"message": {"detail": [{"msg": "..."}]}}` is the deepest of the known forms.
_DEEPEST_MESSAGE: Final = 5

_decode = msgspec.json.Decoder().decode


def decoded(body: bytes) -> Any:
    """An error's body as JSON, else as the text it is; nothing of a page of HTML, which nobody wants to read."""
    try:
        return _decode(body)
    except UNREADABLE:
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text


def message_of(value: Any) -> str:
    """The words of an error: OpenAI's `error.message`, in a list with Google, and the forms of smaller servers."""
    for _ in range(_DEEPEST_MESSAGE):
        match value:
            case [first, *_]:
                value = first
            case {"error": dict() | list() | str() as inner}:
                value = inner
            case {"msg": str(words), "loc": [*place]}:  # FastAPI's, whose words do not say where
                value = f"{'.'.join(map(str, place))}: {words}"
            case {"message": str(inner)} | {"msg": str(inner)} | {"detail": inner} | {"message": inner}:
                value = inner
            case _:
                break
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) else ""
