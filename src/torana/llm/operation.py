"""Operation: what a request asks for, read from the end of its path.

Vendors put OpenAI's API below prefixes of their own (`/openai/v1`, `/inference/v1`, none at all), so only the suffix
tells. A configured model can be enforced only where the operation is recognised; the match is therefore made on what
the upstream will understand, not on how the client spelled it: escapes, doubled slashes and dot segments are undone.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes


class Traits(NamedTuple):
    """What the gateway must know of an operation.

    `name` is OpenTelemetry's `gen_ai.operation.name`. `carries_model`: the body is a JSON object with a `model`.
    `takes_usage_option`: `stream_options.include_usage` exists (OpenAI: chat completions and completions only;
    Responses and Messages send their usage unasked).
    """

    suffix: bytes
    name: str
    carries_model: bool = True
    streams: bool = False
    takes_usage_option: bool = False


class Operation(Enum):
    """The operations whose bodies are read. Any other path is passed on unread."""

    CHAT_COMPLETIONS = Traits(b"/chat/completions", "chat", streams=True, takes_usage_option=True)
    COMPLETIONS = Traits(b"/completions", "text_completion", streams=True, takes_usage_option=True)
    EMBEDDINGS = Traits(b"/embeddings", "embeddings")
    RESPONSES = Traits(b"/responses", "chat", streams=True)
    MESSAGES = Traits(b"/messages", "chat", streams=True)
    COUNT_TOKENS = Traits(b"/messages/count_tokens", "count_tokens")
    RERANK = Traits(b"/rerank", "rerank")
    MODELS = Traits(b"/models", "models", carries_model=False)

    # Plain attributes: a property of an Enum costs a Python call on the request path.
    suffix: bytes
    text: str
    carries_model: bool
    streams: bool
    takes_usage_option: bool

    def __init__(self, suffix: bytes, name: str, carries_model: bool, streams: bool, takes_usage_option: bool) -> None:  # noqa: FBT001 - Enum calls it with the members of Traits
        self.suffix = suffix
        self.text = name
        self.carries_model = carries_model
        self.streams = streams
        self.takes_usage_option = takes_usage_option


_BY_SUFFIX = {operation.suffix: operation for operation in Operation}

# Prefixes of vendors' APIs (OpenAI and most; Groq, Fireworks, OpenRouter, DeepInfra, Gemini), found in one look-up.
_PREFIXES = (b"", b"/v1", b"/openai/v1", b"/inference/v1", b"/api/v1", b"/v1/openai", b"/v1beta/openai")
_BY_PATH = {prefix + suffix: operation for prefix in _PREFIXES for suffix, operation in _BY_SUFFIX.items()}


def operation_of(path: bytes) -> Operation | None:
    """The operation with the longest suffix of `path` (query removed); `/models/{id}` is MODELS; else None."""
    return _BY_PATH.get(path) or _by_suffix(path)


def model_id_of(path: bytes) -> bytes:
    """The `id` of a `/models/{id}` path, as the client wrote it; empty for the list. Vendors' ids hold slashes."""
    return path.partition(b"/models/")[2]


def _by_suffix(path: bytes) -> Operation | None:
    # RFC 3986 section 6.2.2: escapes and dot segments do not change what a path names. Servers also merge slashes.
    segments: list[bytes] = []
    for segment in unquote_to_bytes(path).split(b"/"):
        if segment == b"..":
            del segments[-1:]
        elif segment not in {b"", b"."}:
            segments.append(segment)
    # Two segments are the longest suffix in the table.
    for count in (2, 1):
        operation = _BY_SUFFIX.get(b"/" + b"/".join(segments[-count:]))
        if operation is not None:
            return operation
    return Operation.MODELS if b"models" in segments else None
