"""The request: what Messages and chat completions both have is carried, the rest is named in `lost`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.llm.formats.chat_request import CHAT_OPTIONS, limit_name
from torana.llm.formats.members import Members, members_of_request
from torana.llm.formats.messages_to_chat.conversation import chat_messages
from torana.llm.formats.messages_to_chat.schemas import may_be_strict
from torana.llm.formats.messages_to_chat.tools import carry_tools
from torana.llm.formats.translation import TranslatedRequest
from torana.llm.request import prepare

_encode = msgspec.json.Encoder().encode

# OpenAI refuses a longer `user`; Claude Code's `user_id` is longer.
_LONGEST_USER: Final = 64

# `service_tier`: Anthropic's names, and OpenAI's for the same.
_TIERS: Final = {"auto": "auto", "standard_only": "default"}

# The largest thinking budgets, in tokens, that stand for an effort. Precedent: Claude Code thinks with 4,000, 10,000 or
# 31,999 tokens.
_BUDGETS: Final = ((4_096, "low"), (16_384, "medium"))


def translate_request(body: bytes, model: str | None) -> TranslatedRequest:
    """See `Translation.request`."""
    prepared = prepare(body, model, add_usage=False)
    lost: list[str] = []
    asked = members_of_request(prepared.body, lost)
    asked.take("model")
    asked.take("stream")
    out: dict[str, Any] = {"model": prepared.model, "messages": chat_messages(asked)}

    limit = asked.take("max_tokens")
    if limit is not None:
        out[limit_name(prepared.model)] = limit
    stops = asked.texts("stop_sequences")
    if stops:  # OpenAI refuses a list of none
        out["stop"] = stops
    for name in CHAT_OPTIONS:
        value = asked.take(name)
        if value is not None:
            out[name] = value
    if prepared.stream:
        out["stream"] = True

    carry_tools(asked, out)
    _carry_thinking(asked, out)
    _carry_output_form(asked, out)
    _carry_names(asked, out)
    asked.close()
    return TranslatedRequest(_encode(out), tuple(lost), prepared.model, prepared.asked_model, prepared.stream)


def _carry_thinking(asked: Members, out: dict[str, Any]) -> None:
    """`thinking`: a budget becomes an effort; `adaptive` is what a chat model does unasked; the rest is lost.

    Chat completions has no word that every provider takes for "do not think", so `disabled` is lost.
    """
    thinking = asked.members("thinking")
    if thinking is None:
        return
    kind = thinking.needed_text("type")
    budget = thinking.number("budget_tokens")
    if kind == "enabled":
        if budget is not None:
            out["reasoning_effort"] = next((effort for most, effort in _BUDGETS if budget <= most), "high")
    elif kind != "adaptive":
        thinking.lose()
        return
    thinking.close()


def _carry_output_form(asked: Members, out: dict[str, Any]) -> None:
    """`output_config`: its effort has the same names as OpenAI's; its format becomes `response_format`."""
    config = asked.members("output_config")
    if config is not None:
        effort = config.text("effort")
        if effort is not None:
            out["reasoning_effort"] = effort
        _carry_schema(config.members("format"), out)
        config.close()
    # Where the format was before it came under `output_config`.
    _carry_schema(asked.members("output_format"), out)


def _carry_schema(form: Members | None, out: dict[str, Any]) -> None:
    if form is None:
        return
    kind, schema = form.text("type"), form.take("schema")
    if kind != "json_schema" or schema is None:
        form.lose()
        return
    # Chat completions wants a name; Messages has none.
    json_schema: dict[str, Any] = {"name": "output", "schema": schema}
    if may_be_strict(schema):
        json_schema["strict"] = True
    out["response_format"] = {"type": "json_schema", "json_schema": json_schema}
    form.close()


def _carry_names(asked: Members, out: dict[str, Any]) -> None:
    """Who asks, and at what service tier."""
    metadata = asked.members("metadata")
    if metadata is not None:
        user = metadata.text("user_id")
        if user is not None and len(user) <= _LONGEST_USER:
            out["user"] = user
        elif user is not None:
            asked.lost.append(metadata.at("user_id"))
        metadata.close()
    tier = asked.text("service_tier")
    if tier in _TIERS:
        out["service_tier"] = _TIERS[tier]
    elif tier is not None:
        asked.lost.append("service_tier")
