"""The line: one coroutine walks a request from its head to its account, top to bottom.

    match ► request policies ► pick upstream ► read the call ► compose ► ask ► pass the answer on ► account

Each step is one function, in that order; `ask` and `answer` have a file each. A request works with the snapshot it
began with, whatever is loaded meanwhile, and ends in `_account`, however it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from time import perf_counter
from typing import TypeVar

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange, LocalReply
from torana.http.message import end_hop
from torana.http.request import Request
from torana.http.server import ServerConnection
from torana.llm.operation import Operation, operation_of
from torana.policies.order import RequestPolicy
from torana.proxy.answer import pass_on
from torana.proxy.ask import Asked, Asking, hint
from torana.proxy.attempts import NO_ANSWER, is_failure, note, note_broken, note_lost, why_of
from torana.proxy.balancer import Balancer
from torana.proxy.call import aimed, counted_here, read_call
from torana.proxy.deadlines import lasting, within
from torana.proxy.failover import Failover
from torana.proxy.inbound import Inbound
from torana.proxy.mirror import Mirrors
from torana.proxy.model_list import is_listed, merged_list
from torana.proxy.models import ModelTable, asked_model, model_id
from torana.proxy.passage import passage_for
from torana.proxy.reply import error_reply, new_id, refusal, render_reply, request_id
from torana.proxy.room import Room
from torana.proxy.router import Candidate
from torana.proxy.snapshot import CompiledRoute, Snapshot
from torana.proxy.upgrade import switch
from torana.proxy.upstream import Upstream
from torana.telemetry.access_log import AccessLog
from torana.telemetry.metrics import Metrics
from torana.telemetry.record import Placement, Record

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_ATTEMPT = b"x-retry-attempt"


class Gateway:
    """Serves requests by its `snapshot`, which may be replaced at any time."""

    def __init__(self, snapshot: Snapshot, metrics: Metrics, access_log: AccessLog) -> None:
        self.snapshot = snapshot
        self.metrics = metrics
        self.room = Room(snapshot.config.limits.max_total_bytes)
        self._access_log = access_log
        self._mirrors = Mirrors(self._ask, metrics)

    def close(self) -> None:
        """Give up what no client waits for."""
        self._mirrors.close()

    async def serve(self, request: Request, connection: ServerConnection) -> None:
        """The handler of every listening port."""
        exchange = _begin(request, connection)
        record = exchange.record
        route: CompiledRoute | None = None
        inbound = Inbound(request, connection, self.room)
        try:
            route = match(self.snapshot, connection.server.port, exchange).route
            record.placement = route.placement
            if route.operations is not None:
                exchange.operation, exchange.opaque = route.operations(exchange.path)
            reply = _run(route.before, exchange) if route.before else None
            if route.stages and reply is None:
                reply = await _in_time(_wait(route, exchange, inbound), exchange, route, inbound)
            if reply is None and route.models is not None:
                choosing = choose(route.models, inbound, exchange, self.snapshot.config.limits.max_body_bytes)
                choice = await _in_time(choosing, exchange, route, inbound)
                if isinstance(choice, LocalReply):
                    reply = choice
                else:
                    route = choice
                    record.placement = route.placement
                    reply = _run(route.before, exchange) or await _wait(route, exchange, inbound)
            if reply is not None:
                _reply(connection, exchange, route, reply)
            else:
                await self._forward(inbound, exchange, route)
        except GatewayError as error:
            _fail(connection, exchange, route, error.bare())
        except asyncio.CancelledError:
            cut = _cut(connection)
            record.status = record.status or cut.reason.fault.status
            _note(record, cut)
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback; the client gets an answer
            _log.exception("a request failed inside the gateway")
            _fail(connection, exchange, route, GatewayError(Reason.INTERNAL, "The gateway failed.", repr(error)))
        finally:
            self._account(record)
            if inbound.kept or exchange.charge is not None:
                _settle(inbound, exchange)

    def refuse(self, error: GatewayError, connection: ServerConnection) -> bytes:
        """The answer to something that never became a request; accounted for like one."""
        record = Record(perf_counter())
        record.peer = connection.peer
        record.placement = Placement(f"bind/{connection.server.port}", "unknown", "unknown")
        record.status = error.reason.fault.status
        record.request_id = new_id()
        _note(record, error)
        self._account(record)
        return refusal(error, record.request_id)

    async def _forward(self, inbound: Inbound, exchange: Exchange, route: CompiledRoute) -> None:
        connection = inbound.client
        if exchange.operation is Operation.MODELS and is_listed(exchange, route.upstreams):
            _reply(connection, exchange, route, await merged_list(exchange, route, self.metrics))
            return
        if route.mirrors and not inbound.request.upgrade:
            copying = self._mirrors.copy(inbound, exchange, route, self.snapshot.config.limits.max_body_bytes)
            await _in_time(copying, exchange, route, inbound)
        lone, limit, timeout = route.only, route.answer_limit, route.timeout
        if lone is None or lone.redirect is not None:
            found = await self._fail_over(inbound, exchange, route)
            if found is None:
                return
            asked = found
        else:
            asking = self._ask(inbound, exchange, route, lone)
            spent = perf_counter() - exchange.record.started
            try:
                asked = await (asking if limit is None else within(asking, limit, spent, inbound))
            except GatewayError as error:
                await self._count_here(inbound, exchange, route, lone, error)
                return
            if asked.head.status >= 429 and lone.is_llm and is_failure(asked.head):
                note(exchange.record, self.metrics, lone, str(asked.head.status))
                asked.told = True
        exchange.content = None
        inbound.let_go()  # it went upstream, and is not kept for as long as a stream lasts
        pass_to_end = pass_on if asked.head.status != 101 else switch
        try:
            if timeout is None:
                await pass_to_end(exchange, connection, asked, route)
            else:
                with lasting(asked.connection, timeout, exchange.record.started):
                    await pass_to_end(exchange, connection, asked, route)
        except GatewayError as error:
            note_lost(exchange.record, self.metrics, asked, error)
            raise
        finally:
            if exchange.record.error is not None or inbound.form is not None or asked.judge is not None:
                self._note_end(inbound, exchange, asked)
            endpoint = asked.upstream.endpoint  # `asked.release()`, without the call
            endpoint.vitals.pending -= 1
            endpoint.lane.give(asked.connection)

    async def _fail_over(self, inbound: Inbound, exchange: Exchange, route: CompiledRoute) -> Asked | None:
        """The answer of one of the route's endpoints; None when the request is answered here."""
        failover = Failover(
            partial(self._ask, inbound, exchange, route), inbound, exchange, route, pick(route), self.metrics
        )
        upstream = failover.first()
        if upstream.redirect is not None:
            exchange.record.backend = upstream.backend.name
            _reply(inbound.client, exchange, route, upstream.redirect.on_request(exchange))
            return None
        try:
            return await failover.run(upstream)
        except GatewayError as error:
            await self._count_here(inbound, exchange, route, upstream, error)
            return None

    async def _count_here(
        self, inbound: Inbound, exchange: Exchange, route: CompiledRoute, upstream: Upstream, error: GatewayError
    ) -> None:
        """Answer a count of tokens that no provider can be asked for; raises any other `error`.

        That of a lone endpoint is told of; Failover has told of others.
        """
        if upstream is route.only and error.reason in NO_ANSWER:
            note(exchange.record, self.metrics, upstream, why_of(error))
        if error.reason is not Reason.UNTRANSLATABLE or exchange.record.operation != Operation.COUNT_TOKENS.text:
            raise error
        body = await inbound.gather(self.snapshot.config.limits.max_body_bytes)
        exchange.record.endpoint = ""
        _reply(inbound.client, exchange, route, counted_here(body, upstream.model))

    def _note_end(self, inbound: Inbound, exchange: Exchange, asked: Asked) -> None:
        """What is known at the end of an answer: whether it broke off, or was one, and the model of a form."""
        if asked.judge is not None:
            asked.judge()
        if exchange.record.error is not None:
            note_broken(exchange.record, self.metrics, asked)
        _note_model(exchange.record, inbound)

    async def _ask(
        self, inbound: Inbound, exchange: Exchange, route: CompiledRoute, upstream: Upstream, number: int = 0
    ) -> Asked:
        """Read the call, compose the upstream request, and wait for the head of its answer.

        `number` counts the upstreams that were asked before.
        """
        record = exchange.record
        record.backend = upstream.backend.name
        record.endpoint = upstream.endpoint.text
        call = None
        limit = self.snapshot.config.limits.max_body_bytes
        if upstream.is_llm:
            target, operation = aimed(exchange, upstream)
            call = await read_call(inbound, exchange, upstream, operation, limit)
        else:
            target = upstream.target(exchange)
        if call is None and (route.retry is not None or (upstream.is_llm and route.only is None)):
            await inbound.gather_if_short(limit)
        if number:  # in the place of what a gateway before this one said
            others = (each for each in exchange.fields if each[0] != _ATTEMPT)
            exchange.fields = [*others, (_ATTEMPT, _ATTEMPT, b"%d" % number)]
        translation = None if call is None else call.translation
        plain = translation is not None or (call is not None and call.prepared.stream)
        outgoing = upstream.compose(exchange, target, plain=plain, translation=translation)
        asking = Asking(exchange, upstream, outgoing, self.metrics, upstream.attempt_limit)
        vitals = upstream.endpoint.vitals
        vitals.pending += 1
        try:
            answered = await (asking.unread(inbound) if call is None else asking.call(call))
        except BaseException as error:
            vitals.pending -= 1
            _note_model(record, inbound)
            if isinstance(error, GatewayError):
                error.message += hint(error, upstream)
            raise
        passage = passage_for(answered.head, record, call, inbound.form)
        return Asked(upstream, answered.connection, answered.head, passage, [])

    def _account(self, record: Record) -> None:
        record.ended = perf_counter()
        self.metrics.count(record)
        self._access_log.write(record)


def _cut(connection: ServerConnection) -> GatewayError:
    """Why a request under way was cancelled."""
    if connection.server.cutting:
        return GatewayError(Reason.CUT_OFF, "the gateway stopped, and the time to drain was over before the answer was")
    return GatewayError(Reason.CLIENT_LEFT, "the client left before the end of its answer")


def _settle(inbound: Inbound, exchange: Exchange) -> None:
    """What there seldom is to do after a request's account."""
    inbound.let_go()
    if exchange.charge is not None:
        exchange.charge(exchange.record)


# the steps that `explain` takes too


def match(snapshot: Snapshot, port: int, exchange: Exchange) -> Candidate[CompiledRoute]:
    """The route of a request. Raises NO_ROUTE, saying what was looked for, or MISDIRECTED (RFC 9110, 15.5.20)."""
    bind = snapshot.binds.get(port)
    if bind is None:
        raise GatewayError(Reason.NO_ROUTE, f"Port {port} is no longer in the gateway's configuration.")
    listener = bind.listener_for(exchange.host)
    host = exchange.record.host or "(none)"
    if listener is None:
        raise GatewayError(Reason.NO_ROUTE, f"No listener on port {port} takes the host {host}.")
    if exchange.sni is not None and bind.listener_for(exchange.sni.encode()) is not listener:
        message = f"This connection was made for {exchange.sni}, which another listener than that of the Host serves."
        raise GatewayError(Reason.MISDIRECTED, message)
    candidate = listener.routes.find(exchange)
    if candidate is None:
        exchange.record.placement = Placement(bind.name, listener.listener.name, "unknown")
        raise GatewayError(
            Reason.NO_ROUTE,
            f"No route matches {exchange.method.decode()} {exchange.path.decode('latin-1')} for the host "
            f"{host} on port {port}: listener {listener.listener.name} has "
            f"{len(listener.routes.compiled)} route(s), and none fits in hostname, path, method, headers and query.",
        )
    return candidate


def before(route: CompiledRoute, exchange: Exchange) -> LocalReply | None:
    """Run the request policies, without waiting for anything; the first that replies ends the request."""
    chains = (route.before, *(stage.then for stage in route.stages))
    return next((reply for chain in chains if (reply := _run(chain, exchange)) is not None), None)


async def choose(models: ModelTable, inbound: Inbound, exchange: Exchange, limit: int) -> CompiledRoute | LocalReply:
    """The route of the model that a request names, or the list of models. Raises MODEL_NOT_FOUND and MODEL_MISSING."""
    operation = exchange.operation or operation_of(exchange.path)
    if operation is Operation.MODELS and exchange.method in (b"GET", b"HEAD"):
        name = model_id(exchange)
        return models.one(name, exchange) if name else models.listing(exchange)
    model = await asked_model(models, inbound, exchange, operation, limit)
    exchange.content = inbound.content
    exchange.model = exchange.record.model = model
    if model is None:
        return models.otherwise(exchange)
    return models.find(model, exchange)


def pick(route: CompiledRoute) -> Balancer:
    """One of the route's shares. Raises NO_BACKEND."""
    share = route.draw()
    if share is None:
        why = "none has a weight above 0, or the one chosen is broken"
        message = f"The route {route.route.name} has no backend for this request: {why}."
        raise GatewayError(Reason.NO_BACKEND, message)
    return share


# the steps between


def _run(policies: tuple[RequestPolicy, ...], exchange: Exchange) -> LocalReply | None:
    for policy in policies:
        reply = policy(exchange)
        if reply is not None:
            return reply
    return None


async def _in_time(work: Awaitable[_T], exchange: Exchange, route: CompiledRoute, inbound: Inbound) -> _T:
    """`work` before anybody is asked, within the time that an answer has. Raises what `within` does."""
    limit = route.answer_limit
    if limit is None:
        return await work
    return await within(work, limit, perf_counter() - exchange.record.started, inbound)


async def _wait(route: CompiledRoute, exchange: Exchange, inbound: Inbound) -> LocalReply | None:
    """Run the policies that have to be waited for, and those that run after each."""
    for stage in route.stages:
        await stage.wait(exchange, inbound)
        reply = _run(stage.then, exchange)
        if reply is not None:
            return reply
    return None


def _begin(request: Request, connection: ServerConnection) -> Exchange:
    record = Record(perf_counter())
    record.peer = connection.peer
    record.sni = connection.sni
    record.method = request.method.decode("ascii")
    record.host = request.host.decode("latin-1")
    record.path = request.path.decode("latin-1")
    record.version = request.version
    end_hop(request.fields)
    scheme = b"https" if connection.tls else b"http"
    return Exchange(
        record, request.method, scheme, request.host, request.path, request.query, request.fields, connection.sni
    )


def _reply(connection: ServerConnection, exchange: Exchange, route: CompiledRoute | None, reply: LocalReply) -> None:
    if route is not None:
        for policy in route.after:
            policy(exchange, reply.fields)
    exchange.record.status = reply.status
    if exchange.record.reason == "Upstream":  # by which no error has ended it either
        exchange.record.reason = "DirectResponse"
    connection.respond(render_reply(reply), b"" if exchange.method == b"HEAD" else reply.body)


def _fail(connection: ServerConnection, exchange: Exchange, route: CompiledRoute | None, error: GatewayError) -> None:
    """End a request with an error: as an answer, or, when an answer has begun, by not completing it."""
    record = exchange.record
    record.request_id = request_id(exchange.fields)
    _note(record, error)
    if connection.answer_started:
        connection.cut()
    else:
        operation = exchange.operation or operation_of(exchange.path)
        _reply(connection, exchange, route, error_reply(error, record.request_id, operation))


def _note_model(record: Record, inbound: Inbound) -> None:
    """The model that a form named, as far as it has passed, unless one was set in it."""
    if inbound.form is not None:
        record.model = record.model or inbound.form.asked


def _note(record: Record, error: GatewayError) -> None:
    record.reason = error.reason.fault.label
    record.error = f"{error.message} ({error.detail})" if error.detail else error.message
