"""ProviderFacts: a provider as data, and the paths its operations have."""

from __future__ import annotations

import msgspec

from torana.llm.operation import Operation, model_id_of, operation_of


class ProviderFacts(msgspec.Struct, frozen=True):
    """`name` is OpenTelemetry's `gen_ai.provider.name`. `host` None: the configuration must say where it is.

    `base` is the path its operations' suffixes are put on.
    """

    name: str
    host: str | None
    port: int
    base: str
    operations: frozenset[Operation]


def path_for(base: str, operation: Operation) -> bytes:
    """An operation's path under `base`: `/v1` and CHAT_COMPLETIONS give `/v1/chat/completions`. For compile time."""
    return base.rstrip("/").encode() + operation.suffix


def path_under(base: str, path: bytes) -> bytes:
    """The path that goes on for a client's `path` (query removed) under PathKind.BASE.

    A known operation: `base` and its suffix (for one model also its id). Any other path: its leading `/v1` is swapped
    for `base`; one without `/v1` stays.
    """
    operation = operation_of(path)
    if operation is not None:
        model_id = model_id_of(path) if operation is Operation.MODELS else b""
        return path_for(base, operation) + (b"/" + model_id if model_id else b"")
    if path == b"/v1" or path.startswith(b"/v1/"):
        return base.rstrip("/").encode() + path[3:]
    return path


def call_under(base: str, path: bytes) -> bytes:
    """The path that goes on under PathKind.CHAT: as `path_under`, but an unknown path is a chat completion."""
    if operation_of(path) is None:
        return path_for(base, Operation.CHAT_COMPLETIONS)
    return path_under(base, path)
