"""The one row a request leaves behind, however it ends."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

LONGEST = 256
"""Characters of one value in logs and metrics. Clients and providers choose some of them: model, path, host, errors."""


def clipped(text: str) -> str:
    """At most LONGEST characters; the last is `…` where something is left out."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class TokenUsage(Protocol):
    """Tokens of one call, as the provider reported them."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def cache_creation_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...


class Placement:
    """Where in the configuration a request was served: the labels that are the same for every request of a route."""

    __slots__ = ("bind", "gateway", "listener", "log_text", "route", "route_rule")

    def __init__(
        self, bind: str, listener: str, route: str, gateway: str = "default", route_rule: str = "unknown"
    ) -> None:
        self.bind = bind
        self.gateway = gateway
        self.listener = listener
        self.route = route
        self.route_rule = route_rule
        self.log_text: str | None = None
        """The access log's text of it, made once by the log."""


UNPLACED = Placement("unknown", "unknown", "unknown")


class Attempt(NamedTuple):
    """One that failed: the endpoint, and why in a word or two (a status, a code of the error table).

    `name` is for clients that are not to know addresses.
    """

    endpoint: str
    why: str
    name: str


class Record(msgspec.Struct, gc=False):
    """Filled in along the way, read by metrics and access log at the end. Times are seconds of `time.perf_counter`.

    `deltas` are the pieces of output that a stream had: about one for each token. A Struct for what it costs: one call
    makes it, however many members it has.
    """

    started: float
    ended: float = 0.0
    placement: Placement = UNPLACED
    peer: str = ""
    sni: str | None = None
    method: str = ""
    host: str = ""
    path: str = ""
    version: str = "1.1"
    status: int = 0
    reason: str = "Upstream"
    error: str | None = None
    request_id: str | None = None
    backend: str = "unknown"
    endpoint: str = ""
    protocol: str = "http"
    retries: int = 0
    attempts: list[Attempt] | None = None
    answer_bytes: int = 0
    untranslated: tuple[str, ...] = ()
    # what only calls of a language model have
    operation: str | None = None
    provider: str = ""
    model: str | None = None
    streaming: bool = False
    response_model: str | None = None
    first_token: float | None = None
    deltas: int = 0
    usage: TokenUsage | None = None

    @property
    def duration(self) -> float:
        return self.ended - self.started
