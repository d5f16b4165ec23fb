"""Translations between API families: what a client asks, put to an upstream that speaks another. One file a pair."""

from __future__ import annotations

from typing import Final

from torana.llm.formats.chat_to_messages import CHAT_TO_MESSAGES
from torana.llm.formats.messages_to_chat import MESSAGES_TO_CHAT
from torana.llm.formats.responses_to_chat import RESPONSES_TO_CHAT
from torana.llm.formats.translation import Translation
from torana.llm.operation import Operation

TRANSLATIONS: Final[dict[tuple[Operation, Operation], Translation]] = {
    (Operation.CHAT_COMPLETIONS, Operation.MESSAGES): CHAT_TO_MESSAGES,
    (Operation.MESSAGES, Operation.CHAT_COMPLETIONS): MESSAGES_TO_CHAT,
    (Operation.RESPONSES, Operation.CHAT_COMPLETIONS): RESPONSES_TO_CHAT,
}
"""By the client's operation and the upstream's, in the order in which they are preferred."""
