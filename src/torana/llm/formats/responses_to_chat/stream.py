"""A streamed answer: chunks of a chat completion as the events of a response.

Items of the output are told apart by `output_index`, parts of a message by `content_index`; every event has its number.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import Any, Final

from torana.errors import GatewayError
from torana.llm.errors import Error, error_of
from torana.llm.formats.chat import Choice, Completion, Kind, Piece
from torana.llm.formats.chat_stream import ChatStream, ToolCall
from torana.llm.formats.responses_to_chat.errors import streamed_error
from torana.llm.formats.responses_to_chat.memo import read_memo
from torana.llm.formats.responses_to_chat.response import (
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    INCOMPLETE,
    Head,
    Item,
    Part,
    encode,
    given,
    logprobs_of,
    part,
    reason_of,
)

_EVENTS: Final = {
    Kind.TEXT: "response.output_text",
    Kind.REFUSAL: "response.refusal",
    Kind.THINKING: "response.reasoning_text",
}


class ResponsesStream(ChatStream):
    """See `StreamTranslation`."""

    __slots__ = (
        "_asked_model", "_fresh", "_head", "_logprobs", "_memo", "_now", "_number", "_output", "_parts", "_place",
        "_texts",
    )  # fmt: skip

    def __init__(self, asked_model: str | None, memo: bytes, now: int) -> None:
        super().__init__()
        self._asked_model = asked_model
        self._memo = read_memo(memo)
        self._now = now
        self._head = Head(Completion(), asked_model, self._memo, now)
        self._number = 0
        self._output: list[Item] = []

        self._parts: list[Part] = []  # of the open item of prose: those that are complete
        self._texts: list[str] = []  # and the pieces of the open one
        self._logprobs: list[Any] = []
        self._place: dict[str, Any] = {}  # and where it is, as its events say it
        self._fresh: list[Any] = []  # logprobs of the chunk, until a text has taken them

    def _begin(self, chunk: Completion) -> None:
        self._head = Head(chunk, self._asked_model, self._memo, self._now)
        response = self._head.response(IN_PROGRESS, [])
        self._tell("response.created", response=response)
        self._tell("response.in_progress", response=response)

    def _call_id(self, number: int) -> str:
        return self._head.call_id(number)

    # --- prose ---

    def _read_choice(self, choice: Choice) -> None:
        self._fresh = logprobs_of(choice)
        super()._read_choice(choice)

    def _add_prose(self, piece: Piece) -> None:
        open_piece = self._prose
        if open_piece is None or _item_of(open_piece) != _item_of(piece):
            self._close_complete()
            self._start_prose(piece)
            self._start_part(piece)
        elif open_piece.kind is not piece.kind:
            self._end_part(open_piece)
            self._start_part(piece)
        self._prose = piece
        self._texts.append(piece.text)
        event = f"{_EVENTS[piece.kind]}.delta"
        if piece.kind is Kind.TEXT:
            logprobs, self._fresh = self._fresh, []
            self._logprobs += logprobs
            self._tell(event, **self._place, delta=piece.text, logprobs=logprobs)
        else:
            self._tell(event, **self._place, delta=piece.text)

    def _start_prose(self, piece: Piece) -> None:
        self._add_item(self._prose_item(self._next_block(), piece, IN_PROGRESS))

    def _prose_item(self, block: int, piece: Piece, status: str) -> Item:
        if piece.kind is Kind.THINKING:
            return self._head.reasoning(block, self._parts, piece.source, status)
        return self._head.message(block, self._parts, status)

    def _start_part(self, piece: Piece) -> None:
        item = self._output[-1]
        self._place = {"item_id": item["id"], "output_index": self._blocks - 1, "content_index": len(self._parts)}
        self._tell("response.content_part.added", **self._place, part=part(piece.kind, ""))

    def _end_part(self, piece: Piece) -> None:
        """Its text is told once more, and once more as a part."""
        whole = part(piece.kind, "".join(self._texts), self._logprobs)
        said = {name: value for name, value in whole.items() if name in {"text", "refusal", "logprobs"}}
        self._parts.append(whole)
        self._texts, self._logprobs = [], []
        self._tell(f"{_EVENTS[piece.kind]}.done", **self._place, **said)
        self._tell("response.content_part.done", **self._place, part=whole)

    def _end_prose(self, block: int, piece: Piece) -> None:
        self._end_part(piece)
        self._end_item(block, self._prose_item(block, piece, self._status()))
        self._parts = []

    # --- calls ---

    def _start_call(self, call: ToolCall, block: int) -> None:
        self._add_item(self._head.call(block, call.id, self._memo.tool(call.name), "", IN_PROGRESS))

    def _add_arguments(self, call: ToolCall, block: int, arguments: str) -> None:
        """The input of a custom tool can be told when all of the arguments that hold it have come."""
        if not self._memo.tool(call.name).custom:
            self._tell_arguments(block, arguments)

    def _end_call(self, call: ToolCall, block: int) -> None:
        tool = self._memo.tool(call.name)
        came = "".join(call.arguments)
        arguments = given(tool, came)
        place = {"item_id": self._output[block]["id"], "output_index": block}
        if tool.custom:
            self._tell("response.custom_tool_call_input.delta", **place, delta=arguments)
            self._tell("response.custom_tool_call_input.done", **place, input=arguments)
        else:
            if not came.strip():
                self._tell_arguments(block, arguments)
            self._tell("response.function_call_arguments.done", **place, arguments=arguments)
        self._end_item(block, self._head.call(block, call.id, tool, arguments, self._status()))

    def _tell_arguments(self, block: int, arguments: str) -> None:
        item_id = self._output[block]["id"]
        self._tell("response.function_call_arguments.delta", item_id=item_id, output_index=block, delta=arguments)

    # --- items ---

    def _add_item(self, item: Item) -> None:
        self._output.append(item)
        self._tell("response.output_item.added", output_index=len(self._output) - 1, item=item)

    def _end_item(self, block: int, item: Item) -> None:
        self._output[block] = item
        self._tell("response.output_item.done", output_index=block, item=item)

    def _status(self) -> str:
        """Of an item that ends: those that are open when the model is cut off are incomplete."""
        return INCOMPLETE if self._last is not None and reason_of(self._last) else COMPLETED

    # --- the end ---

    def _tell_end(self, last: Choice) -> None:
        reason = reason_of(last)
        status = INCOMPLETE if reason else COMPLETED
        self._tell(f"response.{status}", response=self._head.response(status, self._output, self.usage, reason))

    def _tell_failure(self, failure: Any) -> None:
        self._tell_failed(streamed_error(failure))

    def _tell_error(self, error: GatewayError) -> None:
        self._tell_failed(error_of(error))

    def _tell_failed(self, error: Error) -> None:
        """As OpenAI does: `error`, which its SDKs raise for the sake of a member of that name, then the response's end.

        Other clients, Codex among them, read only `response.failed`.
        """
        self._tell("error", code=error.code, message=error.message, param=error.param, error=error)
        response = self._head.response(FAILED, self._output_so_far(), self.usage)
        response["error"] = {"code": error.code or "server_error", "message": error.message}
        self._tell("response.failed", response=response)

    def _output_so_far(self) -> list[Item]:
        """Prose as far as it came; calls only when they are complete, lest somebody makes half of one."""
        if self._prose is not None:
            parts = [*self._parts, part(self._prose.kind, "".join(self._texts), self._logprobs)]
            self._output[-1] |= {"content": parts, "status": INCOMPLETE}
        half = {call.block for call in self._calls if call.open}
        return [item for block, item in enumerate(self._output) if block not in half]

    def _tell(self, kind: str, **members: Any) -> None:
        """One server-sent event; its name is the type once more."""
        data = encode({"type": kind, "sequence_number": self._number, **members})
        self._number += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))


def _item_of(piece: Piece) -> str | None:
    """Pieces that belong to one item: thoughts of one source, or what was said."""
    return piece.source if piece.kind is Kind.THINKING else None
