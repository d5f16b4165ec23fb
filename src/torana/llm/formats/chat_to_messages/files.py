"""Images and files in what a user says or a tool returns.

https://docs.claude.com/en/docs/build-with-claude/vision, .../build-with-claude/pdf-support
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from torana.errors import GatewayError, Reason
from torana.llm.formats.members import Members

_Block = dict[str, Any]

# RFC 2397, without the form that is not base64; other parameters than that say nothing of an image.
_DATA_URL: Final = re.compile(r"data:([^;,]+)(?:;[^;,]+)*;base64,", re.IGNORECASE).match

# What Anthropic calls by its registered name alone (RFC 2046).
_MEDIA_TYPES: Final = {"image/jpg": "image/jpeg"}


def image_of(part: Members) -> _Block:
    """An `image_url`: a data URL or an address. `detail` is lost. Some clients send PDFs this way, too."""
    image = _inner(part, "image_url")
    url = image.needed_text("url")
    path = image.at("url")
    if image.text("detail") not in {None, "auto"}:
        image.lost.append(image.at("detail"))
    image.close()
    if url[:5].lower() != "data:":
        return {"type": "image", "source": {"type": "url", "url": url}}
    return _block_of(url, path)


def document_of(part: Members) -> _Block:
    """A `file`: its content, or the id under which Anthropic knows it."""
    file = _inner(part, "file")
    name, file_id, data = file.text("filename"), file.text("file_id"), file.text("file_data")
    if data is not None:
        block = _block_of(data, file.at("file_data"))
    elif file_id is not None:
        block = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    else:
        raise GatewayError(Reason.BAD_JSON, f"`{file.path}` must hold `file_data` or `file_id`.", param=file.path)
    if name is not None and block["type"] == "document":
        block["title"] = name
    file.close()
    return block


def untranslatable(path: str, what: str) -> GatewayError:
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` {what}, which Anthropic has no form for here; send it as text, or as an image or a PDF in base64.",
        param=path,
    )


def _block_of(url: str, path: str) -> _Block:
    found = _DATA_URL(url)
    if found is None:
        raise untranslatable(path, "is not a data URL in base64 (`data:image/png;base64,...`)")
    media_type = found[1].lower()
    media_type = _MEDIA_TYPES.get(media_type, media_type)
    data = url[found.end() :]
    if media_type.startswith("image/"):
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type == "application/pdf":
        return {"type": "document", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data, path)}
        return {"type": "document", "source": source}
    raise untranslatable(path, f"is of type `{media_type}`")


def _decoded(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise GatewayError(Reason.BAD_JSON, f"`{path}` must be text in UTF-8, in base64.", param=path) from None


def _inner(part: Members, name: str) -> Members:
    inner = part.members(name)
    if inner is None:
        raise GatewayError(Reason.BAD_JSON, f"`{part.at(name)}` is missing.", param=part.at(name))
    return inner
