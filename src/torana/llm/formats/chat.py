"""What is read of a chat completion, whole or as a chunk; both name the same things.

https://platform.openai.com/docs/api-reference/chat/object, .../chat-streaming. Types are loose where providers differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from torana.errors import GatewayError, Reason
from torana.llm.stream import kind_of
from torana.llm.usage import UNREADABLE

REASONING: Final = ("reasoning_content", "reasoning")
"""Members that hold the model's thoughts: DeepSeek's and most servers' name, and that of vLLM, OpenRouter and Groq."""


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None

    def arguments(self) -> str:
        """JSON, or a piece of it; some servers of Ollama's kind send an object instead of its text."""
        value = self.function.arguments if self.function is not None else None
        if isinstance(value, dict):
            return msgspec.json.encode(value).decode()
        return value if isinstance(value, str) else ""

    def name(self) -> str:
        return (self.function.name if self.function is not None else None) or ""


class Output(msgspec.Struct, gc=False):
    """A `message`, or the `delta` of one."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[Call] | None = None


class Choice(msgspec.Struct, gc=False):
    """`stop_reason` is vLLM's: the stop sequence that was met, or a token's number. `usage` here is Moonshot's."""

    index: int | None = None
    message: Output | None = None
    delta: Output | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    logprobs: Any = None
    usage: Any = None


class Completion(msgspec.Struct, gc=False):
    """`object` and `message` stand for an error in vLLM's older form."""

    id: Any = None
    created: Any = None
    model: Any = None
    service_tier: Any = None
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    message: Any = None


decode_completion: Final = msgspec.json.Decoder(Completion).decode


class Answer(NamedTuple):
    """A whole completion, its first choice and that one's message."""

    completion: Completion
    choice: Choice
    message: Output


def read_answer(body: bytes) -> Answer:
    """The first choice is the answer: no form that is translated here can ask for more.

    Raises GatewayError BAD_ANSWER when the body is no chat completion with a message.
    """
    try:
        completion = decode_completion(body)
    except UNREADABLE:
        raise GatewayError(Reason.BAD_ANSWER, "The provider's answer is not a chat completion.") from None
    choice = completion.choices[0] if completion.choices else None
    if completion.error is not None:  # with the status of an answer
        raise GatewayError(Reason.BAD_ANSWER, f"The provider's answer is an error ({kind_of(completion.error)}).")
    if choice is None or choice.message is None:
        raise GatewayError(Reason.BAD_ANSWER, "The provider's answer has no message.")
    return Answer(completion, choice, choice.message)


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


class Kind(Enum):
    TEXT = "text"
    THINKING = "thinking"
    REFUSAL = "refusal"


class Piece(NamedTuple):
    """Some text; `source` is the member of REASONING it came from, else empty."""

    kind: Kind
    text: str
    source: str = ""


def pieces(output: Output) -> Iterator[Piece]:
    """What was thought and said, in that order, without empty pieces."""
    for source, thought in zip(REASONING, (output.reasoning_content, output.reasoning), strict=True):
        if thought and isinstance(thought, str):
            yield Piece(Kind.THINKING, thought, source)
            break  # some servers send both, and the same in both
    content = output.content
    if content and isinstance(content, str):
        yield Piece(Kind.TEXT, content)
    elif isinstance(content, list):
        for part in content:
            yield from _piece(part)
    if output.refusal and isinstance(output.refusal, str):
        yield Piece(Kind.REFUSAL, output.refusal)


def _piece(part: Any) -> Iterator[Piece]:
    """A part of a content in parts, as Mistral writes it: https://docs.mistral.ai/capabilities/reasoning."""
    match part:
        case {"type": "text", "text": str(text)} if text:
            yield Piece(Kind.TEXT, text)
        case {"type": "thinking", "thinking": [*thoughts]}:
            for thought in thoughts:
                match thought:
                    case {"type": "text", "text": str(text)} if text:
                        yield Piece(Kind.THINKING, text)
