"""Call: what a request asks of a language model, and its body with the backend's model in it.

The operation is read from the path that goes on, else from the client's. A body of a known operation must be JSON and
name a model somewhere. A path that says nothing may still be an operation newer than this gateway (moderations,
images, ...): there, a JSON body gets the configured model, and whatever else it is goes on untouched.
"""

from __future__ import annotations

import msgspec

from torana.errors import GatewayError
from torana.exchange import Exchange
from torana.http.message import field
from torana.llm.operation import Operation, operation_of
from torana.llm.request import Prepared, prepare
from torana.proxy.inbound import Inbound
from torana.proxy.upstream import Upstream

_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))


class Call(msgspec.Struct, frozen=True, gc=False):
    """A body that was read: the client's, and what goes upstream in its place."""

    body: bytes
    prepared: Prepared


async def read_call(inbound: Inbound, exchange: Exchange, upstream: Upstream, target: bytes, limit: int) -> Call | None:
    """Gather the body of a call and set its model; None when the body, if any, is to be streamed unread.

    Raises BODY_TOO_LARGE, BAD_JSON and MODEL_MISSING.
    """
    record = exchange.record
    record.protocol = "llm"
    record.provider = upstream.provider
    operation = operation_for(exchange, target)
    if operation is not None:
        record.operation = operation.text
    if not reads_body(exchange, operation):
        return None
    body = inbound.content
    if body is None:
        body = await inbound.gather(limit)
    prepared = with_model(operation, upstream, body)
    record.model = prepared.model or None
    record.streaming = prepared.stream
    return Call(body, prepared)


def operation_for(exchange: Exchange, target: bytes) -> Operation | None:
    """By the path that goes on, else by the client's. Models are only listed: a POST below them is something else."""
    operation = operation_of(target.partition(b"?")[0]) or operation_of(exchange.path)
    return None if operation is Operation.MODELS and exchange.method in _WITH_BODY else operation


def reads_body(exchange: Exchange, operation: Operation | None) -> bool:
    """Whether the body is one that may name a model: multipart forms, audio and the like are not."""
    if exchange.method not in _WITH_BODY:
        return False
    if operation is not None:
        return operation.carries_model
    return (field(exchange.fields, b"content-type") or b"").startswith(b"application/json")


def with_model(operation: Operation | None, upstream: Upstream, body: bytes) -> Prepared:
    """The body as it goes upstream. Raises BAD_JSON and MODEL_MISSING for an operation that is known."""
    if operation is None:
        try:
            return prepare(body, upstream.model, add_usage=False)
        except GatewayError:
            return Prepared(body, "", None, stream=False, usage_added=False)
    return prepare(body, upstream.model, operation.takes_usage_option and upstream.endpoint.takes_usage_option)
