"""A streamed answer: the events of a message as chunks of a chat completion.

Text, thoughts and arguments go out as they come. What can only be told at the end of a block follows then: a signed
thought, whole, and the arguments of a call that had none. Citations and what tools did at Anthropic stay untold.
"""

from __future__ import annotations

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.errors import error_event, event_of
from torana.llm.formats.chat_to_messages.chat import (
    Call,
    Choice,
    Completion,
    Function,
    Output,
    Thought,
    encode,
    finish_of,
    id_of,
    refusal_of,
    tier_of,
    tokens_of,
)
from torana.llm.formats.chat_to_messages.errors import streamed_error
from torana.llm.formats.chat_to_messages.messages import Block, Delta, Event, Message, decode_event
from torana.llm.formats.translated_stream import ALIVE, TranslatedStream
from torana.llm.stream import kind_of
from torana.llm.usage import UNREADABLE, Usage, usage_of

_DONE = b"data: [DONE]\n\n"
_CHUNK = "chat.completion.chunk"
_NOTHING = Output()


class _Open:
    """A block that has begun; `call` is its number among the calls, `told` whether any arguments went out."""

    __slots__ = ("block", "call", "signature", "thought", "told")

    def __init__(self, block: Block, call: int) -> None:
        self.block = block
        self.call = call
        self.told = False
        self.thought = [block.thinking or ""]
        self.signature = block.signature or ""


class ChatStream(TranslatedStream):
    """See `StreamTranslation`."""

    __slots__ = (
        "_asked_model", "_calls", "_finished", "_id", "_now", "_open", "_tells_usage", "_thoughts", "_tier",
    )  # fmt: skip

    def __init__(self, asked_model: str | None, now: int, *, tells_usage: bool) -> None:
        super().__init__()
        self._asked_model = asked_model
        self._now = now
        self._tells_usage = tells_usage
        self._id = ""  # set by the first event, with which the completion starts
        self._tier: str | msgspec.UnsetType = msgspec.UNSET
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._thoughts = 0
        self._finished = False  # the client has its finish_reason

    # --- one event ---

    def _read(self, data: bytes) -> None:
        if self._over or not data.strip():
            return
        try:
            event = decode_event(data)
        except UNREADABLE:
            message = "The provider's stream holds an event that is not one of a message."
            raise GatewayError(Reason.BAD_ANSWER, message) from None
        match event.type:
            case "message_start":
                self._begin(event.message or Message())
            case "message_delta":
                self._count(usage_of(event.usage))
                if event.delta is not None and event.delta.stop_reason:
                    self._tell_finish(event.delta)
            case "message_stop":
                self.done = True
                self._end()
            case "ping":
                self._out.append(ALIVE)
            case "error":
                self.error = kind_of(event.error)
                self._out.append(event_of(streamed_error({"error": event.error})))
                self._over = True
            case _:
                self._read_block(event)

    def _begin(self, message: Message) -> None:
        if self._id:
            return
        self._id = id_of(message.id)
        self.model = message.model or None
        self._tier = tier_of(message.usage)
        self._count(usage_of(message.usage))
        self._tell(Output(role="assistant", content=""))

    # --- blocks ---

    def _read_block(self, event: Event) -> None:
        match event.type:
            case "content_block_start" if event.content_block is not None:
                self._open_block(event.index, event.content_block)
            case "content_block_delta" if event.delta is not None:
                self._add(event.index, event.delta)
            case "content_block_stop":
                self._close_block(event.index)

    def _open_block(self, index: int, block: Block) -> None:
        """Some servers begin a block with what Anthropic sends in its first delta."""
        opened = self._open[index] = _Open(block, self._calls)
        match block.type:
            case "tool_use":
                self._calls += 1
                function = Function(block.name or "")
                self._tell_output(Output(tool_calls=[Call(opened.call, block.id or "", "function", function)]))
            case "text" if block.text:
                self._tell_output(Output(content=block.text))
            case "thinking" if block.thinking:
                self._tell_output(Output(reasoning_content=block.thinking))

    def _add(self, index: int, delta: Delta) -> None:
        opened = self._open.get(index)
        if delta.text and delta.type == "text_delta":
            self._tell_output(Output(content=delta.text))
        elif opened is None:
            return
        elif delta.type == "thinking_delta" and delta.thinking:
            opened.thought.append(delta.thinking)
            self._tell_output(Output(reasoning_content=delta.thinking))
        elif delta.type == "signature_delta":
            opened.signature += delta.signature or ""
        elif delta.type == "input_json_delta" and delta.partial_json and opened.block.type == "tool_use":
            self._tell_arguments(opened, delta.partial_json)

    def _close_block(self, index: int) -> None:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        match opened.block.type:
            case "tool_use" if not opened.told:
                self._tell_arguments(opened, opened.block.arguments())
            case "thinking" if opened.signature:
                self._tell_thought("thinking", thinking="".join(opened.thought), signature=opened.signature)
            case "redacted_thinking" if opened.block.data:
                self._tell_thought("redacted_thinking", data=opened.block.data)

    def _tell_arguments(self, opened: _Open, arguments: str) -> None:
        opened.told = True
        self._tell_output(Output(tool_calls=[Call(opened.call, function=Function(arguments=arguments))]))

    def _tell_thought(self, kind: str, **members: str) -> None:
        self._tell(Output(thinking_blocks=[Thought(self._thoughts, kind, **members)]))
        self._thoughts += 1

    # --- the end ---

    def _tell_finish(self, delta: Delta) -> None:
        if self._finished:
            return
        for index in list(self._open):
            self._close_block(index)
        refusal = refusal_of(delta.stop_reason, delta.stop_details)
        if refusal is not None:
            self._tell(Output(refusal=refusal))
        self._tell(_NOTHING, finish_of(delta.stop_reason, called=self._calls > 0))
        self.finish_reason = delta.stop_reason
        self._finished = True

    def _end(self) -> None:
        if not self._finished:
            if not (self._id and self.done):
                message = "The provider's stream ended before its answer was complete."
                raise GatewayError(Reason.UPSTREAM_CLOSED, message)
            self._tell_finish(Delta())
        if self._tells_usage:
            chunk = self._chunk([])
            chunk.usage = tokens_of(self.usage or Usage())
            self._out.append(event_of(encode(chunk)))
        self._out.append(_DONE)
        self._over = True

    def _tell_error(self, error: GatewayError) -> None:
        self._out.append(error_event(error))

    # --- chunks ---

    def _tell_output(self, output: Output) -> None:
        self.deltas += 1
        self._tell(output)

    def _tell(self, output: Output, finish: str | None = None) -> None:
        self._begin(Message())
        self._out.append(event_of(encode(self._chunk([Choice(delta=output, finish_reason=finish)]))))

    def _chunk(self, choices: list[Choice]) -> Completion:
        usage = None if self._tells_usage else msgspec.UNSET
        model = self._asked_model or self.model or ""
        return Completion(self._id, _CHUNK, self._now, model, choices, usage, self._tier)
