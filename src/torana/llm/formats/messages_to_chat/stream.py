"""A streamed answer: chunks of a chat completion as the events of a message.

Blocks of content are told apart by `index`. The counts of the input come with the end, in `message_delta`, because
providers tell them there.
"""

from __future__ import annotations

from typing import Any

from torana.errors import GatewayError
from torana.llm.formats.chat import Choice, Completion, Kind, Piece
from torana.llm.formats.chat_stream import ChatStream, ToolCall
from torana.llm.formats.messages_to_chat.answer import NO_INPUT, call_id, id_of
from torana.llm.formats.messages_to_chat.errors import own_error, streamed_error
from torana.llm.formats.messages_to_chat.messages import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    InputDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    render,
    stop_of,
    tokens_of,
)


class MessagesStream(ChatStream):
    """See `StreamTranslation`."""

    __slots__ = ("_asked_model", "_id", "_refused")

    def __init__(self, asked_model: str | None) -> None:
        super().__init__()
        self._asked_model = asked_model
        self._id = ""
        self._refused = False

    def _begin(self, chunk: Completion) -> None:
        self._id = id_of(chunk)
        model = self._asked_model or self.model or ""
        self._tell(MessageStart(Message(self._id, "assistant", model, [], None, None, tokens_of(self.usage))))

    def _call_id(self, number: int) -> str:
        return call_id(self._id, number)

    # --- blocks ---

    def _add_prose(self, piece: Piece) -> None:
        open_piece = self._prose
        thinking = piece.kind is Kind.THINKING
        self._refused |= piece.kind is Kind.REFUSAL
        if open_piece is None or (open_piece.kind, open_piece.source) != (piece.kind, piece.source):
            self._close_complete()
            self._tell(BlockStart(self._next_block(), Thinking("", "") if thinking else Text("")))
            self._prose = piece
        self._tell(BlockDelta(self._blocks - 1, ThinkingDelta(piece.text) if thinking else TextDelta(piece.text)))

    def _end_prose(self, block: int, piece: Piece) -> None:
        if piece.source:
            self._tell(BlockDelta(block, SignatureDelta(piece.source)))
        self._tell(BlockStop(block))

    def _start_call(self, call: ToolCall, block: int) -> None:
        self._tell(BlockStart(block, ToolUse(call.id, call.name, NO_INPUT)))

    def _add_arguments(self, _call: ToolCall, block: int, arguments: str) -> None:
        self._tell(BlockDelta(block, InputDelta(arguments)))

    def _end_call(self, _call: ToolCall, block: int) -> None:
        self._tell(BlockStop(block))

    # --- the end ---

    def _tell_end(self, last: Choice) -> None:
        stop = stop_of(last, called=bool(self._calls), refused=self._refused)
        self._tell(MessageDelta(stop, tokens_of(self.usage)))
        self._tell(MessageStop())

    def _tell_failure(self, failure: Any) -> None:
        self._tell(streamed_error(failure))

    def _tell_error(self, error: GatewayError) -> None:
        self._tell(own_error(error))

    def _tell(self, event: Event) -> None:
        self._out.append(render(event))
