"""The content of one item, as parts of a chat message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torana.llm.formats.chat_request import Part, text_part
from torana.llm.formats.members import Members
from torana.llm.formats.responses_to_chat.refusals import no_form

_TEXTS = frozenset({"input_text", "output_text", "text", "reasoning_text", "summary_text"})
_AS_TEXT = "send it as text or base64"


def parts_of(part: Members) -> Iterator[Part]:
    """What a part of a user's message, or of a tool's result, says; the part is closed."""
    kind = part.needed_text("type")
    match kind:
        case "input_image":
            yield _image(part)
        case "input_file":
            yield {"type": "file", "file": _file(part)}
        case "input_audio":
            yield {"type": kind, kind: part.take(kind)}
        case _ if kind in _TEXTS:
            yield text_part(_text(part))
        case _:
            raise no_form(part.path, f"is content of type `{kind}`", _AS_TEXT)
    part.close()


def texts_of(parts: Iterable[Members]) -> Iterator[str]:
    """The same where only text may stand: what the model said, or was told by the system. A refusal is a text too."""
    for part in parts:
        kind = part.needed_text("type")
        if kind == "refusal":
            yield part.needed_text("refusal")
        elif kind in _TEXTS:
            yield _text(part)
        else:
            raise no_form(part.path, f"is content of type `{kind}` in a place for text", "send it as a user's message")
        part.close()


def _text(part: Members) -> str:
    part.take("logprobs")
    if part.items("annotations"):
        part.lost.append(part.at("annotations"))
    return part.needed_text("text")


def _image(part: Members) -> Part:
    if part.peek("image_url") is None:
        raise no_form(part.path, "is an image by its `file_id`", "send it by URL or as base64 in `image_url`")
    image: dict[str, Any] = {"url": part.needed_text("image_url")}
    detail = part.text("detail")
    if detail not in {None, "auto"}:
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _file(part: Members) -> dict[str, str]:
    if part.peek("file_url") is not None:
        raise no_form(part.path, "is a file by its URL", _AS_TEXT)
    members = {name: part.text(name) for name in ("filename", "file_data", "file_id")}
    file = {name: value for name, value in members.items() if value is not None}
    if "file_data" in file:
        file.setdefault("filename", "document.pdf")  # OpenAI: it must be there with `file_data`
    return file
