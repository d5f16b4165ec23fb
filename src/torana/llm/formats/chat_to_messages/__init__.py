"""Chat-completions client -> Anthropic Messages provider: applications written for OpenAI's API before Claude.

Sources: https://platform.openai.com/docs/api-reference/chat, https://docs.claude.com/en/api/messages,
https://docs.claude.com/en/docs/build-with-claude/streaming, and what Anthropic's own layer for OpenAI's SDKs does,
https://docs.claude.com/en/api/openai-sdk. Thoughts have no place in OpenAI's API; they travel as `reasoning_content`
and `thinking_blocks`, as https://docs.litellm.ai/docs/reasoning_content has them.
"""

from __future__ import annotations

from typing import Final

from torana.llm.formats.chat_to_messages.answer import translate_answer
from torana.llm.formats.chat_to_messages.errors import translate_error
from torana.llm.formats.chat_to_messages.request import TELL_USAGE, translate_request
from torana.llm.formats.chat_to_messages.stream import ChatStream
from torana.llm.formats.translation import StreamTranslation, TranslatedRequest, Translation
from torana.llm.operation import Operation


class _ChatToMessages:
    operation = Operation.MESSAGES

    def request(self, body: bytes, model: str | None) -> TranslatedRequest:
        return translate_request(body, model)

    def answer(self, body: bytes, asked_model: str | None, *, now: int = 0, **_: object) -> bytes:
        return translate_answer(body, asked_model, now)

    def error(self, status: int, body: bytes) -> bytes:
        return translate_error(status, body)

    def stream(self, asked_model: str | None, *, memo: bytes = b"", now: int = 0) -> StreamTranslation:
        return ChatStream(asked_model, now, tells_usage=memo == TELL_USAGE)


CHAT_TO_MESSAGES: Final[Translation] = _ChatToMessages()
