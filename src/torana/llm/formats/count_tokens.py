"""Counting tokens for a client of Messages whose provider cannot: an estimate, for no tokenizer fits every model.

https://docs.claude.com/en/api/messages-count-tokens
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.request import prepare, without_halves
from torana.llm.usage import UNREADABLE

# English and code have three to four bytes of UTF-8 a token in the tokenizers of today. Bytes and not characters: what
# is not Latin has more tokens a character, and more bytes too.
_BYTES_A_TOKEN: Final = 4

# Role and separators of one message, as chat templates write them.
_TOKENS_A_MESSAGE: Final = 4

# https://docs.claude.com/en/docs/build-with-claude/vision: about 1,600 tokens for an image of full size.
_TOKENS_AN_IMAGE: Final = 1_600

# https://docs.claude.com/en/docs/build-with-claude/pdf-support: 1,500 to 3,000 tokens a page. How many pages there are
# is guessed from the length: some 100 KB of base64 a page.
_BASE64_BYTES_A_PDF_TOKEN: Final = 40

# Members of blocks that are no text for the model.
_UNSPOKEN: Final = frozenset({"type", "role", "id", "tool_use_id", "signature", "cache_control", "media_type"})

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def count_tokens(body: bytes, model: str | None) -> bytes:
    """The answer to `/v1/messages/count_tokens`: `{"input_tokens": N}`, N an estimate.

    A quarter of all bytes of text in UTF-8, where text is: the system prompt, every text, thought and tool result of
    the messages, tool calls and tools as JSON. A message adds 4 tokens, an image 1,600, a PDF a fortieth of its base64.

    Raises GatewayError as `prepare` does: BAD_JSON, and MODEL_MISSING when neither `model` nor the body names one.
    """
    prepare(body, model, add_usage=False)
    try:
        asked = _decode(without_halves(body))
        messages, tools = asked.get("messages"), asked.get("tools")
        size = _size(asked.get("system")) + _size(messages) + (len(_encode(tools)) if tools else 0)
    except UNREADABLE:
        message = "The request body is not valid JSON inside, or nested too deeply."
        raise GatewayError(Reason.BAD_JSON, message) from None
    # Rounded up: no text is no tokens, any text is one.
    tokens = -(-size // _BYTES_A_TOKEN) + (_TOKENS_A_MESSAGE * len(messages) if isinstance(messages, list) else 0)
    return _encode({"input_tokens": tokens})


def _size(value: Any) -> int:
    """Bytes of text in a value of the conversation, or what weighs as much."""
    match value:
        case str():
            return len(value.encode())
        case list():
            return sum(map(_size, value))
        case {"type": "image"}:
            return _TOKENS_AN_IMAGE * _BYTES_A_TOKEN
        case {"type": "base64", "data": str(data)}:
            return len(data) * _BYTES_A_TOKEN // _BASE64_BYTES_A_PDF_TOKEN
        case dict():
            return sum([_member_size(name, member) for name, member in value.items()])
        case _:
            return 0


def _member_size(name: str, value: Any) -> int:
    if name in _UNSPOKEN:
        return 0
    return len(_encode(value)) if name == "input" else _size(value)
