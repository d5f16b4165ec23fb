"""The request: what chat completions and Messages both have is carried, the rest is named in `lost`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat_to_messages.conversation import carry_conversation
from torana.llm.formats.chat_to_messages.models import Version, samples, version_of
from torana.llm.formats.chat_to_messages.thinking import carry_thinking
from torana.llm.formats.chat_to_messages.tools import carry_tools
from torana.llm.formats.members import Members, members_of_request
from torana.llm.formats.translation import TranslatedRequest
from torana.llm.request import prepare

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

DEFAULT_MAX_TOKENS: Final = 32_000
"""Messages requires a limit, chat has none unasked. The most that every model of Claude 4 and later writes; Claude
Code's default too. Limits on the rate of output count what was written, not this."""

TELL_USAGE: Final = b"usage"
"""The memo of a request that wants its stream's usage told, which in chat must be asked for."""

# Messages' own, which a client of chat can only mean for this upstream (OpenAI's SDKs: `extra_body`).
_OWN: Final = (
    "cache_control", "container", "context_management", "diagnostics", "inference_geo", "mcp_servers", "speed",
    "user_profile_id",
)  # fmt: skip

# Members that say nothing with these values, and that clients send all the same.
_SAYING_NOTHING: Final[dict[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "store": (False,),
}

# `service_tier`: OpenAI's names, and Anthropic's for the same.
_TIERS: Final = {"auto": "auto", "default": "standard_only"}


def translate_request(body: bytes, model: str | None) -> TranslatedRequest:
    """See `Translation.request`."""
    prepared = prepare(body, model, add_usage=False)
    lost: list[str] = []
    asked = members_of_request(prepared.body, lost)
    asked.take("model")
    asked.take("stream")
    _refuse_choices(asked)
    version = version_of(prepared.model)

    out: dict[str, Any] = {"model": prepared.model, "max_tokens": _limit(asked)}
    carry_conversation(asked, out)
    _carry_stops(asked, out)
    if prepared.stream:
        out["stream"] = True
    forced = carry_tools(asked, out)
    config = _own_config(asked)
    thinks = carry_thinking(asked, out, config, version, forced=forced)
    _carry_sampling(asked, out, version, thinks=thinks)
    _carry_format(asked, config)
    if config:
        out["output_config"] = config
    _carry_names(asked, out)
    for name in _OWN:
        value = asked.take(name)
        if value is not None:
            out[name] = value
    memo = TELL_USAGE if _tells_usage(asked) else b""
    for name, values in _SAYING_NOTHING.items():
        value = asked.take(name)
        if value is not None and _decode(value) not in values:
            lost.append(name)
    asked.close()
    return TranslatedRequest(_encode(out), tuple(lost), prepared.model, prepared.asked_model, prepared.stream, memo)


def _refuse_choices(asked: Members) -> None:
    """A program that asks for two answers reads two: one alone would break it where nobody looks."""
    number = asked.number("n")
    if number is not None and number != 1:
        message = "`n` must be 1: Anthropic gives one answer to a request. Send the request as often as needed instead."
        raise GatewayError(Reason.UNTRANSLATABLE, message, param="n")


def _limit(asked: Members) -> int:
    limit = asked.number("max_completion_tokens")
    if limit is None:
        limit = asked.number("max_tokens")
    return DEFAULT_MAX_TOKENS if limit is None else int(limit)


def _carry_stops(asked: Members, out: dict[str, Any]) -> None:
    """`stop`: one or several. Anthropic refuses those of white space alone, such as a line feed."""
    stops = asked.texts("stop")
    for index, stop in enumerate(stops):
        if not stop.strip():
            asked.lost.append(f"stop[{index}]")
    kept = [stop for stop in stops if stop.strip()]
    if kept:
        out["stop_sequences"] = kept


def _carry_sampling(asked: Members, out: dict[str, Any], version: Version | None, *, thinks: bool) -> None:
    """`temperature`, `top_p`, `top_k`: newer models take none, none can be set with thinking, and Claude takes one.

    A temperature above 1, which is where Anthropic's end, becomes 1; OpenAI's end at 2.
    """
    for name in ("temperature", "top_p", "top_k"):
        value = asked.number(name)
        if value is None:
            continue
        if thinks or not samples(version):
            carried = value == 1 and name != "top_k"  # the default
        elif name == "top_p" and version is not None and "temperature" in out:
            carried = value == 1
        else:
            carried = value <= 1 or name == "top_k"
            out[name] = int(value) if name == "top_k" else min(value, 1.0)
        if not carried:
            asked.lost.append(name)


def _own_config(asked: Members) -> dict[str, Any]:
    """Messages' own `output_config`, where the client sent it; what it says goes before what chat's members say."""
    own = asked.members("output_config")
    return {} if own is None else {**own.rest()}


def _carry_format(asked: Members, config: dict[str, Any]) -> None:
    """`response_format`: a schema is carried; Messages has no word for "any JSON object".

    https://docs.claude.com/en/docs/build-with-claude/structured-outputs: schemas are always enforced there.
    """
    form = asked.members("response_format")
    if form is None:
        return
    kind, inner = form.text("type"), form.members("json_schema")
    schema = inner.take("schema") if inner is not None else None
    if kind == "text":
        form.close()
    elif kind != "json_schema" or inner is None or schema is None or "format" in config:
        form.lose()
    else:
        inner.take("name")
        inner.take("strict")
        config["format"] = {"type": "json_schema", "schema": schema}
        inner.close()
        form.close()


def _carry_names(asked: Members, out: dict[str, Any]) -> None:
    """Who asks, and at what service tier. Anthropic keeps one name: its own member's, else OpenAI's newer one."""
    metadata = asked.members("metadata")
    users = {"metadata.user_id": metadata.text("user_id") if metadata is not None else None}
    users |= {name: asked.text(name) for name in ("safety_identifier", "user")}
    named = {name: user for name, user in users.items() if user}
    if named:
        kept = next(iter(named.values()))
        out["metadata"] = {"user_id": kept}
        asked.lost += [name for name, user in named.items() if user != kept]
    if metadata is not None:
        metadata.close()
    tier = asked.text("service_tier")
    if tier in _TIERS:
        out["service_tier"] = _TIERS[tier]
    elif tier is not None:
        asked.lost.append("service_tier")


def _tells_usage(asked: Members) -> bool:
    options = asked.members("stream_options")
    if options is None:
        return False
    options.take("include_obfuscation")  # pads the events against eavesdroppers who count bytes; of no use without
    usage = options.flag("include_usage")
    options.close()
    return bool(usage)
