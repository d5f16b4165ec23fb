"""Answer: what is said to an Ask, before it is known how it will be delivered. Streamed or whole, it is the same."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from torana.simulate import words
from torana.simulate.asks import ChatAsk, CompletionAsk, Function, ToolChoice, inputs_of
from torana.simulate.dials import MAX_TOKENS, Dials
from torana.simulate.failure import ApiError
from torana.simulate.sample import Sampler

_MOST_CHARACTERS = 4_000_000
"""The longest answer, all choices together, beside MAX_TOKENS: an echo's words and a schema's constants may be long."""
_CALL = "call "  # a user's message that begins so asks for a tool call: `call NAME {"arguments": ...}`


class Call(NamedTuple):
    """A tool call; its arguments are the pieces of its choice."""

    id: str
    name: str


class Choice(NamedTuple):
    """`pieces` are the tokens of its text or of its call's arguments; joined they are the whole."""

    pieces: list[str]
    finish_reason: str
    call: Call | None = None


class Answer(NamedTuple):
    """`digest` is 24 hexadecimal digits, for ids."""

    digest: str
    model: str
    created: int
    choices: list[Choice]
    prompt_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """In OpenAI's form; a token is a word, or a few characters of a tool call."""
        said = sum(len(choice.pieces) for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
        }


def answer_chat(ask: ChatAsk, seed: bytes, dials: Dials) -> Answer:
    texts = [message.text for message in ask.messages]
    function = _called(ask)
    choices = _Choices()
    for index in range(ask.n or 1):
        own = seed + index.to_bytes(2, "big")
        most = ask.max_completion_tokens or ask.max_tokens
        if function is not None:
            call = Call(f"call_{hashlib.sha256(own).hexdigest()[:24]}", function.name)
            pieces = words.fragments_of(_arguments(function, ask.last_user_text, own))
            choice = _choice(pieces, most, "tool_calls", call)
        else:
            choice = _choice(_said(ask, own, dials), most, "stop")
        choices.add(choice)
    return Answer(_digest(seed), dials.model or ask.model, dials.created, choices.made, _count(texts))


def answer_completion(ask: CompletionAsk, seed: bytes, dials: Dials) -> Answer:
    """As many choices for each prompt as `n` says, in the prompts' order."""
    prompts = inputs_of(ask.prompt)
    choices = _Choices()
    for prompt in prompts:
        for _ in range(ask.n or 1):
            own = seed + len(choices.made).to_bytes(4, "big")
            pieces = words.tokens_of(prompt, MAX_TOKENS) if dials.echo else words.sentences(own, dials.tokens)
            choices.add(_choice(pieces, ask.max_tokens, "stop"))
    return Answer(_digest(seed), dials.model or ask.model, dials.created, choices.made, _count(prompts))


def seconds_of(answer: Answer, dials: Dials) -> float:
    """How long the answer takes to say: the longest of its choices, all of them being said at once."""
    longest = max(len(choice.pieces) for choice in answer.choices)
    pace = dials.tokens_per_second
    return dials.first_token + (max(longest - 1, 0) / pace if pace else 0.0)


class _Choices:
    """The choices made so far, and what they weigh: an answer is held in memory as a whole."""

    def __init__(self) -> None:
        self.made: list[Choice] = []
        self._tokens = 0
        self._characters = 0

    def add(self, choice: Choice) -> None:
        """Raises ApiError 400 when the answer gets too long; an empty choice weighs a token too."""
        self.made.append(choice)
        self._tokens += max(1, len(choice.pieces))
        self._characters += sum(map(len, choice.pieces))
        if self._tokens > MAX_TOKENS or self._characters > _MOST_CHARACTERS:
            most = f"{MAX_TOKENS:,} tokens and {_MOST_CHARACTERS:,} characters"
            raise ApiError(400, f"The answer would be too long: all its choices together may have {most}.")


def _choice(pieces: list[str], most: int | None, finish_reason: str, call: Call | None = None) -> Choice:
    if most is not None and len(pieces) > most:
        return Choice(pieces[:most], "length", call)
    return Choice(pieces, finish_reason, call)


def _said(ask: ChatAsk, seed: bytes, dials: Dials) -> list[str]:
    if dials.echo:
        return words.tokens_of(ask.last_user_text, MAX_TOKENS)
    prose = words.sentences(seed, dials.tokens)
    wanted = ask.response_format
    if wanted is None or wanted.type == "text":
        return prose
    schema = wanted.json_schema.schema if wanted.json_schema is not None else None
    value = {"answer": "".join(prose)} if schema is None else Sampler(schema, seed).draw()
    return words.tokens_of(msgspec.json.encode(value).decode(), MAX_TOKENS)


def _called(ask: ChatAsk) -> Function | None:
    """The function to call: the one that is named, or the first when one is required or the user says `call`.

    Raises ApiError 400 for a choice that is not among the tools.
    """
    functions = ask.functions
    choice = ask.tool_choice
    by_name = {function.name: function for function in functions}
    if isinstance(choice, ToolChoice) and choice.function is not None:
        if choice.function.name not in by_name:
            message = f"The tools have no function `{choice.function.name}`, which tool_choice names."
            raise ApiError(400, message, param="tool_choice")
        return by_name[choice.function.name]
    if not functions or choice == "none":
        return None
    asked = ask.messages[-1].role == "user" and ask.last_user_text.startswith(_CALL)
    if not asked:
        return functions[0] if choice == "required" else None
    name = ask.last_user_text.removeprefix(_CALL).partition(" ")[0].strip()
    return by_name.get(name, functions[0])


def _arguments(function: Function, said: str, seed: bytes) -> str:
    """JSON: what the user wrote behind `call NAME` when it is an object, else a sample of the function's schema."""
    written = said.removeprefix(_CALL).partition(" ")[2] if said.startswith(_CALL) else ""
    try:
        msgspec.json.decode(written.encode(), type=dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        sample = Sampler(function.parameters, seed).draw()
        return msgspec.json.encode(sample if isinstance(sample, dict) else {}).decode()
    return written


def _digest(seed: bytes) -> str:
    return seed.hex()[:24]


def _count(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)
