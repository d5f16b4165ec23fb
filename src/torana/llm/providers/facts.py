"""ProviderFacts: a provider as data, and the paths its operations have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from torana.llm.operation import Operation, model_id_of, operation_of


class ProviderFacts(msgspec.Struct, frozen=True):
    """`name` is what logs and metrics call it. `host` None: the configuration must say where it is.

    `base` is the path its operations' suffixes are put on. `operations` are those it serves, with their paths where
    these are not made so; None is any. `headers` are added where the client sent none of that name. The key goes into
    the header `key_header` behind `key_prefix`.
    """

    name: str
    host: str | None = None
    port: int = 443
    base: str = "/v1"
    operations: Mapping[Operation, str | None] | None = None
    tls: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    key_header: str = "authorization"
    key_prefix: str = "Bearer "


def serving(*operations: Operation, **paths: str) -> dict[Operation, str | None]:
    """A table of operations; those with unusual paths by name: `RERANK="/v2/rerank"`."""
    return dict.fromkeys(operations) | {Operation[name]: path for name, path in paths.items()}


_OF_MANY: Final = frozenset((Operation.FILES, Operation.BATCHES))


def path_for(base: str, operation: Operation) -> bytes:
    """An operation's path under `base`: `/v1` and CHAT_COMPLETIONS give `/v1/chat/completions`. For compile time."""
    return base.rstrip("/").encode() + operation.suffix


def path_under(base: str, path: bytes) -> bytes:
    """The path that goes on for a client's `path` (query removed) under PathKind.BASE.

    A known operation: `base` and its suffix (for one model also its id). Any other path: its leading `/v1` is swapped
    for `base`; one without `/v1` stays. So it is with files and batches, which many things have
    (`/v1/vector_stores/ID/files`, `/v1/messages/batches`).
    """
    operation = operation_of(path)
    if operation is not None and operation not in _OF_MANY:
        model_id = model_id_of(path) if operation is Operation.MODELS else b""
        return path_for(base, operation) + (b"/" + model_id if model_id else b"")
    if path == b"/v1" or path.startswith(b"/v1/"):
        return base.rstrip("/").encode() + path[3:] or b"/"
    return path


def call_under(base: str, path: bytes) -> bytes:
    """The path that goes on under PathKind.CHAT: as `path_under`, but an unknown path is a chat completion."""
    if operation_of(path) is None:
        return path_for(base, Operation.CHAT_COMPLETIONS)
    return path_under(base, path)
