"""`system` and `messages` of a request, as chat messages.

Texts are joined to one string wherever there is nothing else, because many servers take only that; with line feeds
between blocks, as vLLM joins parts, but with nothing between the blocks of an answer, which are one text cut up by
citations. Tool results must follow their calls at once in chat, so they come before the rest of their message.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat import REASONING
from torana.llm.formats.chat_request import ChatMessage, Part, plain, text_part
from torana.llm.formats.members import Members


def chat_messages(asked: Members) -> list[ChatMessage]:
    """The whole conversation. Raises GatewayError BAD_JSON, and UNTRANSLATABLE for what a user sent in no chat form."""
    messages: list[ChatMessage] = _system(asked, "system")
    said = asked.items("messages")
    if not said:
        raise GatewayError(Reason.BAD_JSON, "`messages` must hold at least one message.", param="messages")
    for message in said:
        role = message.needed_text("role")
        match role:
            case "user":
                messages += _user(message)
            case "assistant":
                messages.append(_assistant(message))
            case "system":
                messages += _system(message, "content")
            case _:
                path = message.at("role")
                raise GatewayError(Reason.BAD_JSON, f"`{path}` must be `user`, `assistant` or `system`.", param=path)
        message.close()
    return messages


def _system(owner: Members, name: str) -> list[ChatMessage]:
    content = owner.content(name)
    if isinstance(content, list):
        content = "\n".join(part["text"] for block in owner.blocks(name, content) for part in _only(block, "text"))
    return [{"role": "system", "content": content}] if content else []


# --- what the user said ---


def _user(message: Members) -> list[ChatMessage]:
    content = message.content()
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    results: list[ChatMessage] = []
    shown: list[Part] = []
    said: list[Part] = []
    for block in message.blocks("content", content):
        kind = block.needed_text("type")
        if kind == "tool_result":
            result, rest = _tool_result(block)
            results.append(result)
            shown += rest
        else:
            said += _parts(block, kind)
    parts = shown + said
    if parts or not results:
        results.append({"role": "user", "content": plain(parts)})
    return results


def _tool_result(block: Members) -> tuple[ChatMessage, list[Part]]:
    """A tool message, which has text alone, and what else the tool returned, which the user must show."""
    call = block.needed_text("tool_use_id")
    failed = block.flag("is_error")
    content = block.content()
    texts: list[str] = []
    others: list[Part] = []
    if isinstance(content, str):
        texts.append(content)
    else:
        for inner in block.blocks("content", content):
            for part in _parts(inner, inner.needed_text("type")):
                if part["type"] == "text":
                    texts.append(part["text"])
                else:
                    others.append(part)
    text = "\n".join(texts)
    # Chat has no mark for a failed call; models are used to reading it.
    if failed and not text.lower().startswith("error"):
        text = f"Error: {text}"
    if others:
        others.insert(0, text_part(f"Returned by tool call {call}:"))
    block.close()
    return {"role": "tool", "tool_call_id": call, "content": text}, others


def _parts(block: Members, kind: str) -> list[Part]:
    """The parts that say what a block of the user's says; the block is closed."""
    match kind:
        case "text":
            parts = [text_part(block.needed_text("text"))]
        case "image":
            parts = [{"type": "image_url", "image_url": {"url": _image(block)}}]
        case "document":
            parts = _document(block)
        case "search_result":
            parts = [text_part(f"{block.needed_text('title')}\n{block.needed_text('source')}")]
            parts += [part for inner in block.items("content") for part in _only(inner, "text")]
        case "tool_reference":
            parts = [text_part(block.needed_text("tool_name"))]
        case _:
            raise _untranslatable(block.path, f"is a block of type `{kind}`")
    block.close()
    return parts


def _only(block: Members, *kinds: str) -> list[Part]:
    """As `_parts`, where not every kind of block may stand."""
    kind = block.needed_text("type")
    if kind not in kinds:
        raise _untranslatable(block.path, f"is a block of type `{kind}` in a place for {' or '.join(kinds)}")
    return _parts(block, kind)


def _image(block: Members) -> str:
    source = _source(block)
    match source.needed_text("type"):
        case "base64":
            url = _data_url(source)
        case "url":
            url = source.needed_text("url")
        case other:
            raise _untranslatable(source.path, f"is a source of type `{other}`")
    source.close()
    return url


def _document(block: Members) -> list[Part]:
    source = _source(block)
    match source.needed_text("type"):
        case "base64":
            # OpenAI: `filename` must be there with `file_data`.
            name = block.text("title") or "document.pdf"
            parts = [{"type": "file", "file": {"filename": name, "file_data": _data_url(source)}}]
        case "text":
            source.take("media_type")  # text/plain; there is no other
            parts = [text_part(source.needed_text("data"))]
        case "content":
            content = source.content()
            if isinstance(content, str):
                parts = [text_part(content)]
            else:
                parts = [part for inner in source.blocks("content", content) for part in _only(inner, "text", "image")]
        case other:
            raise _untranslatable(source.path, f"is a source of type `{other}`")
    source.close()
    return parts


def _source(block: Members) -> Members:
    source = block.members("source")
    if source is None:
        raise GatewayError(Reason.BAD_JSON, f"`{block.at('source')}` is missing.", param=block.at("source"))
    return source


def _data_url(source: Members) -> str:
    """RFC 2397."""
    return f"data:{source.needed_text('media_type')};base64,{source.needed_text('data')}"


# --- what the model said ---

_NO_ARGUMENTS: Final = msgspec.Raw(b"{}")


def _assistant(message: Members) -> ChatMessage:
    """One answer of the model. Blocks that only Claude understands, as of tools that ran at Anthropic, are lost."""
    content = message.content()
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    thoughts: dict[str, str] = {}
    for block in message.blocks("content", content):
        match block.needed_text("type"):
            case "text":
                texts.append(block.needed_text("text"))
                block.close()
            case "tool_use":
                calls.append(_call(block))
                block.close()
            case "thinking":
                _carry_thought(block, thoughts)
            case _:
                block.lose()
    # OpenAI: content is required, unless there are tool calls.
    out: ChatMessage = {"role": "assistant", "content": "".join(texts) if texts or not calls else None, **thoughts}
    if calls:
        out["tool_calls"] = calls
    return out


def _call(block: Members) -> dict[str, Any]:
    arguments = bytes(block.take("input") or _NO_ARGUMENTS).decode()
    function = {"name": block.needed_text("name"), "arguments": arguments}
    return {"id": block.needed_text("id"), "type": "function", "function": function}


def _carry_thought(block: Members, thoughts: dict[str, str]) -> None:
    """Reasoning goes back under the name it came by, which the answer's translation wrote as the block's signature.

    So only a provider that has that member gets it: others refuse unknown ones, and DeepSeek refuses a history without
    (https://api-docs.deepseek.com/guides/thinking_mode). What Claude itself thought is lost.
    """
    signature = block.text("signature")
    if signature in REASONING:
        thoughts[signature] = thoughts.get(signature, "") + block.needed_text("thinking")
        block.close()
    else:
        block.lose()


def _untranslatable(path: str, what: str) -> GatewayError:
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` {what}, which chat completions has no form for; send it as text or base64, "
        "or route the request to Anthropic.",
        param=path,
    )
