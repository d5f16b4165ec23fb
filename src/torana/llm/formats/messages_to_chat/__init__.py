"""Anthropic Messages client -> OpenAI chat-completions provider: Claude Code and its kin before any other model.

Sources: https://docs.claude.com/en/api/messages, https://docs.claude.com/en/docs/build-with-claude/streaming,
https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

from typing import Final

from torana.llm.formats.messages_to_chat.answer import translate_answer
from torana.llm.formats.messages_to_chat.errors import translate_error
from torana.llm.formats.messages_to_chat.request import translate_request
from torana.llm.formats.messages_to_chat.stream import MessagesStream
from torana.llm.formats.translation import StreamTranslation, TranslatedRequest, Translation
from torana.llm.operation import Operation


class _MessagesToChat:
    operation = Operation.CHAT_COMPLETIONS

    def request(self, body: bytes, model: str | None) -> TranslatedRequest:
        return translate_request(body, model)

    def answer(self, body: bytes, asked_model: str | None, **_: object) -> bytes:
        return translate_answer(body, asked_model)

    def error(self, status: int, body: bytes) -> bytes:
        return translate_error(status, body)

    def stream(self, asked_model: str | None, **_: object) -> StreamTranslation:
        return MessagesStream(asked_model)


MESSAGES_TO_CHAT: Final[Translation] = _MessagesToChat()
