"""A request body on its way upstream: the configured model goes in, and no other byte changes.

Only the top level is decoded, to `dict[str, Raw]`: a Raw is the client's own bytes of one value. Encoding such a
dict again gives the shortest form of the body with its nested values untouched. That form has exactly the length of the
body when, and only when, the body was compact JSON without a repeated key, and then it also is the body, byte for byte.
Otherwise a walk over the top level splices the new values in. What the walk cannot follow is sent in the joined form,
where a key stands once, so the upstream cannot read another model than the one that was checked and logged.

Of a large body (an image, often) nothing is copied: it goes on in pieces, the new values between views of the old body.
Measured in docs/adr/0007-large-bodies.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import product
from typing import Final, TypeAlias

import msgspec

from torana.errors import GatewayError, Reason

Pieces: TypeAlias = tuple[bytes | memoryview, ...]
"""A body in pieces, to be sent one after the other. A large one is not copied only to change its model."""


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A body ready to be sent, in pieces: most often one.

    `model` is what the upstream reads, `asked_model` what the client wrote (None: nothing, or no text). `usage_added`
    tells that the gateway asked for the stream's usage and the client did not, who must then not see the usage event.
    """

    pieces: Pieces
    model: str
    asked_model: str | None
    stream: bool
    usage_added: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)  # of one piece, no copy


_LARGE: Final = 64 * 1024  # bytes from which copying a body costs more than finding where to cut it
_TRUE: Final = msgspec.Raw(b"true")
_NULL: Final = msgspec.Raw(b"null")
_EMPTY_TEXT: Final = msgspec.Raw(b'""')
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text_of = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

# Go's encoding/json, and so Ollama, reads `Model` as `model`, and the last one wins.
_LOOK_ALIKES: Final = frozenset(map("".join, product(*((c, c.upper()) for c in "model")))) - {"model"}


def prepare(body: bytes, model: str | None, add_usage: bool) -> Prepared:  # noqa: FBT001 - as in the operation's table
    """Make `body` ready: `model`, when given, always wins over the request's.

    `add_usage` sets `stream_options.include_usage` on a stream whose client left it out; to ask again without it,
    prepare the client's body again. When nothing changes, `body` itself is returned, not a copy.

    Raises GatewayError: BAD_JSON when the body is no JSON object in UTF-8, MODEL_MISSING when nobody names a model, and
    MODEL_NO_TEXT when what should be its name is no text.
    """
    halves = False
    try:
        members = _members_of(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        members = _less_halves(body, error)
        halves = True

    asked = _text(members.get("model"))
    chosen = model or asked
    if not chosen:
        raise _no_model(members.get("model"))

    changes: dict[str, bytes] = {}
    if chosen != asked:
        changes["model"] = _encode(chosen)
    if model and not _LOOK_ALIKES.isdisjoint(members):
        members = {name: raw for name, raw in members.items() if name not in _LOOK_ALIKES}

    stream = members.get("stream") == _TRUE
    usage_added = False
    if add_usage and stream:
        options = _with_usage(members.get("stream_options"))
        if options is not None:
            changes["stream_options"] = options
            usage_added = True

    pieces = None
    if halves or len(body) > _LARGE:
        pieces = _cut(body, members, changes) or _spliced(body, members, changes)
    if pieces is None:
        pieces = (rewritten(body, members, changes),)
    return Prepared(pieces, chosen, asked, stream, usage_added)


def members_of(body: bytes) -> dict[str, msgspec.Raw]:
    """The top level of a body, `without_halves`. Raises GatewayError BAD_JSON when it is no JSON object in UTF-8."""
    try:
        return _members_of(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _less_halves(body, error)


def model_of(body: bytes) -> str | None:
    """The model a body names, None when it names none. Raises BAD_JSON when it is no JSON object, MODEL_NO_TEXT."""
    raw = members_of(body).get("model")
    model = _text(raw)
    if model is None and raw is not None and raw != _NULL:
        raise _no_model(raw)
    return model or None


def refuses_stream_options(status: int, body: bytes) -> bool:
    """Whether an upstream's answer says that it does not know `stream_options`, so that asking without it may help."""
    return status in {400, 422} and b"stream_options" in body


# Members of a chat request that say how and not what, which many providers do not know; and whether one of their few
# values may be refused alone.
_OPTIONS: Final = {
    "reasoning_effort": True, "verbosity": True, "service_tier": True, "prompt_cache_key": False,
    "prompt_cache_options": False, "prompt_cache_retention": False, "safety_identifier": False,
}  # fmt: skip
_EFFORT: Final = re.compile(rb"reasoningEffort|does not support thinking")  # xAI's words for it, and Ollama's


def options_of(body: bytes) -> dict[str, bytes]:
    """The members of a chat request that may be left out, and their values as far as these matter to who refuses one.

    Raises GatewayError as `members_of` does.
    """
    members = members_of(body)
    return {name: bytes(members[name]) if few else b"" for name, few in _OPTIONS.items() if name in members}


def refused_options(status: int, body: bytes) -> list[str]:
    """Those of the same that an upstream's answer says that it does not take."""
    if status not in {400, 422}:
        return []
    text = _EFFORT.sub(b"reasoning_effort", body)
    return [name for name in _OPTIONS if name.encode() in text]


def without(body: bytes, names: Collection[str]) -> bytes:
    """`body`, in its shortest form, less some members of its top level. Raises GatewayError as `members_of` does."""
    return _encode({name: raw for name, raw in members_of(body).items() if name not in names})


# --- halves of surrogate pairs ---

_ESCAPES = re.compile(rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[89a-fA-F][0-9a-fA-F]{2})")
_HALF = len(b"\\ud83d")
_REPLACEMENT = b"\\ufffd"
_MOST_HALVES = 100_000  # with more escapes of their kind a body is not looked through: it takes a second a million
_MOST_BACKSLASHES = 1024  # in a row


def without_halves(body: bytes) -> bytes:
    """`body`, of the same length, with U+FFFD for each half of a surrogate pair that stands alone; itself without any.

    JavaScript writes such a half where a text was cut in the middle of an emoji. JSON may hold it (RFC 8259, section
    8.2); Go's and JavaScript's readers take it, msgspec's and others refuse it.
    """
    if 0 < body.count(b"\\ud") + body.count(b"\\uD") <= _MOST_HALVES:
        return _ESCAPES.sub(_mended, body)
    return body


def _mended(found: re.Match[bytes]) -> bytes:
    text, start = found[0], found.start()
    before = found.string[max(start - _MOST_BACKSLASHES, 0) : start]
    if (len(before) - len(before.rstrip(b"\\"))) % 2:  # its first backslash is escaped, and so begins no escape itself
        return text[:_HALF] + _REPLACEMENT if len(text) > _HALF else text
    return text if len(text) > _HALF else _REPLACEMENT


def _less_halves(body: bytes, error: Exception) -> dict[str, msgspec.Raw]:
    """The top level of a body that could not be read, for its halves. Raises BAD_JSON when they were not all."""
    whole = without_halves(body)
    if whole == body:
        raise bad_json(body, error) from None
    try:
        return _members_of(whole)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as another:
        raise bad_json(body, another) from None


# --- reading members ---


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return _text_of(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _with_usage(raw: msgspec.Raw | None) -> bytes | None:
    """The client's `stream_options` with `include_usage` true; None when it is already, or is no object at all."""
    if raw is None or raw == _NULL:
        return b'{"include_usage":true}'
    try:
        options = _members_of(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # the upstream will refuse it in its own words
    if options.get("include_usage") == _TRUE:
        return None
    options["include_usage"] = _TRUE
    return _encode(options)


# --- writing members ---


def rewritten(body: bytes, members: Mapping[str, msgspec.Raw], changes: Mapping[str, bytes]) -> bytes:
    """`body`, whose top level is `members`, with `changes` in it: values as JSON, by name.

    Each name is in the result once, whatever the body held; without changes the result may be `body` itself.
    """
    after = dict(members)
    expected = len(body)
    for name, value in changes.items():
        old = after.get(name)
        # A new member brings its quotes and colon, and a comma unless it is the first.
        expected += len(value) + (len(name) + 3 + bool(after) if old is None else -len(memoryview(old)))
        after[name] = msgspec.Raw(value)
    joined = _encode(after)
    if len(joined) == expected:
        return joined if changes else body
    spliced = _spliced(body, members, changes)
    return joined if spliced is None else b"".join(spliced)


def _cut(body: bytes, members: Mapping[str, msgspec.Raw], changes: Mapping[str, bytes]) -> Pieces | None:
    """What `rewritten` makes of a body in compact JSON, in pieces of that body; None of any other body.

    It is compact if its length is that of the shortest form, which is found without making it.
    """
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    copied, at = 0, 1
    for name, raw in members.items():
        at += len(_encode(name)) + 1
        if name in changes:
            pieces += view[copied:at], changes[name]
            copied = at + len(memoryview(raw))
        at += len(memoryview(raw)) + 1
    if at != len(body):
        return None
    if not changes:
        return (body,)
    added = b"".join([b",%b:%b" % (_encode(name), value) for name, value in changes.items() if name not in members])
    if added:
        pieces += view[copied:-1], added
        copied = at - 1
    return *pieces, view[copied:]


_SPACE = rb"[ \t\n\r]*+"
_KEY = re.compile(_SPACE + rb"[{,]" + _SPACE + rb'"(?:[^"\\]++|\\.)*+"' + _SPACE + rb":" + _SPACE)
_EMPTY = re.compile(_SPACE + rb"\{")
_END = re.compile(_SPACE + rb"\}" + _SPACE + rb"\Z")


def _spliced(body: bytes, members: Mapping[str, msgspec.Raw], changes: Mapping[str, bytes]) -> Pieces | None:
    """`body` with the values of `changes` put in place, as pieces; None when it holds other than `members`, each once.

    `body` is known to be a valid object. If it had more members than `members`, as a repeated key makes it, the walk
    would not stand at the closing brace after the last one; so a walk that ends has met them all, in order.
    """
    parts: list[bytes | memoryview] = []
    view = memoryview(body)
    copied = at = 0
    read = body
    for name, raw in members.items():
        key = _KEY.match(body, at)
        value = bytes(raw)
        if key is not None and not read.startswith(value, key.end()):
            read = without_halves(body)
        if key is None or not read.startswith(value, key.end()):
            return None
        at = key.end() + len(value)
        if name in changes:
            parts += view[copied : key.end()], changes[name]
            copied = at
    if not members:
        empty = _EMPTY.match(body)
        at = empty.end() if empty else 0
    if _END.match(body, at) is None:
        return None
    if not changes:
        return (body,)

    added = [_encode(name) + b":" + value for name, value in changes.items() if name not in members]
    if added:
        parts += view[copied:at], b"," if members else b"", b",".join(added)
        copied = at
    return *parts, view[copied:]


# --- words for the client ---

_NO_MODEL = (
    'No model: the request body has no "model" and the gateway sets none. '
    "Send one in the body, or set the model of this route's provider in the gateway's configuration."
)


def _no_model(given: msgspec.Raw | None) -> GatewayError:
    if given is None or given in (_NULL, _EMPTY_TEXT):
        return GatewayError(Reason.MODEL_MISSING, _NO_MODEL, param="model")
    return GatewayError(Reason.MODEL_NO_TEXT, "`model` must be a string, the name of a model.", param="model")


_FIRST_BYTES: Final = (
    (b"\xef\xbb\xbf", "begins with a byte order mark; send JSON as UTF-8 without it (RFC 8259, section 8.1)."),
    (b"\xff\xfe", "is UTF-16 or UTF-32; send JSON as UTF-8 (RFC 8259, section 8.1)."),
    (b"\xfe\xff", "is UTF-16; send JSON as UTF-8 (RFC 8259, section 8.1)."),
    (b"{\0", "is UTF-16 or UTF-32; send JSON as UTF-8 (RFC 8259, section 8.1)."),
    (b"\0", "is UTF-16 or UTF-32; send JSON as UTF-8 (RFC 8259, section 8.1)."),
    (b"\x1f\x8b", "is compressed with gzip; send it as plain JSON."),
)


def bad_json(body: bytes, error: Exception) -> GatewayError:
    return GatewayError(Reason.BAD_JSON, _complaint(body, error))


def _complaint(body: bytes, error: Exception) -> str:
    """What is wrong with a body, in words that hold none of it. Positions are bytes from 0."""
    for first, words in _FIRST_BYTES:
        if body.startswith(first):
            return f"The request body {words}"
    match error:
        case _ if not body.strip():
            words = "is empty; a JSON object is expected."
        case msgspec.ValidationError():
            words = "must be a JSON object."
        case RecursionError():
            words = "is nested too deeply."
        case UnicodeDecodeError():
            words = "is not valid JSON: a member's name is not valid UTF-8."
        case _:
            words = f"is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}."
    return f"The request body {words}"
