"""Usage: tokens in and out, read from an answer of any of the API families, in one meaning for all.

Reading never fails because of an odd value: what is no count is 0, what is no usage is None. An answer is passed on
whatever it holds; counting it must not get in the way.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

_MOST: Final = 2**53  # the largest count that JSON carries exactly (RFC 8259, section 6)
_COUNT: Final = msgspec.Meta(ge=0, le=_MOST)


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Counts of tokens, as OpenAI counts: each total includes its parts.

    `input_tokens` includes those read from a cache (`cached_tokens`) and written to one (`cache_creation_tokens`),
    `output_tokens` includes `reasoning_tokens`. Anthropic's `input_tokens` is without both; they are added
    (OpenTelemetry, semantic conventions for Anthropic).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0

    def joined(self, other: Usage) -> Usage:
        """The larger of each count, for a stream that tells its counts in parts or more than once."""
        return Usage(
            max(self.input_tokens, other.input_tokens),
            max(self.output_tokens, other.output_tokens),
            max(self.cached_tokens, other.cached_tokens),
            max(self.cache_creation_tokens, other.cache_creation_tokens),
            max(self.reasoning_tokens, other.reasoning_tokens),
        )


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a whole JSON answer tells: the model that answered and what it used, None where it does not say."""

    model: str | None
    usage: Usage | None


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: Annotated[int, _COUNT] | None = None
    cache_write_tokens: Annotated[int, _COUNT] | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Annotated[int, _COUNT] | None = None


class _ChatUsage(msgspec.Struct, gc=False):
    prompt_tokens: Annotated[int, _COUNT]
    completion_tokens: Annotated[int, _COUNT] = 0
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _ChatWire(msgspec.Struct, gc=False):
    """The answer as nearly every provider writes it; decoding it costs half of what the tolerant form costs."""

    usage: _ChatUsage
    model: str | None = None


class _Wire(msgspec.Struct, gc=False):
    """The members that are read; the decoder skips the rest, so that large embeddings cost no objects.

    Cohere's rerank and embed tell their usage in `meta`.
    """

    model: Any = None
    usage: Any = None
    meta: Any = None


class _Model(msgspec.Struct, gc=False):
    model: str | None = None


_decode_model = msgspec.json.Decoder(_Model).decode
_decode_chat = msgspec.json.Decoder(_ChatWire).decode
_decode = msgspec.json.Decoder(_Wire).decode

_LONG: Final = 8 * 1024  # bytes from which reading an answer's ends costs less than skipping its middle
_END: Final = 2048  # bytes at either end
_LONG_MEMBERS: Final = (b'"choices":', b'"content":', b'"output":', b'"data":', b'"embeddings":')
_BACKSLASH: Final = 0x5C
_SPACES: Final = b" \t\n\r"

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON asked for."""


def read_answer(body: bytes) -> Answer | None:
    """Model and usage of a whole answer of any operation that tells them, whichever API family's.

    None when it is no JSON object. Skipping what is not read costs 0.5 ms a MB; so a long answer is read from its ends
    where that is enough.
    """
    if len(body) > _LONG:
        answer = _read_ends(body)
        if answer is not None:
            return answer
    try:
        chat = _decode_chat(body)
    except UNREADABLE:
        return _read_tolerantly(body)
    return _told(chat)


def _read_ends(body: bytes) -> Answer | None:
    """What a long answer tells, read without the long member in its middle; None when that cannot be told from here.

    What stands before that member must be an object once a brace is put behind it, and what stands from `usage` on must
    be one behind a brace: then both are of the top level. What is between them is not looked at.
    """
    at = body.rfind(b'"usage":', len(body) - _END)
    if at < 0 or body[at - 1] == _BACKSLASH:  # a quote escaped in a longer name
        return None
    for name in _LONG_MEMBERS:
        middle = body.find(name, 0, _END)
        if middle > 0:
            break
    else:
        return None
    front = body[:middle].rstrip(_SPACES)
    try:
        model = _decode_model(front[:-1] + b"}" if front.endswith(b",") else front + b"}").model
        if model is None:
            at = body.rfind(b'"model":', at - _END, at)  # embeddings: between the two
            if at < 0 or body[at - 1] == _BACKSLASH:
                return None
        tail = b"{" + body[at:]
        try:
            answer = _told(_decode_chat(tail))
        except msgspec.ValidationError:
            wire = _decode(tail)
            answer = Answer(wire.model if isinstance(wire.model, str) else None, usage_of(wire.usage))
    except UNREADABLE:
        return None
    if answer.usage is None:
        return None
    return answer if answer.model is not None else Answer(model, answer.usage)


def _told(chat: _ChatWire) -> Answer:
    usage = chat.usage
    inward, outward = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (inward.cached_tokens or 0) if inward is not None else 0
    written = (inward.cache_write_tokens or 0) if inward is not None else 0
    reasoning = (outward.reasoning_tokens or 0) if outward is not None else 0
    return Answer(chat.model, Usage(usage.prompt_tokens, usage.completion_tokens, cached, written, reasoning))


def _read_tolerantly(body: bytes) -> Answer | None:
    try:
        wire = _decode(body)
    except UNREADABLE:
        return None
    return Answer(wire.model if isinstance(wire.model, str) else None, usage_of(wire.usage) or usage_of(wire.meta))


def usage_of(value: Any) -> Usage | None:
    """A decoded `usage` member; None when it is no object or names no token count.

    Sources: platform.openai.com/docs/api-reference (chat `CompletionUsage`, `ResponseUsage`; images and transcriptions
    count as Responses does, or tell seconds, which are no tokens), docs.anthropic.com (Messages `usage`),
    docs.cohere.com (`meta`, and v2's `usage`: `tokens`, else `billed_units`, whose searches are no tokens). Rerank and
    embeddings of Jina and Voyage tell a total alone: they have no output.
    """
    if not isinstance(value, dict):
        return None
    value = _part(value.get("tokens")) or _part(value.get("billed_units")) or value
    get = value.get
    if "prompt_tokens" in value or "completion_tokens" in value:
        inward = _part(get("prompt_tokens_details"))
        outward = _part(get("completion_tokens_details"))
        return Usage(
            _count(get("prompt_tokens")),
            _count(get("completion_tokens")),
            _count(inward.get("cached_tokens")),
            _count(inward.get("cache_write_tokens")),
            _count(outward.get("reasoning_tokens")),
        )
    if "input_tokens" in value or "output_tokens" in value:
        read = _count(get("cache_read_input_tokens"))
        created = _count(get("cache_creation_input_tokens"))
        inward = _part(get("input_tokens_details"))
        outward = _part(get("output_tokens_details"))
        return Usage(
            _count(get("input_tokens")) + read + created,
            _count(get("output_tokens")),
            read or _count(inward.get("cached_tokens")),
            created or _count(inward.get("cache_write_tokens")),
            _count(outward.get("reasoning_tokens")) or _count(outward.get("thinking_tokens")),
        )
    if "total_tokens" in value:
        return Usage(_count(get("total_tokens")))
    return None


def decoded_copy(chunks: Iterable[bytes], encoding: str, limit: int) -> bytes | None:
    """The content of a body that travels with `encoding` (`Content-Encoding`: gzip, deflate, identity or empty).

    None when the encoding is another, the data is damaged or cut off, or the content is longer than `limit` bytes; no
    more than that is ever unpacked, so a small body cannot grow large here.
    """
    match encoding.strip().lower():
        case "" | "identity":
            content = b"".join(chunks)
            return content if len(content) <= limit else None
        case "gzip" | "x-gzip":
            return _inflated(b"".join(chunks), _GZIP, limit)
        case "deflate":
            packed = b"".join(chunks)
            # RFC 9110 section 8.4.1.2: deflate is the zlib format; "some non-conformant implementations" leave its
            # wrapper out.
            content_or_none = _inflated(packed, _ZLIB, limit)
            return content_or_none if content_or_none is not None else _inflated(packed, _BARE, limit)
        case _:
            return None


# zlib's `wbits`: the largest window, and which wrapper is around the data.
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_BARE: Final = -zlib.MAX_WBITS


def _inflated(packed: bytes, wbits: int, limit: int) -> bytes | None:
    decoder = zlib.decompressobj(wbits)
    try:
        # One byte more than allowed tells "exactly the limit" from "longer"; 0 would mean no limit to zlib.
        content = decoder.decompress(packed, limit + 1)
    except zlib.error:
        return None
    return content if decoder.eof and len(content) <= limit else None


def _part(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


_MOST_DIGITS: Final = 16


def _count(value: Any) -> int:
    if type(value) is int:  # and not bool
        number = value
    elif (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and len(value) <= _MOST_DIGITS and value.isdecimal()
    ):
        number = int(value)
    else:
        number = 0
    return number if 0 <= number <= _MOST else 0
