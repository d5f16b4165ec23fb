"""Asking: a request goes upstream and the head of its answer comes back.

Three things are put right on the way without the client noticing: a pooled connection that had been closed meanwhile,
an option that was added here and that the upstream refuses, and a client's body that is still arriving while the
upstream already reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.client import UpstreamConnection
from torana.http.message import ResponseHead
from torana.http.outbox import LARGE
from torana.http.upgrade import LINES
from torana.llm.request import Pieces
from torana.proxy.call import Call
from torana.proxy.deadlines import Limit, within
from torana.proxy.inbound import Inbound
from torana.proxy.passage import Events, Passage
from torana.proxy.upstream import Outgoing, Upstream
from torana.telemetry.metrics import Metrics

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))  # RFC 9110, 9.2.2

_MOST_OCTETS = 256 * 1024  # octets of a stream without content; a role and some comments have a few hundred
_REFUSAL_READ = 64 * 1024  # bytes of a 400 or 422 that are looked through for the name of an option
_MOST_OPTIONS = 1000  # refusals of one upstream that are remembered; clients choose models and values


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer whose head is here and whose body follows on `connection`."""

    connection: UpstreamConnection
    head: ResponseHead


class Asked(msgspec.Struct, gc=False):
    """What came of asking one upstream. `held` is the beginning of a body that was looked at before it is passed on.

    `told`: that it is a failure is in the record already. `judge` is to be called at its end, where it went out before
    it was known whether it is one.
    """

    upstream: Upstream
    connection: UpstreamConnection
    head: ResponseHead
    passage: Passage
    held: list[bytes]
    told: bool = False
    judge: Callable[[], None] | None = None

    def release(self) -> None:
        """The answer has ended, one way or another: its connection is kept for the next request if it can have one."""
        endpoint = self.upstream.endpoint
        endpoint.vitals.pending -= 1
        endpoint.lane.give(self.connection)


class Asking:
    """One request's way upstream and back. The connection of its answer is the caller's to give back to the lane.

    All ways raise CONNECT_FAILED, CONNECT_TIMEOUT, UPSTREAM_CLOSED, BAD_ANSWER or UPSTREAM_TIMEOUT, and then have
    closed what they opened.
    """

    __slots__ = ("_exchange", "_limit", "_metrics", "_outgoing", "_upstream")

    def __init__(
        self, exchange: Exchange, upstream: Upstream, outgoing: Outgoing, metrics: Metrics, limit: Limit | None
    ) -> None:
        """`limit`: how long one attempt may take until the head of its answer."""
        self._limit = limit
        self._exchange = exchange
        self._upstream = upstream
        self._outgoing = outgoing
        self._metrics = metrics

    async def call(self, call: Call) -> Answered:
        """A call whose body is at hand. If the upstream refuses an option that was added here, it is asked without."""
        answered = await self._send(call.prepared.pieces)
        first = call
        while answered.head.status in (400, 422) and (call.prepared.usage_added or call.translation is not None):
            try:
                refusal = await answered.connection.body.peek(_REFUSAL_READ)
            except BaseException:
                answered.connection.close()
                raise
            less = call.less(answered.head.status, refusal)
            if less is None:
                return answered
            call = less
            self._upstream.endpoint.lane.give(answered.connection)
            self._exchange.record.retries += 1
            self._exchange.record.untranslated = call.lost
            answered = await self._send(call.prepared.pieces)
        if call is not first and answered.head.status not in (400, 422):
            self._remember(first, call)
        return answered

    def _remember(self, asked: Call, taken: Call) -> None:
        """What the upstream does not know: it took a call without that."""
        endpoint = self._upstream.endpoint
        if asked.prepared.usage_added and not taken.prepared.usage_added:
            endpoint.takes_usage_option = False
        if asked.body is not taken.body and len(endpoint.refused_options) < _MOST_OPTIONS:
            left_out = asked.options.items() - taken.options.items()
            endpoint.refused_options |= {(asked.prepared.model, name, value) for name, value in left_out}

    async def bare(self) -> Answered:
        """A request without a body."""
        return await self._send((), had_body=False)

    async def unread(self, inbound: Inbound) -> Answered:
        """A request whose body nobody here reads: sent as it arrives, or at once when it has arrived already."""
        request = inbound.request
        body = request.body
        if request.upgrade:
            attempt = self._offer()
            return await (attempt if self._limit is None else within(attempt, self._limit))
        if inbound.content is None and body.done:
            inbound.content = b"".join(body.take())
        if inbound.content is not None:
            had_body = body.size > 0 or request.content_length is not None  # `content-length: 0` goes on as it came
            content = inbound.content if inbound.form is None else inbound.form.whole(inbound.content)
            return await self._send((content,), had_body=had_body)
        attempt = self._stream(inbound)
        return await (attempt if self._limit is None else within(attempt, self._limit))

    async def _offer(self) -> Answered:
        """WebSocket offered to the upstream, on a connection that serves nothing else."""
        connection = await self._connect()
        connection.offers = True
        return await self._converse(connection, b"".join([*self._outgoing.parts, LINES, b"\r\n"]))

    async def _stream(self, inbound: Inbound) -> Answered:
        connection = await self._connect()  # never a pooled one: what is streamed cannot be sent twice
        inbound.spent = True
        request, client, form = inbound.request, inbound.client, inbound.form
        length = request.content_length if form is None or form.keeps_length else None
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        try:
            connection.send(b"".join([*self._outgoing.parts, framing, b"\r\n\r\n"]), self._exchange.method)
            connection.upload(request.body, client, chunked=length is None, through=form)
            return Answered(connection, await connection.answer())
        except BaseException:
            connection.close()
            raise

    async def _send(self, body: Pieces, *, had_body: bool = True) -> Answered:
        """A request with its body at hand. A pooled connection that turns out closed is replaced, if that is safe."""
        size = len(body[0]) if len(body) == 1 else sum(map(len, body))
        parts: list[bytes | memoryview] = [*self._outgoing.parts]
        if had_body:
            parts.append(b"content-length: %d\r\n" % size)
        parts.append(b"\r\n")
        if size <= LARGE:
            parts += body
            body = ()
        data = b"".join(parts)
        connection = self._upstream.endpoint.lane.take()
        if connection is not None:
            try:
                attempt = self._converse(connection, data, body)
                return await (attempt if self._limit is None else within(attempt, self._limit))
            except GatewayError as error:
                # RFC 9112, 9.3.1: a connection may close at any time; nothing came back on this one, so it was stale.
                # Or it was not, and the request was acted on: a proxy must not repeat what cannot be done twice.
                if error.reason is not Reason.UPSTREAM_CLOSED or connection.received or not self._repeatable:
                    raise
            self._exchange.record.retries += 1
        attempt = self._converse(None, data, body)
        return await (attempt if self._limit is None else within(attempt, self._limit))

    @property
    def _repeatable(self) -> bool:
        """A call of a language model is, at worst, paid for twice."""
        return self._upstream.is_llm or self._exchange.method in IDEMPOTENT

    async def _converse(self, connection: UpstreamConnection | None, data: bytes, behind: Pieces = ()) -> Answered:
        if connection is None:
            connection = await self._connect()
        try:
            connection.send(data, self._exchange.method, behind)
            return Answered(connection, await connection.answer())
        except BaseException:
            connection.close()
            raise

    async def _connect(self) -> UpstreamConnection:
        started = perf_counter()
        lane = self._upstream.endpoint.lane
        connection = await lane.connect()
        self._metrics.count_connect("plaintext" if lane.address.tls is None else "tls", perf_counter() - started)
        return connection


async def first_content(asked: Asked, events: Events, limit: float) -> bool:
    """Hold the beginning of a stream until its first content, its end, or its error; False after `limit` seconds.

    More than _MOST_OCTETS octets count as content. Raises the error that the stream broke off with.
    """
    body = asked.connection.body
    held = 0
    try:
        async with asyncio.timeout(limit):
            while not (events.opened or events.failed or held > _MOST_OCTETS):
                chunks = await body.more()
                if not chunks:
                    asked.held += events.end()
                    break
                held += sum(map(len, chunks))
                asked.held += events.read(chunks)
    except TimeoutError:
        return False
    return True


def hint(error: GatewayError, upstream: Upstream) -> str:
    """The likely cause when a port that usually speaks TLS was reached without; empty for any other error."""
    if not upstream.plaintext_443 or error.reason not in (Reason.UPSTREAM_CLOSED, Reason.BAD_ANSWER):
        return ""
    return " Its port 443 was reached in plaintext; if it speaks TLS, add `backendTLS: {}` to the policies."
