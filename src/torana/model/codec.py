"""The model as JSON for people (secrets masked) and as bytes for worker processes (secrets kept)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec

from torana.model.secret import MASK, Secret
from torana.model.shown import shown

_T = TypeVar("_T", bound=msgspec.Struct)


def dump(config: msgspec.Struct, hidden: Collection[Secret] = ()) -> Any:
    """Plain dicts, lists and texts; every secret is `***`. For the admin API and golden files.

    `hidden` are texts that must not be shown wherever they stand, such as the values of environment variables: a
    credential may have been put into a header or a path. What else is masked stands in `model.shown`.
    """
    return shown(msgspec.to_builtins(config, enc_hook=_mask), hidden)


def pack(value: msgspec.Struct) -> bytes:
    """For a worker process only: the secrets are in it."""
    return _packer.encode(value)


def unpack(data: bytes, kind: type[_T]) -> _T:
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_hide)


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
