"""Operation: what a request asks for, read from the end of its path.

Vendors put OpenAI's API below prefixes of their own (`/openai/v1`, `/inference/v1`, none at all), so only the suffix
tells. A configured model can be enforced only where the operation is recognised; the match is therefore made on what
the upstream will understand, not on how the client spelled it: escapes, doubled slashes and dot segments are undone.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes


class ModelPlace(Enum):
    """Where a request names its model: JSON is a member of its body, FORM a field of a form (RFC 7578)."""

    JSON = "json"
    FORM = "form"
    QUERY = "query"
    NOWHERE = "nowhere"


class Traits(NamedTuple):
    """What the gateway must know of an operation.

    `name` is OpenTelemetry's `gen_ai.operation.name`. `takes_usage_option`: `stream_options.include_usage` exists
    (OpenAI: chat completions and completions only; Responses and Messages send their usage unasked). `needs_model`:
    without a model there is no answer; others have one of their own.
    """

    suffix: bytes
    name: str
    model: ModelPlace = ModelPlace.JSON
    takes_usage_option: bool = False
    needs_model: bool = True


class Operation(Enum):
    """The operations that are known. Any other path is passed on unread.

    Sources: platform.openai.com/docs/api-reference, docs.anthropic.com/en/api, docs.cohere.com/reference/rerank.
    """

    CHAT_COMPLETIONS = Traits(b"/chat/completions", "chat", takes_usage_option=True)
    COMPLETIONS = Traits(b"/completions", "text_completion", takes_usage_option=True)
    EMBEDDINGS = Traits(b"/embeddings", "embeddings")
    RESPONSES = Traits(b"/responses", "chat")
    RESPONSES_COMPACT = Traits(b"/responses/compact", "compact")
    MESSAGES = Traits(b"/messages", "chat")
    COUNT_TOKENS = Traits(b"/messages/count_tokens", "count_tokens")
    RERANK = Traits(b"/rerank", "rerank")
    MODERATIONS = Traits(b"/moderations", "moderation", needs_model=False)
    IMAGES_GENERATIONS = Traits(b"/images/generations", "image_generation", needs_model=False)
    IMAGES_EDITS = Traits(b"/images/edits", "image_edit", ModelPlace.FORM)
    IMAGES_VARIATIONS = Traits(b"/images/variations", "image_variation", ModelPlace.FORM)
    AUDIO_SPEECH = Traits(b"/audio/speech", "speech")
    AUDIO_TRANSCRIPTIONS = Traits(b"/audio/transcriptions", "transcription", ModelPlace.FORM)
    AUDIO_TRANSLATIONS = Traits(b"/audio/translations", "translation", ModelPlace.FORM)
    REALTIME = Traits(b"/realtime", "realtime", ModelPlace.QUERY)
    FILES = Traits(b"/files", "files", ModelPlace.NOWHERE)
    BATCHES = Traits(b"/batches", "batches", ModelPlace.NOWHERE)
    MODELS = Traits(b"/models", "models", ModelPlace.NOWHERE)

    __hash__ = object.__hash__  # Enum's own is a Python call, and tables by operation are asked for every request

    # Plain attributes: a property of an Enum costs a Python call on the request path.
    suffix: bytes
    text: str
    model: ModelPlace
    takes_usage_option: bool
    needs_model: bool

    def __init__(
        self,
        suffix: bytes,
        name: str,
        model: ModelPlace,
        takes_usage_option: bool,  # noqa: FBT001 - Enum calls it with the members of Traits
        needs_model: bool,  # noqa: FBT001
    ) -> None:
        self.suffix = suffix
        self.text = name
        self.model = model
        self.takes_usage_option = takes_usage_option
        self.needs_model = needs_model


_BY_SUFFIX = {operation.suffix: operation for operation in Operation}

# Prefixes of vendors' APIs (OpenAI and most; Groq, Fireworks, OpenRouter, DeepInfra, Gemini), found in one look-up.
_PREFIXES = (b"", b"/v1", b"/openai/v1", b"/inference/v1", b"/api/v1", b"/v1/openai", b"/v1beta/openai")
_BY_PATH = {prefix + suffix: operation for prefix in _PREFIXES for suffix, operation in _BY_SUFFIX.items()}

_WITH_MESSAGES = frozenset((b"threads", b"completions"))  # OpenAI's, whose messages are lists: nothing of Anthropic's


def operation_of(path: bytes) -> Operation | None:
    """The operation with the longest suffix of `path` (query removed); `/models/{id}` is MODELS; else None.

    None too for what is asked for now and fetched later (Perplexity's `/async/chat/completions`): such a body holds
    that of the operation within it.
    """
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
    if b"async" in segments:
        return None
    # Two segments are the longest suffix in the table.
    for count in (2, 1):
        operation = _BY_SUFFIX.get(b"/" + b"/".join(segments[-count:]))
        if operation is Operation.MESSAGES and not _WITH_MESSAGES.isdisjoint(segments):
            return None
        if operation is not None:
            return operation
    return Operation.MODELS if b"models" in segments else None
