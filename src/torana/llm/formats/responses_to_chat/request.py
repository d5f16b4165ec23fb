"""The request: what Responses and chat completions both have is carried, the rest is named in `lost`.

Members that only name things for the client, such as `metadata`, need not be carried: the answer repeats them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.llm.formats.chat_request import CHAT_OPTIONS, limit_name
from torana.llm.formats.members import Members, members_of_request
from torana.llm.formats.responses_to_chat.conversation import Conversation
from torana.llm.formats.responses_to_chat.memo import Memo, encode_memo
from torana.llm.formats.responses_to_chat.refusals import no_memory
from torana.llm.formats.responses_to_chat.response import REPEATED
from torana.llm.formats.responses_to_chat.tools import Toolbox
from torana.llm.formats.translation import TranslatedRequest
from torana.llm.request import prepare

_encode = msgspec.json.Encoder().encode

# `moderation` and those of the cache are OpenAI's alone, and the same in both of its APIs.
_SAME: Final = (
    *CHAT_OPTIONS, "stop", "service_tier", "moderation", "prompt_cache_options", "prompt_cache_retention",
)  # fmt: skip

_WHOLE: Final = "send the whole conversation in `input`"
_STORED: Final = {
    "previous_response_id": _WHOLE,
    "conversation": _WHOLE,
    "prompt": "send the prompt's text in `instructions`",
}


def translate_request(body: bytes, model: str | None) -> TranslatedRequest:
    """See `Translation.request`."""
    prepared = prepare(body, model, add_usage=False)
    lost: list[str] = []
    asked = members_of_request(prepared.body, lost)
    _refuse_state(asked)
    settings = {name: raw for name in REPEATED if (raw := asked.peek(name)) is not None}
    for name in ("model", "stream", "metadata"):
        asked.take(name)

    conversation = Conversation(asked.text("instructions"), asked)
    toolbox = Toolbox(asked, conversation.tools())
    out: dict[str, Any] = {"model": prepared.model, "messages": conversation.messages(toolbox)}
    limit = asked.take("max_output_tokens")
    if limit is not None:
        out[limit_name(prepared.model)] = limit
    for name in _SAME:
        value = asked.take(name)
        if value is not None:
            out[name] = value
    if prepared.stream:
        out["stream"] = True

    toolbox.carry(out)
    _carry_reasoning(asked, out)
    _carry_text(asked, out)
    sealed = _carry_include(asked, out)
    if asked.text("truncation") == "auto":
        lost.append("truncation")
    asked.close()
    memo = encode_memo(Memo(settings, toolbox.told, sealed))
    return TranslatedRequest(
        _encode(out), tuple(lost), prepared.model, prepared.asked_model, prepared.stream, memo=memo
    )


def _refuse_state(asked: Members) -> None:
    """Raises GatewayError UNTRANSLATABLE for what needs a memory. `store` may be absent, though that means true."""
    for name, instead in _STORED.items():
        if asked.peek(name) is not None:
            raise no_memory(name, instead)
    if asked.flag("store"):
        raise no_memory("store", "set it to false and send the whole conversation in `input` each time")
    if asked.flag("background"):
        raise no_memory("background", "set it to false and wait for the answer, or stream it")


def _carry_reasoning(asked: Members, out: dict[str, Any]) -> None:
    reasoning = asked.members("reasoning")
    if reasoning is not None:
        effort = reasoning.text("effort")
        if effort is not None:
            out["reasoning_effort"] = effort
        reasoning.close()


def _carry_text(asked: Members, out: dict[str, Any]) -> None:
    text = asked.members("text")
    if text is None:
        return
    verbosity = text.text("verbosity")
    if verbosity is not None:
        out["verbosity"] = verbosity
    form = text.members("format")
    if form is not None:
        _carry_format(form, out)
    text.close()


def _carry_format(form: Members, out: dict[str, Any]) -> None:
    """The same in both, but for `json_schema`, whose members stand one level deeper in chat."""
    kind = form.needed_text("type")
    match kind:
        case "text":
            pass
        case "json_object":
            out["response_format"] = {"type": kind}
        case "json_schema":
            members = {name: form.take(name) for name in ("name", "description", "schema", "strict")}
            schema = {name: value for name, value in members.items() if value is not None}
            out["response_format"] = {"type": kind, kind: schema}
        case _:
            form.lose()
            return
    form.close()


def _carry_include(asked: Members, out: dict[str, Any]) -> bool:
    """What the answer shall hold besides; returns whether that is sealed thoughts."""
    sealed = False
    for index, name in enumerate(asked.texts("include")):
        match name:
            case "reasoning.encrypted_content":
                sealed = True
            case "message.output_text.logprobs":
                out["logprobs"] = True
            case _:
                asked.lost.append(f"include[{index}]")
    most = asked.number("top_logprobs")
    if most:
        out["logprobs"] = True
        out["top_logprobs"] = int(most)
    return sealed
