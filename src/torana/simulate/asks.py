"""Ask: a request's body, decoded as far as the answer depends on it. Everything else in it is taken and ignored."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from torana.simulate.failure import ApiError

_Count = Annotated[int, Meta(ge=1)]
_Choices = Annotated[int, Meta(ge=1, le=128)]  # OpenAI's own limit
_MOST_INPUTS = 2048  # OpenAI's own limit for embeddings

Input: TypeAlias = str | list[str | int | list[int]]
"""A text or a text's token ids, or a list of either."""

# What changes how an answer is delivered or how much of it, but not what it says.
_DELIVERY = frozenset(("stream", "stream_options", "max_tokens", "max_completion_tokens", "n"))


class Part(Struct):
    """One part of a message's content; what is not text (an image, a file) counts no tokens."""

    text: str | None = None


class Message(Struct):
    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class Function(Struct):
    name: str
    parameters: dict[str, Any] | None = None


class Tool(Struct):
    """Tools of other types (a vendor's own) have no `function`, and are never called."""

    function: Function | None = None


class NamedFunction(Struct):
    name: str


class ToolChoice(Struct):
    function: NamedFunction | None = None


class JsonSchema(Struct):
    schema: dict[str, Any] | None = None


class ResponseFormat(Struct):
    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class GenerationAsk(Struct, kw_only=True):
    """What chat completions and completions have in common."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: _Choices | None = None
    max_tokens: _Count | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class ChatAsk(GenerationAsk, kw_only=True):
    """`POST /chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: _Count | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    response_format: ResponseFormat | None = None

    @property
    def functions(self) -> list[Function]:
        return [tool.function for tool in self.tools or () if tool.function is not None]

    @property
    def last_user_text(self) -> str:
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


class CompletionAsk(GenerationAsk, kw_only=True):
    """`POST /completions`."""

    prompt: Input = ""


class EmbeddingAsk(Struct, kw_only=True):
    """`POST /embeddings`."""

    model: str
    input: Input
    dimensions: Annotated[int, Meta(ge=1, le=4096)] | None = None
    encoding_format: str | None = None


AskType = TypeVar("AskType", ChatAsk, CompletionAsk, EmbeddingAsk)


class Read(NamedTuple):
    """A body's fields, and the seed of its answer: 32 octets that follow from what is asked, not how to deliver it."""

    names: frozenset[str]
    seed: bytes


def model_of(body: bytes) -> str:
    """The model a body names, empty when there is none to be read: for the dials, before anything is refused."""
    try:
        return msgspec.json.decode(body, type=_Probe).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def read(body: bytes) -> Read:
    """Raises ApiError 400 for a body that is no JSON object."""
    try:
        decoded = msgspec.json.decode(body, type=dict[str, Any])
        asked = {name: value for name, value in decoded.items() if name not in _DELIVERY}
        canonical = msgspec.json.encode(asked, order="sorted")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The body is not a JSON object: {error}.") from None
    return Read(frozenset(decoded), hashlib.sha256(canonical).digest())


def decode(body: bytes, kind: type[AskType]) -> AskType:
    """Raises ApiError 400 that names the field which is missing or of another type."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        reason, _, where = str(error).partition(" - at ")
        raise ApiError(400, f"{error}.", param=where.strip("`$.") or _named_in(reason)) from None


def inputs_of(value: Input) -> list[str]:
    """One text an input; of token ids, the ids with spaces between them, so that each counts as a word.

    Raises ApiError 400 for none or too many.
    """
    if isinstance(value, str):
        return [value]
    ids = [item for item in value if isinstance(item, int)]
    if ids:
        return [" ".join(map(str, ids))]
    if not 0 < len(value) <= _MOST_INPUTS:
        raise ApiError(400, f"The list has {len(value)} inputs; 1 to {_MOST_INPUTS} are taken.")
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in value if not isinstance(item, int)]


class _Probe(Struct):
    model: str = ""


def _named_in(reason: str) -> str | None:
    return reason.split("`")[-2] if reason.count("`") >= 2 else None
