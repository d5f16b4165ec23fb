"""The model as JSON for people (secrets masked) and as bytes for worker processes (secrets kept)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec

from torana.model.config import Config
from torana.model.secret import MASK, Secret

_NAMES = frozenset(("backend", "connect", "host", "hostname", "hostnames", "model", "name"))
_ADDRESSES = frozenset(("authority", "target"))
"""Members that say where and what, and hold no credential: worth reading in a dump wherever they came from."""

_FIELDS = frozenset(("set", "add"))
"""The members of a HeaderModifier: pairs of a name and a value."""

_CREDENTIAL = re.compile("auth|cookie|key|password|secret|token", re.IGNORECASE)
"""Names of header fields whose values are not shown, wherever they came from."""

_SHORTEST = 6  # characters; a shorter text would be found everywhere


def dump(config: msgspec.Struct, hidden: Collection[Secret] = ()) -> Any:
    """Plain dicts, lists and texts; every secret is `***`. For the admin API and golden files.

    `hidden` are texts that must not be shown wherever they stand, such as the values of environment variables: a
    credential may have been put into a header or a path.
    """
    return redact(msgspec.to_builtins(config, enc_hook=_mask), hidden)


def redact(value: Any, hidden: Collection[Secret]) -> Any:
    """`value` with each of the texts `hidden` replaced by `***`, but for members that are no place for a secret."""
    return _redacted(value, [text for text in (secret.reveal() for secret in hidden) if len(text) >= _SHORTEST])


def _redacted(value: Any, texts: list[str]) -> Any:
    match value:
        case str():
            for text in texts:
                value = value.replace(text, MASK)
            return value
        case dict():
            return {key: _member(key, item, texts) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item, texts) for item in value]
        case _:
            return value


def _member(key: str, item: Any, texts: list[str]) -> Any:
    if key in _FIELDS:
        return _fields(item, texts)
    if key in _ADDRESSES or (key in _NAMES and not isinstance(item, dict)):
        return item
    return _redacted(item, texts)


def _fields(pairs: Any, texts: list[str]) -> Any:
    return [[name, MASK if _CREDENTIAL.search(name) else _redacted(value, texts)] for name, value in pairs]


def pack(config: Config) -> bytes:
    """For a worker process only: the secrets are in it."""
    return _packer.encode(config)


def unpack(data: bytes) -> Config:
    return _unpacker.decode(data)


def _mask(value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK
    raise NotImplementedError(type(value).__name__)


def _reveal(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(type(value).__name__)


def _hide(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(kind.__name__)


_packer = msgspec.msgpack.Encoder(enc_hook=_reveal)
_unpacker = msgspec.msgpack.Decoder(Config, dec_hook=_hide)
