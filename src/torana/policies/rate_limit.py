"""localRateLimit: token buckets of a route. All of them must let a request in; one that does not takes from none.

A request takes one of a bucket of requests. What it takes of a bucket of tokens is known when it is answered: it is
let in while one is left, and what the answer says it used is taken then, as far as it is there. A client that leaves a
stream before its end pays for what it got.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import TypeAlias, assert_never

import msgspec

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange, Quota
from torana.http.message import Fields, field
from torana.model.policy import LimitUnit, RateLimit, RateLimitKey, RateLimitKeyKind
from torana.policies.buckets import KEY_BYTES, Buckets, Claim, Standing, Terms
from torana.policies.expression import Expression, Sees
from torana.telemetry.record import Placement, Record

_OURS = frozenset((b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"))

_Value: TypeAlias = Callable[[Exchange], bytes | None]


class RateLimitPolicy:
    """The limits of one route.

    A bucket is known by the route's names and all that is written of the limit: it survives a reload that leaves them
    as they are, and a limit that was changed begins full.
    """

    def __init__(self, limits: tuple[RateLimit, ...], placement: Placement, buckets: Buckets) -> None:
        self._limits = [_Limit(limit, placement) for limit in dict.fromkeys(limits)]
        self._buckets = buckets

    def on_request(self, exchange: Exchange) -> None:
        """Raises RATE_LIMITED."""
        limits = [limit for limit in self._limits if limit.unconditional or limit.counts(exchange)]
        if not limits:
            return
        claims = [limit.claim(exchange) for limit in limits]
        admitted, standings = self._buckets.admit(claims, time.monotonic())
        limit, standing = min(zip(limits, standings, strict=True), key=_tightness)
        exchange.quota = Quota(limit.rate.max_tokens, standing.left, standing.refill)
        if not admitted:
            message = f"Rate limit reached: {limit.words}. There is more in {max(math.ceil(standing.refill), 1)} s."
            raise GatewayError(Reason.RATE_LIMITED, message, retry_after=max(standing.refill, 1))
        keys = [claim for claim in claims if not claim.cost]
        if keys:
            exchange.charge = partial(self._charge, keys)

    def on_response(self, exchange: Exchange, fields: Fields) -> None:
        """What is left of the tightest limit, as `x-ratelimit-*`; what the upstream says by these names is replaced."""
        quota = exchange.quota
        if quota is None:
            return
        fields[:] = [entry for entry in fields if entry[0] not in _OURS]
        for name, number in (
            (b"x-ratelimit-limit", quota.limit),
            (b"x-ratelimit-remaining", quota.remaining),
            (b"x-ratelimit-reset", math.ceil(quota.reset)),
        ):
            fields.append((name, name, b"%d" % number))

    def _charge(self, claims: list[Claim], record: Record) -> None:
        """By the provider's count; of a stream that ended without one, the pieces of output, which are about tokens."""
        usage = record.usage
        used = record.deltas if usage is None else usage.input_tokens + usage.output_tokens
        if used:
            self._buckets.charge([claim._replace(cost=used) for claim in claims], time.monotonic())


class _Limit:
    """One limit, and how its bucket is found. Of what a client sends, only a digest is kept."""

    __slots__ = ("_any", "_condition", "_seed", "_unless", "_value", "rate", "unconditional", "words")

    def __init__(self, rate: RateLimit, placement: Placement) -> None:
        self.rate = rate
        self.words = _words(rate)
        self._condition = None if rate.condition is None else Expression(rate.condition, Sees.REQUEST)
        self._unless = [Expression(text, Sees.REQUEST) for text in rate.unless]
        self.unconditional = self._condition is None and not self._unless
        self._seed = _digest(msgspec.msgpack.encode((placement.bind, placement.listener, placement.route, rate)), b"")
        terms = Terms(rate.max_tokens, rate.tokens_per_fill, rate.fill_interval)
        self._any = Claim(self._seed, terms, 1 if rate.unit is LimitUnit.REQUESTS else 0)
        self._value = None if rate.key is None else _reader(rate.key)

    def counts(self, exchange: Exchange) -> bool:
        if self._condition is not None and not self._condition.holds(exchange):
            return False
        return not any(other.holds(exchange) for other in self._unless)

    def claim(self, exchange: Exchange) -> Claim:
        """On the bucket of this request's key. Requests without the header or credential have one in common."""
        value = None if self._value is None else self._value(exchange)
        return self._any if value is None else self._any._replace(key=_digest(value, self._seed))


def _digest(text: bytes, seed: bytes) -> bytes:
    return blake2b(text, digest_size=KEY_BYTES, key=seed).digest()


def _reader(key: RateLimitKey) -> _Value:
    match key.kind:
        case RateLimitKeyKind.HEADER:
            return partial(_header, key.name.lower().encode("latin-1"))
        case RateLimitKeyKind.API_KEY:
            return _credential
        case RateLimitKeyKind.CLIENT:
            return _address
        case _ as never:
            assert_never(never)


def _header(lower: bytes, exchange: Exchange) -> bytes | None:
    return field(exchange.fields, lower)


def _credential(exchange: Exchange) -> bytes | None:
    """`Authorization` without its scheme, else `x-api-key`: the same key is the same client, either way."""
    authorization = field(exchange.fields, b"authorization")
    if authorization is None:
        return field(exchange.fields, b"x-api-key")
    scheme, _, credential = authorization.partition(b" ")
    return credential.strip() or scheme


def _address(exchange: Exchange) -> bytes:
    """Of the connection, without its port. Whatever a client writes into its headers is no address."""
    return exchange.record.peer.rpartition(":")[0].encode()


def _tightness(entry: tuple[_Limit, Standing]) -> tuple[int, float]:
    """The least left; among equals, the longest until there is more."""
    return entry[1].left, -entry[1].refill


def _words(rate: RateLimit) -> str:
    text = f"{rate.max_tokens} {rate.unit.value}, {rate.tokens_per_fill} more every {rate.fill_interval:g} s"
    if rate.key is None:
        return text
    match rate.key.kind:
        case RateLimitKeyKind.HEADER:
            return f"{text}, for each value of {rate.key.name}"
        case RateLimitKeyKind.API_KEY:
            return f"{text}, for each API key"
        case RateLimitKeyKind.CLIENT:
            return f"{text}, for each client address"
        case _ as never:
            assert_never(never)
