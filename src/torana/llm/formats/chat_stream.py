"""ChatStream: what reading a streamed chat completion is, whatever the client's form.

Parts of the answer, here blocks, follow each other: the next one begins when the last is complete. Only the pieces of
two tool calls that really come mixed have their blocks open together, for a block that has been closed cannot go on.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.formats.chat import Call, Choice, Completion, Piece, decode_completion, pieces, text_of
from torana.llm.formats.translated_stream import TranslatedStream
from torana.llm.stream import kind_of
from torana.llm.usage import UNREADABLE, usage_of

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ToolCall:
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


class ChatStream(TranslatedStream):
    """A `StreamTranslation` without the words of the client's form, which the methods at the end add to `_out`."""

    __slots__ = ("_begun", "_blocks", "_calls", "_last", "_prose")

    def __init__(self) -> None:
        super().__init__()
        self._begun = False  # a chunk of the answer has come
        self._blocks = 0
        self._prose: Piece | None = None  # the piece that the open block of prose goes on with; it is the last block
        self._calls: list[ToolCall] = []
        self._last: Choice | None = None  # the choice that told the finish_reason

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
            self._tell_failure(failure)
            self._over = True
            return
        if self.model is None:
            self.model = text_of(chunk.model) or None
        self._count(usage_of(chunk.usage))
        for choice in chunk.choices or ():
            if not choice.index:
                if not self._begun:
                    self._begun = True
                    self._begin(chunk)
                self._read_choice(choice)

    def _read_choice(self, choice: Choice) -> None:
        self._count(usage_of(choice.usage))
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
            self.finish_reason = choice.finish_reason
            self._close()

    # --- blocks ---

    def _next_block(self) -> int:
        self._blocks += 1
        return self._blocks - 1

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
            call.block = self._next_block()
            self._start_call(call, call.block)
            arguments = "".join(call.arguments)
        if arguments:
            self._add_arguments(call, call.block, arguments)

    def _call_of(self, delta: Call) -> ToolCall:
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
        call = ToolCall(delta.index, delta.id or self._call_id(len(self._calls)))
        self._calls.append(call)
        return call

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
        if self._prose is not None:
            self._end_prose(self._blocks - 1, self._prose)
            self._prose = None

    def _close_call(self, call: ToolCall) -> None:
        if call.block is None:
            raise GatewayError(Reason.BAD_ANSWER, "The provider's model called a tool without naming it.")
        self._end_call(call, call.block)
        call.open = False

    # --- the end ---

    def _end(self) -> None:
        if self._last is None and not (self._begun and self.done):
            raise GatewayError(Reason.UPSTREAM_CLOSED, "The provider's stream ended before its answer was complete.")
        self._close()
        self._tell_end(self._last or Choice())
        self._over = True

    # --- the client's form ---

    @abstractmethod
    def _begin(self, chunk: Completion) -> None:
        """The first chunk of the answer: whatever the client's form begins with."""

    @abstractmethod
    def _call_id(self, number: int) -> str:
        """For a call whose provider gave it no id."""

    @abstractmethod
    def _add_prose(self, piece: Piece) -> None:
        """Begin a block with it, or go on with the open one (`_prose`)."""

    @abstractmethod
    def _end_prose(self, block: int, piece: Piece) -> None: ...

    @abstractmethod
    def _start_call(self, call: ToolCall, block: int) -> None: ...

    @abstractmethod
    def _add_arguments(self, call: ToolCall, block: int, arguments: str) -> None: ...

    @abstractmethod
    def _end_call(self, call: ToolCall, block: int) -> None: ...

    @abstractmethod
    def _tell_end(self, last: Choice) -> None:
        """All blocks are closed; `last` told why the model stopped."""

    @abstractmethod
    def _tell_failure(self, failure: Any) -> None:
        """The provider told an error in its stream: the value of its `error`."""
