"""A streamed answer: chunks of a chat completion as the events of a message.

Blocks follow each other, as Anthropic sends them: the next one begins when the last is complete. Only the pieces of two
tool calls that really come mixed have their blocks open together, told apart by `index`, for a block that has been
closed cannot go on. The counts of the input come with the end, in `message_delta`, because providers tell them there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.events import EventSplitter
from torana.llm.formats.messages_to_chat.answer import NO_INPUT, call_id, id_of, text_of
from torana.llm.formats.messages_to_chat.chat import Call, Choice, Completion, Kind, Piece, decode_completion, pieces
from torana.llm.formats.messages_to_chat.errors import own_error, streamed_error
from torana.llm.formats.messages_to_chat.messages import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Delta,
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
from torana.llm.stream import kind_of
from torana.llm.usage import UNREADABLE, Usage, usage_of

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _ToolCall:
    """One call; `block` is None until its name is known, and arguments wait that long."""

    __slots__ = ("arguments", "block", "id", "index", "name", "open")

    def __init__(self, index: int | None, call_id: str) -> None:
        self.index = index
        self.id = call_id
        self.name = ""
        self.arguments: list[str] = []
        self.block: int | None = None
        self.open = True

    def complete(self) -> bool:
        try:
            _object("".join(self.arguments))
        except UNREADABLE:
            return False
        return True


class MessagesStream:
    """See `StreamTranslation`."""

    __slots__ = (
        "_asked_model", "_blocks", "_calls", "_events", "_id", "_last", "_out", "_over", "_prose", "_refused",
        "deltas", "done", "error", "model", "usage",
    )  # fmt: skip

    def __init__(self, asked_model: str | None) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.deltas = 0
        self.done = False
        self.error: str | None = None

        self._asked_model = asked_model
        self._events = EventSplitter()
        self._out: list[bytes] = []
        self._over = False  # the client has its last event

        self._id = ""  # set by the first chunk, with which the message starts
        self._blocks = 0
        self._prose: Piece | None = None  # what the open block of text or thinking began with; it is the last block
        self._calls: list[_ToolCall] = []
        self._refused = False
        self._last: Choice | None = None  # the choice that told the finish_reason

    def feed(self, data: bytes) -> bytes:
        if self._over:
            return b""
        try:
            for event in self._events.feed(data):
                self._read(event)
        except GatewayError as error:
            self._fail(error)
        return self._drained()

    def finish(self) -> bytes:
        try:
            for event in self._events.finish():
                self._read(event)
            if not self._over:
                self._end()
        except GatewayError as error:
            self._fail(error)
        return self._drained()

    def broken(self, error: GatewayError) -> bytes:
        self._fail(error)
        return self._drained()

    # --- one chunk ---

    def _read(self, event: bytes) -> None:
        data = event.strip()
        if self._over or not data:
            return
        if data == b"[DONE]":
            self.done = True
            self._end()
            return
        try:
            chunk = decode_completion(data)
        except UNREADABLE:
            message = "The provider's stream holds an event that is not a chunk of a chat completion."
            raise GatewayError(Reason.BAD_ANSWER, message) from None
        failure = chunk.message if chunk.object == "error" and chunk.error is None else chunk.error
        if failure is not None:
            self.error = kind_of(failure)
            self._tell(streamed_error(failure))
            self._over = True
            return
        if self.model is None:
            self.model = text_of(chunk.model) or None
        self._count(chunk.usage)
        for choice in chunk.choices or ():
            if not choice.index:
                self._begin(chunk)
                self._read_choice(choice)

    def _count(self, value: Any) -> None:
        usage = usage_of(value)
        if usage is not None:
            self.usage = usage if self.usage is None else usage.joined(self.usage)

    def _begin(self, chunk: Completion) -> None:
        if self._id:
            return
        self._id = id_of(chunk)
        model = self._asked_model or self.model or ""
        self._tell(MessageStart(Message(self._id, "assistant", model, [], None, None, tokens_of(self.usage))))

    def _read_choice(self, choice: Choice) -> None:
        self._count(choice.usage)
        output = choice.delta or choice.message
        if output is not None:
            before = len(self._out)
            for piece in pieces(output):
                self._add_prose(piece)
            for call in output.tool_calls or ():
                self._add_call(call)
            self.deltas += len(self._out) > before
        if choice.finish_reason:
            self._last = choice
            self._close()

    # --- blocks ---

    def _add_prose(self, piece: Piece) -> None:
        open_piece = self._prose
        thinking = piece.kind is Kind.THINKING
        self._refused |= piece.kind is Kind.REFUSAL
        if open_piece is None or (open_piece.kind, open_piece.source) != (piece.kind, piece.source):
            self._close_complete()
            self._start(Thinking("", "") if thinking else Text(""))
            self._prose = piece
        self._add(self._blocks - 1, ThinkingDelta(piece.text) if thinking else TextDelta(piece.text))

    def _add_call(self, delta: Call) -> None:
        call = self._call_of(delta)
        if not call.open:
            return  # it was complete; no more can belong to it
        arguments = delta.arguments()
        call.arguments.append(arguments)
        call.name = call.name or delta.name()
        if call.block is None:
            if not call.name:
                return
            call.block = self._start(ToolUse(call.id, call.name, NO_INPUT))
            arguments = "".join(call.arguments)
        if arguments:
            self._add(call.block, InputDelta(arguments))

    def _call_of(self, delta: Call) -> _ToolCall:
        """The call a delta belongs to.

        Its `index` tells; but some servers number no calls, or all of them 0, and others give every delta an id of its
        own: another id begins another call only together with a name, and without index and id a name alone does.
        """
        for call in reversed(self._calls):
            same = delta.index in {None, call.index}
            if same and delta.name():
                same = delta.id == call.id if delta.id else delta.index is not None
            if same:
                return call
        self._close_complete()
        call = _ToolCall(delta.index, delta.id or call_id(self._id, len(self._calls)))
        self._calls.append(call)
        return call

    def _start(self, block: Text | Thinking | ToolUse) -> int:
        index = self._blocks
        self._blocks += 1
        self._tell(BlockStart(index, block))
        return index

    def _add(self, block: int, delta: Delta) -> None:
        self._tell(BlockDelta(block, delta))

    def _close_complete(self) -> None:
        """Another block is about to begin: end those that have all they can get."""
        self._close_prose()
        for call in self._calls:
            if call.open and call.complete():
                self._close_call(call)

    def _close(self) -> None:
        """The model has finished: end all blocks."""
        self._close_prose()
        for call in self._calls:
            if call.open:
                self._close_call(call)

    def _close_prose(self) -> None:
        piece = self._prose
        if piece is None:
            return
        block = self._blocks - 1
        if piece.source:
            self._add(block, SignatureDelta(piece.source))
        self._tell(BlockStop(block))
        self._prose = None

    def _close_call(self, call: _ToolCall) -> None:
        if call.block is None:
            raise GatewayError(Reason.BAD_ANSWER, "The provider's model called a tool without naming it.")
        self._tell(BlockStop(call.block))
        call.open = False

    # --- the end ---

    def _end(self) -> None:
        """Close the message. Raises GatewayError when there is none, or it was cut off."""
        if self._last is None and not (self._id and self.done):
            raise GatewayError(Reason.UPSTREAM_CLOSED, "The provider's stream ended before its answer was complete.")
        self._close()
        stop = stop_of(self._last or Choice(), called=bool(self._calls), refused=self._refused)
        self._tell(MessageDelta(stop, tokens_of(self.usage)))
        self._tell(MessageStop())
        self._over = True

    def _fail(self, error: GatewayError) -> None:
        if self._over:
            return
        self.error = error.reason.fault.code
        self._tell(own_error(error))
        self._over = True

    def _tell(self, event: Event) -> None:
        self._out.append(render(event))

    def _drained(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out
