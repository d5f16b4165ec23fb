"""The failures of docs/resilience.md: what breaks, in which calls, and the limit that is to end it."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.e2e.faults import Act, Fault, Point


class Limit(NamedTuple):
    """A time that the route or the failing provider has, and where it is written."""

    name: str
    seconds: float
    of_provider: bool = False

    @property
    def text(self) -> str:
        policy, _, field = self.name.partition(".")
        return f"{policy}: {{{field}: {self.seconds}s}}"


CONNECT = Limit("tcp.connectTimeout", 0.6, of_provider=True)
HEAD = Limit("http.requestTimeout", 0.6, of_provider=True)
FIRST_CONTENT = Limit("timeout.firstByteTimeout", 1)  # the reserve has to keep to it too
SILENCE = Limit("timeout.streamIdleTimeout", 1)

RESET_EARLY = ("upstream_closed", "upstream_connect_failed")
"""A reset may be here before the gateway has looked whether it is connected."""

BOTH = (False, True)
WHOLE = (False,)
STREAMED = (True,)


class Failure(NamedTuple):
    """`how` is a Fault of the provider, the model of a simulated one that fails by its name, or where it is not.

    `either` are the reasons among which only chance decides, by which side of the network is first.
    """

    phase: str
    name: str
    how: Fault | str
    calls: tuple[bool, ...] = BOTH
    limit: Limit | None = None
    tls: bool = False
    either: tuple[str, ...] = ()

    def told(self, why: str) -> str:
        """The page's cell for the reason that the log has."""
        return " or ".join(f"`{reason}`" for reason in (self.either if why in self.either else (why,)) if reason)


class Case(NamedTuple):
    failure: Failure
    stream: bool

    @property
    def id(self) -> str:
        name = f"{self.failure.phase} {self.failure.name} {'streamed' if self.stream else 'whole'}"
        return re.sub(r"[^a-z0-9]+", "-", name.lower())


FAILURES = [
    Failure("name", "is not known", "unknown"),
    Failure("connection", "is refused", "refusing"),
    Failure("connection", "is not accepted", "unaccepting", limit=CONNECT),
    Failure("connection", "is closed when accepted", Fault(Point.ACCEPTED, Act.CLOSE)),
    Failure("connection", "is reset when accepted", Fault(Point.ACCEPTED, Act.RESET), either=RESET_EARLY),
    Failure("TLS", "is closed in the handshake", Fault(Point.HELLO, Act.CLOSE), tls=True),
    Failure("TLS", "is reset in the handshake", Fault(Point.HELLO, Act.RESET), tls=True),
    Failure("TLS", "falls silent in the handshake", Fault(Point.HELLO, Act.STALL), limit=CONNECT, tls=True),
    Failure("TLS", "is not spoken", Fault(Point.HELLO, Act.GARBAGE), tls=True),
    Failure("TLS", "has a certificate nobody trusts", "untrusted", tls=True),
    Failure("request", "is answered 429", "status-429"),
    Failure("request", "is answered 429 with `retry-after`", "status-429+retry-after-7"),
    Failure("request", "is answered 500", "status-500"),
    Failure("request", "is answered 503", "status-503"),
    Failure("request", "is answered 529", "status-529"),
    Failure("request", "is followed by a close", Fault(Point.REQUEST, Act.CLOSE)),
    Failure("request", "is followed by a reset", Fault(Point.REQUEST, Act.RESET)),
    Failure("request", "is followed by silence", Fault(Point.REQUEST, Act.STALL), limit=HEAD),
    Failure("request", "is answered with what is no HTTP", Fault(Point.REQUEST, Act.GARBAGE)),
    Failure("head", "breaks off", Fault(Point.HALF_HEAD, Act.CLOSE)),
    Failure("head", "falls silent in the middle", Fault(Point.HALF_HEAD, Act.STALL), limit=HEAD),
    Failure("head", "is followed by a close", Fault(Point.HEAD, Act.CLOSE)),
    Failure("head", "is followed by a reset", Fault(Point.HEAD, Act.RESET)),
    Failure("head", "is followed by silence", Fault(Point.HEAD, Act.STALL), WHOLE, SILENCE),
    Failure("head", "is followed by silence", Fault(Point.HEAD, Act.STALL), STREAMED, FIRST_CONTENT),
    Failure("head", "is followed by what is no chunk", Fault(Point.HEAD, Act.GARBAGE), STREAMED),
    Failure("head", "is followed by an end without events", Fault(Point.HEAD, Act.END), STREAMED),
    Failure("stream", "begins with an error event", "error-event-1", STREAMED),
    Failure("role", "is followed by a close", Fault(Point.FIRST_EVENT, Act.CLOSE), STREAMED),
    Failure("role", "is followed by a reset", Fault(Point.FIRST_EVENT, Act.RESET), STREAMED),
    Failure("role", "is followed by silence", Fault(Point.FIRST_EVENT, Act.STALL), STREAMED, FIRST_CONTENT),
    Failure("role", "is followed by what is no chunk", Fault(Point.FIRST_EVENT, Act.GARBAGE), STREAMED),
    Failure("role", "is followed by an end without content", Fault(Point.FIRST_EVENT, Act.END), STREAMED),
    Failure("answer", "is closed in the middle", Fault(Point.MIDDLE, Act.CLOSE)),
    Failure("answer", "is reset in the middle", Fault(Point.MIDDLE, Act.RESET)),
    Failure("answer", "falls silent in the middle", Fault(Point.MIDDLE, Act.STALL), limit=SILENCE),
    Failure("answer", "goes on with what is no chunk", Fault(Point.MIDDLE, Act.GARBAGE), STREAMED),
]

CASES = [Case(failure, stream) for failure in FAILURES for stream in failure.calls]
