"""The list of models of a route whose rules say that a path is one: merged over its backends.

What the configuration says of a backend is taken from there; where the client chooses the model, the upstream is asked,
with what it gets of every request: host, path, headers and credential.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from time import perf_counter
from typing import Any, Final

import msgspec

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange, LocalReply
from torana.llm.operation import Operation
from torana.llm.usage import UNREADABLE
from torana.proxy.ask import Asking
from torana.proxy.attempts import note
from torana.proxy.language import CREDENTIALS
from torana.proxy.models import describer, list_reply, model_id
from torana.proxy.reply import listed
from torana.proxy.runtime import Listing
from torana.proxy.snapshot import CompiledRoute
from torana.proxy.upstream import Upstream
from torana.telemetry.metrics import Metrics
from torana.telemetry.record import Record

_LONGEST_WAIT: Final = 5.0  # seconds for one upstream
_MOST_READ: Final = 1024 * 1024  # bytes of one upstream's answer
_KEPT: Final = 60.0  # seconds that an answer is good for
_MOST_KEPT: Final = 8  # answers of one endpoint; they differ by credential, path and host
_PARTIAL: Final = b"x-torana-partial"


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


class _Model(msgspec.Struct):
    id: str


_list_of: Final = msgspec.json.Decoder(_List | list[msgspec.Raw]).decode  # Together's is a bare array
_model_of: Final = msgspec.json.Decoder(_Model).decode


def is_listed(exchange: Exchange, upstreams: Iterable[Upstream]) -> bool:
    """Whether a request that the route calls `models` is one for the list that is made here.

    One model by its id, and what none of the route's backends could have a list for, go on like any other request.
    """
    return exchange.method in (b"GET", b"HEAD") and not model_id(exchange) and bool(askable(upstreams))


async def merged_list(exchange: Exchange, route: CompiledRoute, metrics: Metrics) -> LocalReply:
    """The list in the form of the client's API, each id once. Who did not answer is named in its head and the log.

    When the route's time for an answer is over no upstream is waited for.
    """
    record = exchange.record
    record.protocol = "llm"
    record.operation = Operation.MODELS.text
    upstreams = askable(route.upstreams)
    limit = route.answer_limit
    describe = describer(exchange)
    models: dict[str, Any] = {}
    missing: dict[str, None] = {}
    left = None if limit is None else limit.seconds - (perf_counter() - record.started)
    answers = await asyncio.gather(*(_models_of(upstream, exchange, metrics, left) for upstream in upstreams))
    for upstream, answer in zip(upstreams, answers, strict=True):
        for name in upstream.named_models:
            models.setdefault(name, describe(name))
        if isinstance(answer, str):
            missing[upstream.endpoint.text if route.shows_endpoints else upstream.public_name] = None
            note(record, metrics, upstream, answer)
        else:
            for name, model in answer.items():
                models.setdefault(name, model)
    reply = list_reply(exchange, models)
    if missing:
        reply.fields.append((_PARTIAL, _PARTIAL, listed(missing)))
    return reply


def askable(upstreams: Iterable[Upstream]) -> list[Upstream]:
    """Those that may have models of their own, asked for them or not."""
    return [upstream for upstream in upstreams if upstream.is_llm and upstream.redirect is None]


async def _models_of(upstream: Upstream, exchange: Exchange, metrics: Metrics, left: float | None) -> Listing:
    """The models that an upstream lists, by id; none where the configuration says which it is.

    It is waited for as long as `left` (seconds); what comes later is kept for the next client.
    """
    if upstream.model is not None:
        return {}
    # Of the client's fields only its keys matter, which go on where the backend has none of its own.
    fields = [each for each in exchange.fields if each[0] in CREDENTIALS]
    asked = Exchange(
        Record(perf_counter()), b"GET", exchange.scheme, exchange.host, exchange.path, None, fields,
        matched_prefix=exchange.matched_prefix, operation=Operation.MODELS,
    )  # fmt: skip
    try:
        outgoing = upstream.compose(asked, upstream.list_target(asked), plain=True)
    except GatewayError as error:
        return error.reason.fault.code
    # The request tells all that the answer may depend on, the credential too: no client gets another's list.
    key = hashlib.blake2b(b"".join(outgoing.parts)).digest()
    known = upstream.endpoint.listings
    now = asyncio.get_running_loop().time()
    since, task = known.get(key, (now, None))
    if task is None or (task.done() and (now - since >= _KEPT or isinstance(task.result(), str))):
        asking = Asking(asked, upstream, outgoing, metrics, upstream.attempt_limit)
        task = asyncio.create_task(_answer(asking, upstream))
        known.pop(key, None)
        if len(known) >= _MOST_KEPT:
            del known[next(iter(known))]
        known[key] = (now, task)
    try:
        async with asyncio.timeout(left):
            return await asyncio.shield(task)  # others may wait for it too
    except TimeoutError:
        return Reason.UPSTREAM_TIMEOUT.fault.code


async def _answer(asking: Asking, upstream: Upstream) -> Listing:
    endpoint = upstream.endpoint
    endpoint.vitals.pending += 1
    try:
        async with asyncio.timeout(_LONGEST_WAIT):
            answered = await asking.bare()
            try:
                content = await answered.connection.body.peek(_MOST_READ)
                done = answered.connection.body.done
            finally:
                endpoint.lane.give(answered.connection)
    except TimeoutError:
        return Reason.UPSTREAM_TIMEOUT.fault.code
    except GatewayError as error:
        return error.reason.fault.code
    finally:
        endpoint.vitals.pending -= 1
    if answered.head.status != 200:
        return str(answered.head.status)
    if not done or len(content) > _MOST_READ:
        return Reason.ANSWER_TOO_LARGE.fault.code
    try:
        given = _list_of(content)
        models = given.data if isinstance(given, _List) else given
        return {_model_of(model).id: model for model in models}
    except UNREADABLE:
        return Reason.BAD_ANSWER.fault.code
