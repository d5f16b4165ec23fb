"""Failover: a request goes from endpoint to endpoint until one answers, before the client has got anything.

An attempt has failed when no answer came (no name, no connection, no TLS, no head in time, a broken one), when a call
of a language model was answered 429 or 5xx, and when its stream began with an error or ended before its first content.
Anything else is the answer: a 400, 401, 403, 404 or 422 would be the same elsewhere. What is no call may not be safe
to repeat, so it is only where nothing of it arrived, or where its method is idempotent and no answer came.

Each endpoint of a route is asked once. A `retry` policy asks more often, after a pause, within its budget.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.llm.pauses import pause_of
from torana.proxy.ask import Asked, first_content
from torana.proxy.balancer import Balancer
from torana.proxy.deadlines import Limit, ran_out
from torana.proxy.inbound import Inbound
from torana.proxy.passage import Events
from torana.proxy.snapshot import CompiledRoute
from torana.proxy.upstream import Upstream
from torana.telemetry.metrics import Metrics
from torana.telemetry.record import Attempt

_MOST_ATTEMPTS = 10  # a client that still waits by then is better served by an error
_MOST_HELD = 10.0  # seconds of a stream without content; its client must see a sign of life, and failover ends there
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))  # RFC 9110, 9.2.2
_NEVER_ARRIVED = frozenset((Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT))
_NO_ANSWER = _NEVER_ARRIVED | {Reason.UPSTREAM_CLOSED, Reason.BAD_ANSWER, Reason.UPSTREAM_TIMEOUT}

Ask = Callable[[Upstream, int], Awaitable[Asked]]
"""Asks one upstream; the number tells how many were asked before."""


class Failover:
    """The attempts of one request."""

    __slots__ = (
        "_ask", "_exchange", "_inbound", "_metrics", "_number", "_pause", "_repetitions", "_route", "_share", "_shares",
        "_tried",
    )  # fmt: skip

    def __init__(
        self,
        ask: Ask,
        inbound: Inbound,
        exchange: Exchange,
        route: CompiledRoute,
        share: Balancer,
        metrics: Metrics,
    ) -> None:
        self._ask = ask
        self._share = share
        self._shares: list[Balancer] | None = None  # the others of the route, once they are needed
        self._inbound = inbound
        self._exchange = exchange
        self._route = route
        self._metrics = metrics
        self._tried: list[Upstream] = []
        self._number = 0
        self._repetitions = 0
        self._pause: float | None = None

    async def run(self, upstream: Upstream) -> Asked:
        """The answer of `upstream` (one of the share) or of one after it; the last one's when all fail.

        Raises what the last one raised, or what is wrong with the request itself.

        The connection of the answer is the caller's to give back to its lane.
        """
        if self._route.retry is not None:
            self._route.budget.deposit(time.monotonic())
        while True:
            outcome, why = await self._attempt(upstream)
            if why is None and isinstance(outcome, Asked):
                return outcome
            self._note(upstream, why or "")
            following = await self._following(upstream, outcome)
            if following is None:
                if isinstance(outcome, Asked):
                    return outcome
                raise self._told(outcome)
            if isinstance(outcome, Asked):
                outcome.upstream.endpoint.lane.give(outcome.connection)
            upstream = following
            self._number += 1
            self._exchange.record.retries += 1

    async def _attempt(self, upstream: Upstream) -> tuple[Asked | GatewayError, str | None]:
        """What came of it, and why that is a failure; None when it is none."""
        vitals = upstream.endpoint.vitals
        started = time.monotonic()
        self._tried.append(upstream)
        vitals.pending += 1
        outcome: Asked | GatewayError
        why: str | None
        try:
            outcome = await self._ask(upstream, self._number)
            why = await self._judged(outcome, started)
        except GatewayError as error:
            if error.reason not in _NO_ANSWER:
                vitals.unknown()
                raise  # of the request itself: it would be the same everywhere
            outcome, why = error, error.reason.fault.code
        except BaseException:
            vitals.unknown()
            raise
        finally:
            vitals.pending -= 1
        now = time.monotonic()
        self._learn(upstream, outcome, why, now - started, now)
        return outcome, why

    async def _judged(self, asked: Asked, started: float) -> str | None:
        """Why an answer is none that the client should get as long as another is to be had.

        Raises the error that a stream broke off with before its first content.
        """
        status = asked.head.status
        if status in self._route.retry_codes:
            return str(status)
        if not asked.upstream.is_llm:
            return None
        if status == 429 or status >= 500:
            return str(status)
        if isinstance(asked.passage, Events):
            timeout = self._route.timeout
            first_byte = timeout.first_byte if timeout is not None else None
            left = _MOST_HELD if first_byte is None else started + first_byte - time.monotonic()
            if not await first_content(asked, asked.passage, max(left, 0)):
                if first_byte is None:
                    return None
                asked.connection.close()
                raise ran_out(Limit("firstByteTimeout", first_byte))
            if not asked.passage.opened:
                return "error in stream" if asked.passage.failed else "empty stream"
        return None

    def _learn(
        self, upstream: Upstream, outcome: Asked | GatewayError, why: str | None, latency: float, now: float
    ) -> None:
        vitals = upstream.endpoint.vitals
        eviction = upstream.eviction
        status = outcome.head.status if isinstance(outcome, Asked) else 0
        if isinstance(outcome, Asked):
            pause = pause_of(outcome.head.fields, time.time()) if status in (429, 503) else None
            unwell = why is not None or status == 429 or status >= 500
        else:
            pause, unwell = None, True
        if not unwell:
            vitals.succeeded(latency, now, eviction)
            return
        if pause is not None:
            self._pause = pause if self._pause is None else min(pause, self._pause)
        if vitals.failed(now, eviction, pause, throttled=status == 429):
            self._metrics.count_eviction(upstream.backend.name, upstream.endpoint.text)

    def _note(self, upstream: Upstream, why: str) -> None:
        record = self._exchange.record
        if record.attempts is None:
            record.attempts = []
        record.attempts.append(Attempt(upstream.endpoint.text, why))
        self._metrics.count_failure(upstream.backend.name, upstream.endpoint.text, why)

    async def _following(self, failed: Upstream, outcome: Asked | GatewayError) -> Upstream | None:
        """The next one to ask; None when there is none, or this request must not be sent again."""
        if self._number + 1 >= _MOST_ATTEMPTS or not self._repeatable(failed, outcome):
            return None
        upstream = self._untried(failed)
        if upstream is not None:
            return upstream
        retry = self._route.retry
        if retry is None or self._repetitions >= retry.attempts or not self._route.budget.withdraw(time.monotonic()):
            return None
        self._repetitions += 1
        await asyncio.sleep(retry.backoff * random.uniform(1.0, 1.5))  # noqa: S311 - so that not all come back at once
        self._tried.clear()
        return self._share.next((), time.monotonic())

    def _untried(self, failed: Upstream) -> Upstream | None:
        """One of the same share; then, for a call, of the others of its route. Their weights divide what goes well."""
        now = time.monotonic()
        upstream = self._share.next(self._tried, now)
        if upstream is not None or not failed.is_llm:
            return upstream
        if self._shares is None:
            self._shares = self._route.others(self._share)
        candidates = (share.next(self._tried, now) for share in self._shares)
        return next((one for one in candidates if one is not None and one.is_llm and one.redirect is None), None)

    def _repeatable(self, failed: Upstream, outcome: Asked | GatewayError) -> bool:
        if self._inbound.spent:
            return False
        if failed.is_llm or isinstance(outcome, Asked):
            return True  # an answer that was not taken is one of the route's `retry.codes`
        return outcome.reason in _NEVER_ARRIVED or self._exchange.method in _IDEMPOTENT or self._route.retry is not None

    def _told(self, error: GatewayError) -> GatewayError:
        """`error`, with all that was tried before it."""
        attempts = self._exchange.record.attempts or []
        if len(attempts) == 1:
            return error
        tried = ", ".join(f"{attempt.endpoint} ({attempt.why})" for attempt in attempts)
        message = f"No endpoint answered; tried: {tried}. The last one: {error.message}"
        return GatewayError(error.reason, message, error.detail, retry_after=self._pause)
