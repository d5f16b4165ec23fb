"""directResponse: a fixed reply instead of a backend's, always or on a condition."""

from __future__ import annotations

from torana.exchange import Exchange, LocalReply
from torana.http.message import Field
from torana.model.policy import Conditional, DirectResponse
from torana.policies.expression import Sees, compile_optional


class DirectResponsePolicy:
    """Answers every request with the same reply; its body is `text/plain` unless the headers say otherwise.

    A 204 or 304 has none, whatever is configured: its client would take it for the next answer (RFC 9112, 6.3).
    """

    def __init__(self, direct: DirectResponse) -> None:
        self._status = direct.status
        self._body = b"" if direct.status in (204, 304) else direct.body.encode()
        self._fields: list[Field] = [
            (name.lower().encode(), name.encode(), value.encode()) for name, value in direct.headers
        ]
        if self._body and all(lower != b"content-type" for lower, _, _ in self._fields):
            self._fields.append((b"content-type", b"content-type", b"text/plain; charset=utf-8"))

    def on_request(self, _: Exchange) -> LocalReply:
        return LocalReply(self._status, [*self._fields], self._body)


class ConditionalResponsesPolicy:
    """Answers with the first reply whose condition holds; where none does, the request goes on."""

    def __init__(self, conditionals: tuple[Conditional, ...]) -> None:
        self._replies = [
            (compile_optional(one.condition, Sees.REQUEST), DirectResponsePolicy(one.response)) for one in conditionals
        ]

    def on_request(self, exchange: Exchange) -> LocalReply | None:
        for condition, reply in self._replies:
            if condition is None or condition.holds(exchange):
                return reply.on_request(exchange)
        return None
