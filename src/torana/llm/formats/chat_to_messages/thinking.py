"""`reasoning_effort` of a request, as Claude is asked to think.

https://docs.claude.com/en/docs/build-with-claude/adaptive-thinking, .../build-with-claude/effort,
.../build-with-claude/extended-thinking
"""

from __future__ import annotations

from typing import Any, Final

from torana.llm.formats.chat_to_messages.conversation import ends_without_thoughts
from torana.llm.formats.chat_to_messages.models import Thinking, Version, thinking_of, thinks_unasked
from torana.llm.formats.members import Members

# Anthropic's names where OpenAI's are others.
_EFFORTS: Final = {"minimal": "low"}

# Tokens to think with, where a model wants a budget. From `low` on they are read back as the same effort by the
# translation of Messages into chat; the largest is Claude Code's.
_BUDGETS: Final = {"minimal": 1_024, "low": 4_096, "medium": 16_384}
_LARGEST_BUDGET: Final = 31_999
_SMALLEST_BUDGET: Final = 1_024  # Anthropic refuses less


def carry_thinking(
    asked: Members, out: dict[str, Any], config: dict[str, Any], version: Version | None, *, forced: bool
) -> bool:
    """Set `thinking` in `out` and `effort` in `config`; whether the model is asked to think.

    `forced`: the model must call a tool, which Anthropic refuses together with thinking. The client's own `thinking`,
    in Anthropic's form, goes before `reasoning_effort`.
    """
    effort = asked.text("reasoning_effort")
    own = asked.members("thinking")
    if own is not None:
        kind = own.needed_text("type")
        out["thinking"] = {"type": kind, **own.rest()}
        if effort is not None and not _carry_effort(effort, config, version):
            asked.lost.append("reasoning_effort")
        return kind != "disabled"
    if effort is None:
        return False
    if effort == "none":
        if version is None:
            out["thinking"] = {"type": "disabled"}
        elif thinks_unasked(version):
            asked.lost.append("reasoning_effort")
        return False
    thinking = None if forced else _thinking(effort, out, version)
    carried = _carry_effort(effort, config, version)
    if thinking is not None:
        out["thinking"] = thinking
    elif not carried:
        asked.lost.append("reasoning_effort")
    return thinking is not None


def _carry_effort(effort: str, config: dict[str, Any], version: Version | None) -> bool:
    if thinking_of(version) is not Thinking.ADAPTIVE or "effort" in config or effort == "none":
        return False
    config["effort"] = _EFFORTS.get(effort, effort)
    return True


def _thinking(effort: str, out: dict[str, Any], version: Version | None) -> dict[str, Any] | None:
    """A budget must leave some of `max_tokens` for the answer: a quarter."""
    kind = thinking_of(version)
    if kind is Thinking.NEVER:
        return None
    if kind is Thinking.ADAPTIVE:
        return {"type": "adaptive"}
    if ends_without_thoughts(out["messages"]):
        return None
    budget = min(_BUDGETS.get(effort, _LARGEST_BUDGET), out["max_tokens"] * 3 // 4)
    return {"type": "enabled", "budget_tokens": budget} if budget >= _SMALLEST_BUDGET else None
