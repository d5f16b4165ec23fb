"""What keeps traffic flowing, and within bounds: timeouts, retries, health, limits, copies."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from torana.config.standalone.schema.connection import BackendPlace
from torana.config.standalone.schema.record import Count, Duration, Expression, Name, Record, Share, Size


class Timeout(Record, frozen=True):
    """How long an answer may take; 504 when it takes longer. Zero is no limit."""

    request_timeout: Annotated[
        Duration | None, Meta(description="From the request to the head of the answer, all attempts together.")
    ] = None
    backend_request_timeout: Annotated[Duration | None, Meta(description="The same for one attempt.")] = None
    first_byte_timeout: Annotated[
        Duration | None,
        Meta(description="Torana's own: as `backendRequestTimeout`, and in a stream until its first content."),
    ] = None
    stream_idle_timeout: Annotated[
        Duration | None, Meta(description="Torana's own: the longest silence within an answer.")
    ] = None
    total_timeout: Annotated[
        Duration | None, Meta(description="Torana's own: from the request to the answer's last byte.")
    ] = None


class Retry(Record, frozen=True):
    """Sends a request once more when no other backend is left to take it, and nothing of an answer has gone out."""

    attempts: Annotated[Count, Meta(description="How often; the first time does not count.")] = 1
    backoff: Annotated[Duration, Meta(description="The pause before each; up to half of it is added at random.")] = (
        "25ms"
    )
    codes: Annotated[
        tuple[Annotated[int, Meta(ge=100, le=599)], ...],
        Meta(description="Answers that count as failed, from 400; 429 and 5xx of a language model do so anyway."),
    ] = ()
    precondition: Annotated[
        Expression | None, Meta(description="Of the request; where it is not true, nothing is sent once more.")
    ] = None
    condition: Annotated[
        Expression | None, Meta(description="Of the answer; where it is true, it counts as failed.")
    ] = None
    budget_percent: Annotated[
        Annotated[int, Meta(ge=0, le=100)],
        Meta(description="Torana's own: how many of a route's recent requests, in percent, may be sent once more."),
    ] = 20


# --- Of a backend ---------------------------------------------------------------------------------------------------


class Eviction(Record, frozen=True):
    """When a backend gets no more requests, and for how long. Without a threshold: after 3 failures in a row."""

    duration: Annotated[
        Duration, Meta(description="How long; what the backend asks for with `retry-after` goes before it.")
    ] = "3s"
    max_duration: Annotated[
        Duration | None,
        Meta(
            description="Torana's own: `duration` doubles with every eviction that follows upon another, up to this; "
            "60s when left out."
        ),
    ] = None
    consecutive_failures: Annotated[Count | None, Meta(description="After so many failures in a row.")] = None
    health_threshold: Annotated[
        Share | None, Meta(description="With a smaller share of answers that were well, the newest counting most.")
    ] = None
    restore_health: Annotated[Share, Meta(description="The share it comes back with.")] = 1.0


class Health(Record, frozen=True):
    """What of a backend's answers is a failure, and what follows. A 429 evicts at once, for as long as it asks."""

    unhealthy_expression: Annotated[
        Expression | None,
        Meta(description="Of the answer: it speaks against the backend where this is true. Left out: 5xx and 429."),
    ] = None
    eviction: Annotated[Eviction | None, Meta(description="When the backend gets no more requests for a while.")] = None


class SessionAffinity(Record, frozen=True):
    """Requests with the same value go to the same provider as long as it is well. Give exactly one key."""

    exactly_one = ("source", "header", "cookie")

    source: Annotated[Expression | None, Meta(description="The value of an expression.")] = None
    header: Annotated[Name | None, Meta(description="Torana's own: the value of this header.")] = None
    cookie: Annotated[Name | None, Meta(description="Torana's own: the value of this cookie.")] = None


# --- Of a route -----------------------------------------------------------------------------------------------------


class RateLimitKey(Record, frozen=True):
    """Whose bucket it is, by a header."""

    header: Annotated[Name, Meta(description="The header: each of its values has a bucket of its own.")]


class RateLimit(Record, frozen=True):
    """A bucket that begins full. A request takes one; it is answered 429 when there is none."""

    max_tokens: Annotated[Count, Meta(description="What the bucket holds.")]
    tokens_per_fill: Annotated[Count, Meta(description="How many come back at a time.")]
    fill_interval: Annotated[Duration, Meta(description="How often they do.")]
    type: Annotated[
        Literal["requests", "tokens"],
        Meta(description="What is counted: requests, or the tokens of a language model, once it has told them."),
    ] = "requests"
    key: Annotated[
        RateLimitKey | str | None,
        Meta(
            description="Torana's own: whose bucket it is: `apiKey`, `clientAddress`, `{header: NAME}`, or one of the "
            'expressions `source.address` and `request.headers["name"]`. Left out: one for all.'
        ),
    ] = None


class ConditionalRateLimit(RateLimit, frozen=True, kw_only=True):
    """A limit for some requests."""

    condition: Annotated[
        Expression | None, Meta(description="Of the request; left out, and then in the last entry only: always.")
    ] = None


class ConditionalRateLimits(Record, frozen=True):
    """Limits of which one holds."""

    conditional: Annotated[
        tuple[ConditionalRateLimit, ...], Meta(description="Up to 64: the first whose condition is true.")
    ]


class RequestMirror(Record, frozen=True):
    """Sends copies of requests, bodies and all, to a backend whose answers nobody reads."""

    backend: Annotated[BackendPlace, Meta(description="Where they go.")]
    percentage: Annotated[Share, Meta(description="The share of the requests, from 0 to 1.")] = 1.0


class Delay(Record, frozen=True):
    """A pause before the request goes on."""

    duration: Annotated[
        Name,
        Meta(
            description="A duration such as `2s`, or an expression in CEL that gives one, or seconds.",
            extra={"expected": "a duration such as 2s, or an expression in CEL"},
        ),
    ]


class BodyBuffer(Record, frozen=True):
    """A body that is gathered before it goes on."""

    max_bytes: Annotated[Size, Meta(description="The largest body, in bytes.")]
    failure_mode: Annotated[
        Literal["failClosed", "failOpen"],
        Meta(description="What becomes of a larger one: refused, or passed on as it comes."),
    ] = "failClosed"


class Buffer(Record, frozen=True):
    """Bodies that are gathered before they go on."""

    request: Annotated[BodyBuffer | None, Meta(description="The client's; a larger one is 413.")] = None
    response: Annotated[BodyBuffer | None, Meta(description="The backend's; a larger one is 502.")] = None
