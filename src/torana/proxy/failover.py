"""Failover: a request goes from endpoint to endpoint until one answers, before the client has got anything.

An attempt has failed when no answer came (no name, no connection, no TLS, no head in time, a broken one), when a call
of a language model was answered 429 or 5xx, when its stream began with an error or ended before its first content, and
when its whole answer broke off, unless that was long.
Anything else is the answer: a 400, 401, 403, 404 or 422 would be the same elsewhere. What is no call may not be safe
to repeat, so it is only where nothing of it arrived, or where its method is idempotent and no answer came.

Each endpoint of a route is asked once. A `retry` policy asks again those that have failed, after a pause, within its
budget; and with it, what is no call is sent once more even where some of it may have arrived.

The shares of a route are one another's reserve for calls: providers of the same answer. What else a route has shares
for (two versions of a program) are places that its requests are divided among, and they stay divided.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.body import Body
from torana.http.dial import ConnectError
from torana.llm.pauses import pause_of
from torana.model.policy import Timeout
from torana.proxy.ask import IDEMPOTENT, Asked, first_content
from torana.proxy.attempts import ERROR_IN_STREAM, NEVER_ARRIVED, NO_ANSWER, is_failure, note, why_of
from torana.proxy.balancer import Balancer
from torana.proxy.deadlines import Limit, RanOutError, within
from torana.proxy.inbound import Inbound
from torana.proxy.passage import Document, EmptyStreamError, Events, Rewritten
from torana.proxy.snapshot import CompiledRoute
from torana.proxy.upstream import Upstream
from torana.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 10  # a client that still waits by then is better served by an error
_MOST_HELD = 10.0  # seconds of what has no content yet; its client must see a sign of life, and failover ends there
_MOST_WHOLE = 1024 * 1024  # octets of an answer that is no stream; one that is longer goes out as it comes
_GRAIN = 0.005  # seconds; libuv counts in milliseconds, and a limit may be told to be over before it is
_NO_TIMEOUT = Timeout()
_OWN_SHARE = 0.5  # of the time that all attempts have: one request charges one endpoint at most with its end

Ask = Callable[[Upstream, int], Awaitable[Asked]]
"""Asks one upstream; the number tells how many were asked before."""


class _Following(NamedTuple):
    """The next to be asked, and how many seconds from now."""

    upstream: Upstream
    pause: float


class Failover:
    """The attempts of one request."""

    __slots__ = (
        "_ask", "_began", "_exchange", "_failed", "_inbound", "_metrics", "_number", "_others", "_pause",
        "_repetitions", "_retry", "_route", "_share", "_tried",
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
        self._others: list[Balancer] | None = None  # the shares beside it, once they are needed
        self._inbound = inbound
        self._exchange = exchange
        self._route = route
        self._retry = route.retry
        if route.retry_precondition is not None and not route.retry_precondition.holds(exchange):
            self._retry = None
        self._metrics = metrics
        self._began = time.monotonic() - (time.perf_counter() - exchange.record.started)  # the request, its delay too
        self._tried: list[Upstream] = []
        self._failed: GatewayError | None = None  # what the last one that could be asked failed with
        self._number = 0
        self._repetitions = 0
        self._pause: float | None = None

    def first(self) -> Upstream:
        """Where the request goes first: an endpoint of the share, unless all of it is evicted and others are not."""
        upstream = self._untried()
        assert upstream is not None  # a share has an endpoint, and none was tried
        return upstream

    async def run(self, upstream: Upstream) -> Asked:
        """The answer of `upstream`, which is the `first`, or of one after it; the last one's when all fail.

        Raises what the last one raised, or what is wrong with the request itself. The answer is the caller's to
        release.
        """
        if self._retry is not None:
            self._route.budget.deposit(time.monotonic())
        while True:
            outcome, why = await self._attempt(upstream)
            if why is None and isinstance(outcome, Asked):
                return outcome
            note(self._exchange.record, self._metrics, upstream, why or "")
            if not _untranslatable(outcome):
                self._failed = outcome if isinstance(outcome, GatewayError) else _refused(upstream, outcome)
            following = self._following(upstream, outcome)
            if following is None:
                if isinstance(outcome, Asked):
                    outcome.told = True
                    return outcome
                raise self._told(self._failed or outcome)
            if isinstance(outcome, Asked):
                outcome.release()
            if following.pause:
                await asyncio.sleep(following.pause)
            upstream = following.upstream
            self._number += 1
            self._exchange.record.retries += 1

    async def _attempt(self, upstream: Upstream) -> tuple[Asked | GatewayError, str | None]:
        """What came of it, and why that is a failure; None when it is none."""
        vitals = upstream.endpoint.vitals
        began = time.monotonic()
        self._tried.append(upstream)
        vitals.chosen(self, began)
        limit = self._route.answer_limit
        outcome: Asked | GatewayError
        why: str | None
        try:
            asking = self._asked(upstream, began)
            spent = began - self._began
            outcome, why = await (asking if limit is None else within(asking, limit, spent, self._inbound))
        except GatewayError as error:
            if error.reason not in NO_ANSWER:
                vitals.unknown(self)
                if error.reason is Reason.UNTRANSLATABLE:  # by this one; another may understand it as it is
                    return error, error.reason.fault.code
                raise  # of the request itself: it would be the same everywhere
            outcome, why = error.bare(), why_of(error)
        except BaseException:
            vitals.unknown(self)
            raise
        if not isinstance(outcome, Asked) or outcome.judge is None:
            self._learn(upstream, outcome, why, max(began, self._inbound.gathered_at))
        return outcome, why

    async def _asked(self, upstream: Upstream, began: float) -> tuple[Asked, str | None]:
        asked = await self._ask(upstream, self._number)
        try:
            return asked, await self._judged(asked, max(began, self._inbound.gathered_at))
        except BaseException:
            asked.release()
            raise

    async def _judged(self, asked: Asked, began: float) -> str | None:
        """Why an answer is none that the client should get as long as another is to be had.

        Raises the error that a stream broke off with before its first content.
        """
        if self._retry is not None:
            condition = self._route.retry_condition
            if asked.head.status in self._route.retry_codes:
                return str(asked.head.status)
            if condition is not None and condition.holds(self._exchange, asked.head):
                return "retry condition"
        if not asked.upstream.is_llm:
            return None
        if is_failure(asked.head):
            return str(asked.head.status)
        timeout = self._route.timeout or _NO_TIMEOUT
        if timeout.stream_idle is not None:
            asked.connection.bound_silence(timeout.stream_idle)
        if isinstance(asked.passage, Events):
            return await self._beginning(asked, asked.passage, began, timeout.first_byte)
        body = asked.connection.body
        if isinstance(asked.passage, Rewritten):
            await body.peek(_MOST_WHOLE)  # one that breaks off is no answer
        elif isinstance(asked.passage, Document) and not body.done:
            await _whole(body)
        return None

    def _unwell(self, asked: Asked) -> bool:
        """Whether an answer speaks against its endpoint, by its own rule or that of most."""
        unhealthy = asked.upstream.unhealthy
        return is_failure(asked.head) if unhealthy is None else unhealthy.holds(self._exchange, asked.head)

    async def _beginning(self, asked: Asked, events: Events, began: float, first_byte: float | None) -> str | None:
        """The same, of a stream: what its beginning tells."""
        left = _MOST_HELD if first_byte is None else began + first_byte - time.monotonic()
        if not await first_content(asked, events, max(left, 0)):
            if first_byte is None:
                asked.judge = events.begun = partial(self._judge, asked, events, began)
                return None
            raise RanOutError(Limit("timeout.firstByteTimeout", first_byte))
        return ERROR_IN_STREAM if events.failed else None

    def _judge(self, asked: Asked, events: Events, began: float) -> None:
        """What a stream tells of its endpoint that went out without content: with its first one, or at its end."""
        asked.judge = events.begun = None
        body = asked.connection.body
        if events.opened or events.failed:
            self._learn(asked.upstream, asked, ERROR_IN_STREAM if events.failed else None, began)
        elif body.done or body.error is not None:
            error = body.error or EmptyStreamError()
            self._learn(asked.upstream, error, why_of(error), began)
        else:  # its client has left
            asked.upstream.endpoint.vitals.unknown(self)

    def _learn(self, upstream: Upstream, outcome: Asked | GatewayError, why: str | None, began: float) -> None:
        vitals = upstream.endpoint.vitals
        now = time.monotonic()
        status, pause = 0, None
        if isinstance(outcome, Asked):
            status = outcome.head.status
            unwell = why == ERROR_IN_STREAM or self._unwell(outcome)
            if why is not None or unwell:
                pause = pause_of(status, outcome.head.fields, time.time())
            if pause is not None:
                self._pause = pause if self._pause is None else min(pause, self._pause)
            if not unwell:  # `retry` may have it asked again all the same
                if vitals.succeeded(self, now - began, now, upstream.eviction):
                    _log.info("%s at %s is well again", upstream.backend.name, upstream.endpoint.text)
                return
        elif not self._charged(outcome, now - began):
            vitals.unknown(self)
            return
        if vitals.failed(self, now, upstream.eviction, pause, throttled=status == 429):
            self._metrics.count_eviction(upstream.backend.name, upstream.endpoint.text)
            left = (vitals.evicted_until or now) - now
            what = (upstream.backend.name, upstream.endpoint.text, left, why or status)
            _log.warning("%s at %s gets no requests for %.3g s while others can take them; last failure: %s", *what)

    def _charged(self, error: GatewayError, spent: float) -> bool:
        """Whether it tells of the endpoint, which had `spent` seconds.

        A timeout does not while the client's body was still coming, nor where the time for all attempts ran out and
        less than half of it was this one's: a pause, or the others, had the rest.
        """
        if error.reason is Reason.UPSTREAM_TIMEOUT and not self._inbound.complete:
            return False
        if isinstance(error, RanOutError) and error.limit is self._route.answer_limit:
            return spent >= _OWN_SHARE * error.limit.seconds
        return True

    def _following(self, failed: Upstream, outcome: Asked | GatewayError) -> _Following | None:
        """The next one to ask; None when there is none, or this request must not be sent again."""
        if self._number + 1 >= _MOST_ATTEMPTS or not self._repeatable(failed, outcome):
            return None
        now = time.monotonic()
        limit = self._route.answer_limit
        left = math.inf if limit is None else self._began + limit.seconds - now
        upstream = None if self._repetitions else self._untried()
        if upstream is not None:
            return _Following(upstream, 0.0) if left > _GRAIN else None
        retry = self._retry
        if retry is None or _untranslatable(outcome) or self._repetitions >= retry.attempts:
            return None
        pause = retry.backoff * random.uniform(1.0, 1.5)  # noqa: S311 - so that not all come back at once
        if pause >= left or not self._route.budget.withdraw(now):
            return None
        self._repetitions += 1
        upstream = self._untried()
        if upstream is None:
            self._tried.clear()
            upstream = self.first()
        return _Following(upstream, pause)

    def _untried(self) -> Upstream | None:
        """One of the share; for a call, one of the others rather than one that is evicted."""
        now = time.monotonic()
        upstream = self._share.admitted(self._tried, now, self._key(self._share))
        if upstream is not None:
            return upstream
        if self._others is None:
            others = self._route.others(self._share) if self._share.is_llm else []
            self._others = [share for share in others if share.is_llm]
        for share in self._others:
            upstream = share.admitted(self._tried, now, self._key(share))
            if upstream is not None:
                return upstream
        for share in (self._share, *self._others):
            upstream = share.last_resort(self._tried, now, self._key(share))
            if upstream is not None:
                return upstream
        return None

    def _key(self, share: Balancer) -> bytes | None:
        return share.key(self._exchange) if share.key is not None else None

    def _repeatable(self, failed: Upstream, outcome: Asked | GatewayError) -> bool:
        if self._inbound.spent:
            return False
        if failed.is_llm or isinstance(outcome, Asked):
            return True  # an answer that was not taken is one that the route's `retry` names
        return outcome.reason in NEVER_ARRIVED or self._exchange.method in IDEMPOTENT or self._retry is not None

    def _told(self, error: GatewayError) -> GatewayError:
        """`error`, with all that was tried before it."""
        attempts = self._exchange.record.attempts or []
        if len(attempts) == 1:
            return error
        shown = self._route.shows_endpoints
        tried = ", ".join(f"{attempt.endpoint if shown else attempt.name} ({attempt.why})" for attempt in attempts)
        last, detail = error.message, error.detail
        if not shown and isinstance(error, ConnectError):  # its words name the address, which is for the log alone
            last, detail = f"no connection (phase {error.phase}).", last
        message = f"No endpoint answered; tried: {tried}. The last one: {last}"
        return GatewayError(error.reason, message, detail, retry_after=self._pause)


async def _whole(body: Body) -> None:
    """Hold an answer that is no stream until all of it is here. Raises the error it broke off with.

    One that is long goes out as it comes, and so does one that still comes after _MOST_HELD: providers send white space
    until they know the answer, for clients that take silence for death.
    """
    try:
        async with asyncio.timeout(_MOST_HELD):
            await body.peek(_MOST_WHOLE)
    except TimeoutError:
        await body.peek(body.size)


def _untranslatable(outcome: Asked | GatewayError) -> bool:
    return isinstance(outcome, GatewayError) and outcome.reason is Reason.UNTRANSLATABLE


def _refused(upstream: Upstream, asked: Asked) -> GatewayError:
    """An answer that the client might have got, had there not been another to ask."""
    return GatewayError(Reason.BAD_ANSWER, f"{upstream.public_name} answered {asked.head.status}.")
