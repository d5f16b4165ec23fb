"""requestMirror: copies of requests for backends whose answers nobody reads, such as the next version of one.

A copy goes out beside the request and never in its way: who sent the request waits for nothing of it, and what becomes
of it is a number in the metrics. It is the request as the route's policies left it, credentials included, with what the
mirror's own backend says of host, path, headers and credential.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

import msgspec

from torana.errors import GatewayError
from torana.exchange import Exchange
from torana.proxy.ask import Asked
from torana.proxy.inbound import Inbound
from torana.proxy.snapshot import CompiledRoute
from torana.proxy.upstream import Upstream
from torana.telemetry.metrics import Metrics
from torana.telemetry.record import Record

_log = logging.getLogger(__name__)

_MOST = 100  # copies under way in one process; a mirror that is slower than its original gets less than all
_MOST_HELD = 64 * 1024 * 1024  # bytes of their bodies; one copy alone may be longer
_LONGEST = 300.0  # seconds until the end of an answer: as long as a long answer of a language model

Ask = Callable[[Inbound, Exchange, CompiledRoute, Upstream], Awaitable[Asked]]


class Mirrors:
    """The copies one process has under way."""

    def __init__(self, ask: Ask, metrics: Metrics) -> None:
        self._ask = ask
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = 0  # bytes of the bodies of these
        self._told: set[str] = set()

    async def copy(self, inbound: Inbound, exchange: Exchange, route: CompiledRoute, limit: int) -> None:
        """Send what the route's mirrors get of a request, once its body is here; nothing of one over `limit` octets.

        Raises the error the body failed with.
        """
        drawn = [mirror.upstream for mirror in route.mirrors if random.random() < mirror.share]  # noqa: S311 - a share
        if not drawn:
            return
        await inbound.gather_if_short(limit)
        for upstream in drawn:
            if inbound.content is None:
                self._metrics.count_mirrored(upstream.backend.name, "too_large")
                self._tell(route, limit)
            elif not self._has_room(len(inbound.content)):
                self._metrics.count_mirrored(upstream.backend.name, "dropped")
            else:
                again = Inbound(inbound.request, inbound.client, inbound.room)
                again.content = inbound.content
                fields = [*exchange.fields]
                record = Record(perf_counter())
                copied = msgspec.structs.replace(exchange, record=record, fields=fields, quota=None, charge=None)
                task = asyncio.create_task(self._send(again, copied, route, upstream))
                self._tasks.add(task)
                self._held += len(again.content)
                task.add_done_callback(partial(self._over, len(again.content)))

    def _has_room(self, size: int) -> bool:
        return not self._tasks or (len(self._tasks) < _MOST and self._held + size <= _MOST_HELD)

    def _over(self, size: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._held -= size

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()

    async def _send(self, inbound: Inbound, exchange: Exchange, route: CompiledRoute, upstream: Upstream) -> None:
        outcome = "failed"
        try:
            async with asyncio.timeout(_LONGEST):
                asked = await self._ask(inbound, exchange, route, upstream)
                try:
                    body = asked.connection.body
                    body.attach(_throw_away)
                    await body.finished()
                finally:
                    asked.release()
            outcome = "answered"
        except (GatewayError, TimeoutError) as error:
            _log.debug("a copy for %s failed: %s", upstream.backend.name, str(error) or "it took too long")
        except Exception:  # noqa: BLE001 - nobody waits for this task; a fault in it must not pass in silence
            _log.exception("a copy for %s failed inside the gateway", upstream.backend.name)
        finally:
            self._metrics.count_mirrored(upstream.backend.name, outcome)

    def _tell(self, route: CompiledRoute, limit: int) -> None:
        """Once for each route."""
        name = route.route.name
        if name not in self._told:
            self._told.add(name)
            _log.warning("route %s: requests with bodies over %d bytes are not mirrored", name, limit)


def _throw_away(_: list[bytes]) -> None:
    """The answer of a mirror."""
