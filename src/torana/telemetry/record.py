"""The one row a request leaves behind, however it ends."""

from __future__ import annotations

from typing import Protocol


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


class Record:
    """Filled in along the way, read by metrics and access log at the end. Times are seconds of `time.perf_counter`."""

    __slots__ = (
        "answer_bytes", "backend", "ended", "endpoint", "error", "first_token", "host", "method", "model", "operation",
        "path", "peer", "placement", "protocol", "provider", "reason", "request_id", "response_model", "retries",
        "sni", "started", "status", "streamed", "usage", "version",
    )  # fmt: skip

    def __init__(self, started: float) -> None:
        self.started = started
        self.ended = started
        self.placement = UNPLACED
        self.peer = ""
        self.sni: str | None = None
        self.method = ""
        self.host = ""
        self.path = ""
        self.version = "1.1"
        self.status = 0
        self.reason = "Upstream"
        self.error: str | None = None
        self.request_id: str | None = None
        self.backend = "unknown"
        self.endpoint = ""
        self.protocol = "http"
        self.retries = 0
        self.answer_bytes = 0
        # what only calls of a language model have
        self.operation: str | None = None
        self.provider = ""
        self.model: str | None = None
        self.response_model: str | None = None
        self.streamed = False
        self.first_token: float | None = None
        self.usage: TokenUsage | None = None

    @property
    def duration(self) -> float:
        return self.ended - self.started
