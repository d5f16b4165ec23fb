"""What every translation between two API families offers, whichever they are."""

from __future__ import annotations

from typing import Protocol

import msgspec

from torana.errors import GatewayError
from torana.llm.operation import Operation
from torana.llm.usage import Usage


class TranslatedRequest(msgspec.Struct, frozen=True):
    """`body` for the upstream.

    `lost` names what could not be carried (JSON paths such as `top_k`, `tools[0].cache_control`), in order. `model` is
    what the upstream reads, `asked_model` what the client wrote (None: nothing, or no text).

    A chat request does not ask for its stream's usage here: `torana.llm.request.prepare` adds that to `body`, as to any
    client's, and can take it back where a provider refuses `stream_options`.

    `memo` is what the answer's translation must know of the request; only the pair itself reads it.
    """

    body: bytes
    lost: tuple[str, ...]
    model: str
    asked_model: str | None
    stream: bool
    memo: bytes = b""


class StreamTranslation(Protocol):
    """One stream's answer, translated as it arrives: an event goes out in the feed that completes it.

    It never raises: what cannot be read becomes an error event in the client's form, `error` is set, and nothing comes
    after that. `usage`, `model`, `deltas`, `done`, `finish_reason` (the upstream's word) and `error` are learned on the
    way, with the meaning they have in `torana.llm.stream.StreamReader`.
    """

    usage: Usage | None
    model: str | None
    deltas: int
    done: bool
    finish_reason: str | None
    error: str | None

    def feed(self, data: bytes) -> bytes:
        """Translate the next piece of the upstream's body; what can be told now, perhaps nothing."""
        ...

    def finish(self) -> bytes:
        """The upstream's stream ended regularly: whatever closes the client's form and has not gone out yet."""
        ...

    def broken(self, error: GatewayError) -> bytes:
        """It broke off: one error event in the client's form, no fake end."""
        ...


class Translation(Protocol):
    """Between a client's API and an upstream's; stateless, one object a pair."""

    @property
    def operation(self) -> Operation:
        """The operation the upstream's request has, and so its path."""
        ...

    def request(self, body: bytes, model: str | None) -> TranslatedRequest:
        """The client's request for the upstream; `model`, when given, always wins over the request's.

        Raises GatewayError: BAD_JSON when the body is no JSON object in UTF-8, MODEL_MISSING when nobody names a model,
        UNTRANSLATABLE for what the upstream's API cannot be asked at all.
        """
        ...

    def answer(self, body: bytes, asked_model: str | None, *, memo: bytes = b"", now: int = 0) -> bytes:
        """A whole 2xx answer in the client's form; `asked_model` is the name the client knows the model by.

        `memo` is the translated request's: answers of Responses repeat what was asked. `now` (seconds since 1970) is
        when the answer was made, where it does not tell that itself.

        Raises GatewayError BAD_ANSWER when the body is no answer of the upstream's API.
        """
        ...

    def error(self, status: int, body: bytes) -> bytes:
        """An upstream's error answer, of any form, in the client's form."""
        ...

    def stream(self, asked_model: str | None, *, memo: bytes = b"", now: int = 0) -> StreamTranslation:
        """A new translation for the answer of one streaming request, whose `memo` it is; `now` as for `answer`.

        Streams of Responses repeat what was asked; those of chat tell their usage when they were asked to.
        """
        ...
