"""The journal: the last requests as they arrived, so that a test can look up what its client or gateway sent."""

from __future__ import annotations

from collections import deque
from urllib.parse import unquote_plus

import msgspec

from torana.http.message import Fields
from torana.http.request import Request
from torana.model.shown import is_credential

_ENTRIES = 100
_BODY = 64 * 1024  # octets kept of each body: the journal is at most 6.4 MB beside the heads
_SECRETS = frozenset((b"authorization", b"proxy-authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"cookie"))
_SHOWN = 4  # characters of a credential, enough to tell keys apart
_SHORTEST = 12  # characters a credential has before any of it is shown


class Entry(msgspec.Struct, frozen=True):
    """One request. Repeated headers are joined by commas; `body` is its JSON, or its text when it is none."""

    method: str
    path: str
    query: str | None
    headers: dict[str, str]
    body: msgspec.Raw | str | None
    truncated: bool


class Journal:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_ENTRIES)

    def record(self, request: Request, body: bytes) -> None:
        query = None if request.query is None else _query(request.query.decode("latin-1"))
        truncated = len(body) > _BODY
        entry = Entry(
            request.method.decode("latin-1"),
            request.path.decode("latin-1"),
            query,
            _headers(request.fields),
            _readable(body[:_BODY]),
            truncated,
        )
        self._entries.append(entry)

    def clear(self) -> None:
        self._entries.clear()

    def render(self) -> bytes:
        """`{"requests": [...]}` as JSON, the oldest first."""
        return msgspec.json.encode({"requests": list(self._entries)})


def mask(credential: str) -> str:
    """`Bearer ***1234`: the scheme, and the last characters when the rest is long enough to stay a secret."""
    scheme, space, secret = credential.partition(" ")
    if scheme.lower() not in ("bearer", "basic"):
        scheme, space, secret = "", "", credential
    return f"{scheme}{space}***{secret[-_SHOWN:] if len(secret) >= _SHORTEST else ''}"


def _headers(fields: Fields) -> dict[str, str]:
    headers: dict[str, str] = {}
    for lower, _, value in fields:
        name, text = lower.decode("latin-1"), value.decode("latin-1")
        if lower in _SECRETS:
            text = mask(text)
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _query(text: str) -> str:
    parameters = (parameter.partition("=") for parameter in text.split("&"))
    return "&".join(
        f"{name}={mask(value)}" if value and is_credential(unquote_plus(name)) else name + equals + value
        for name, equals, value in parameters
    )


def _readable(body: bytes) -> msgspec.Raw | str | None:
    if not body:
        return None
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")
    return msgspec.Raw(body)
