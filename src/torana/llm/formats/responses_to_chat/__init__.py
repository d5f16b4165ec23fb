"""OpenAI Responses client -> chat-completions provider: Codex, the Agents SDK and their kin before any other model.

A chat provider remembers nothing, so the client has to: whatever needs a stored response is refused with words that say
so. Sources: https://platform.openai.com/docs/api-reference/responses, .../responses-streaming and .../chat.
"""

from __future__ import annotations

from typing import Final

from torana.llm.formats.responses_to_chat.answer import translate_answer
from torana.llm.formats.responses_to_chat.errors import translate_error
from torana.llm.formats.responses_to_chat.request import translate_request
from torana.llm.formats.responses_to_chat.stream import ResponsesStream
from torana.llm.formats.translation import StreamTranslation, TranslatedRequest, Translation
from torana.llm.operation import Operation


class _ResponsesToChat:
    operation = Operation.CHAT_COMPLETIONS

    def request(self, body: bytes, model: str | None) -> TranslatedRequest:
        return translate_request(body, model)

    def answer(self, body: bytes, asked_model: str | None, *, memo: bytes = b"", now: int = 0) -> bytes:
        return translate_answer(body, asked_model, memo, now)

    def error(self, status: int, body: bytes) -> bytes:
        return translate_error(status, body)

    def stream(self, asked_model: str | None, *, memo: bytes = b"", now: int = 0) -> StreamTranslation:
        return ResponsesStream(asked_model, memo, now)


RESPONSES_TO_CHAT: Final[Translation] = _ResponsesToChat()
