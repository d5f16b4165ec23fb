"""`messages` of a request, as Anthropic's `system` and `messages`.

Instructions (`system`, `developer`) come first wherever they stood, as in Anthropic's own layer for OpenAI's SDKs, for
only some models take them in between. What follows in one role becomes one message, which is how Anthropic reads it; so
the results of parallel calls stand together, before what the user says next, as they must. Texts of white space alone
are refused by Anthropic and left out.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages.files import document_of, image_of, untranslatable
from torana.llm.formats.members import Members
from torana.llm.usage import UNREADABLE

_Block = dict[str, Any]

_EMPTY: Final = msgspec.Raw(b"[]")
_NO_INPUT: Final = msgspec.Raw(b"{}")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# Anthropic: `^[a-zA-Z0-9_-]+$`; other providers' ids, in histories that began with them, hold dots and colons.
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")


def carry_conversation(asked: Members, out: dict[str, Any]) -> None:
    """Set `system` and `messages`.

    Raises GatewayError BAD_JSON, and UNTRANSLATABLE for what has no form in Messages.
    """
    system: list[_Block] = []
    turns: list[tuple[str, list[_Block]]] = []
    for message in asked.items("messages"):
        role, blocks = _turn(message)
        if role == "system":
            system += blocks
        elif blocks and turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    if not turns:
        # Instructions alone are enough in chat; in Messages somebody must have asked.
        turns, system = [("user", system)], []
    if not turns[0][1]:
        raise GatewayError(Reason.BAD_JSON, "`messages` must hold a message that says something.", param="messages")
    if system:
        out["system"] = _plain(system)
    out["messages"] = [{"role": role, "content": _plain(blocks)} for role, blocks in turns]


def ends_without_thoughts(messages: list[dict[str, Any]]) -> bool:
    """Whether the last `messages` are the model's, or results of its calls, and do not begin with its thoughts.

    Clients of chat seldom give thoughts back, and a model that thinks with a budget refuses to be asked to think there:
    https://docs.claude.com/en/docs/build-with-claude/extended-thinking
    """
    first = None
    for message in reversed(messages):
        content = message["content"]
        kind = "text" if isinstance(content, str) else content[0]["type"]
        if message["role"] == "assistant":
            first = kind
        elif kind != "tool_result":
            break
    return first not in {None, "thinking", "redacted_thinking"}


def _turn(message: Members) -> tuple[str, list[_Block]]:
    """What one message says, and as whom: `system`, `user` or `assistant`."""
    match message.needed_text("role"):
        case "system" | "developer":
            return "system", _marked(message, _said(message, "text"))
        case "user":
            return "user", _marked(message, _said(message, "text", "image_url", "file"))
        case "assistant":
            return "assistant", _marked(message, _assistant(message))
        case "tool":
            return "user", _marked(message, [_tool_result(message)])
        case "function":
            raise _old_form(message.at("role"))
        case _:
            path = message.at("role")
            words = "`system`, `developer`, `user`, `assistant` or `tool`"
            raise GatewayError(Reason.BAD_JSON, f"`{path}` must be {words}.", param=path)


def _marked(message: Members, blocks: list[_Block]) -> list[_Block]:
    """The end of a message: a cache mark on the whole of it goes to the last block; what nobody took is lost."""
    cache = message.take("cache_control")
    if cache is not None and blocks:
        blocks[-1]["cache_control"] = cache
    message.close()
    return blocks


def _said(message: Members, *kinds: str) -> list[_Block]:
    """The blocks of a message's content, whose parts must be of `kinds`."""
    content = message.content()
    if isinstance(content, str):
        return [_text(content)] if content.strip() else []
    blocks: list[_Block] = []
    for part in message.blocks("content", content):
        kind = part.needed_text("type")
        if kind not in kinds:
            raise untranslatable(part.path, f"is a part of type `{kind}`")
        block = _part(part, kind)
        if block is None:
            part.take("cache_control")
        else:
            blocks += _marked(part, [block])
    return blocks


def _part(part: Members, kind: str) -> _Block | None:
    match kind:
        case "image_url":
            return image_of(part)
        case "file":
            return document_of(part)
        case _:
            text = part.needed_text("refusal" if kind == "refusal" else "text")
            return _text(text) if text.strip() else None


def _tool_result(message: Members) -> _Block:
    result: _Block = {"type": "tool_result", "tool_use_id": _id(message, "tool_call_id")}
    blocks = _said(message, "text", "image_url", "file")
    if blocks:
        result["content"] = _plain(blocks)
    return result


# --- what the model said ---


def _assistant(message: Members) -> list[_Block]:
    if message.take("function_call") is not None:
        raise _old_form(message.at("function_call"))
    blocks = _thoughts(message)
    said = _said(message, "text", "refusal")
    refusal = message.text("refusal")
    if refusal and not said:
        said = [_text(refusal)]
    blocks += said
    for call in message.items("tool_calls"):
        blocks.append(_call(call))
        call.close()
    annotations = message.take("annotations")  # an empty list in what OpenAI's SDK gives back
    if annotations is not None and annotations != _EMPTY:
        message.lost.append(message.at("annotations"))
    return blocks


def _thoughts(message: Members) -> list[_Block]:
    """Claude's thoughts, which it wants back unchanged and signed; of others' it can make no use.

    `reasoning_content` says once more what `thinking_blocks` says, and has no signature.
    """
    blocks: list[_Block] = []
    for thought in message.items("thinking_blocks"):
        thought.take("index")  # a stream's, which clients keep
        kind = thought.text("type")
        signed = ("thinking", "signature") if kind == "thinking" else ("data",)
        values = {name: thought.text(name) for name in signed}
        if kind in {"thinking", "redacted_thinking"} and values[signed[-1]] and None not in values.values():
            blocks.append({"type": kind, **values})
            thought.close()
        else:
            thought.lose()
    for name in ("reasoning_content", "reasoning"):
        if message.take(name) is not None and not blocks:
            message.lost.append(message.at(name))
    return blocks


def _call(call: Members) -> _Block:
    call.take("index")
    kind = call.text("type")
    function = call.members("function")
    if kind not in {None, "function"} or function is None:
        raise untranslatable(call.path, "is not a call of a function")
    name, arguments = function.needed_text("name"), function.text("arguments") or ""
    path = function.at("arguments")
    function.close()
    return {"type": "tool_use", "id": _id(call, "id"), "name": name, "input": _input(arguments, path)}


def _input(arguments: str, path: str) -> msgspec.Raw:
    if not arguments.strip():
        return _NO_INPUT
    try:
        _object(arguments)
    except UNREADABLE:
        message = f"`{path}` must be a JSON object: Anthropic takes the arguments of a call as one, not as a text."
        raise GatewayError(Reason.UNTRANSLATABLE, message, param=path) from None
    return msgspec.Raw(arguments.strip().encode())


def _id(owner: Members, name: str) -> str:
    return _NOT_IN_IDS.sub("_", owner.needed_text(name))


def _text(text: str) -> _Block:
    return {"type": "text", "text": text}


def _plain(blocks: list[_Block]) -> str | list[_Block]:
    """One text alone is written as such."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _old_form(path: str) -> GatewayError:
    message = f"`{path}` is of the time before `tools`, and not translated for Anthropic; send tool calls."
    return GatewayError(Reason.UNTRANSLATABLE, message, param=path)
