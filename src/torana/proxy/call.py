"""Call: what a request asks of a language model, and its body as the backend is to get it.

The operation is what the route says of the path, else what the path that goes on looks like, else the client's. The
body of an operation that needs a model must be JSON and name one somewhere. A path that says nothing may still be an
operation newer than this gateway: there, a JSON body gets the configured model, and whatever else it is goes on
untouched. What a provider does not serve is translated where there is a translation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange, LocalReply
from torana.http.message import field
from torana.llm.formats.count_tokens import count_tokens
from torana.llm.formats.translation import Translation
from torana.llm.multipart import Form, boundary_of
from torana.llm.operation import ModelPlace, Operation, operation_of
from torana.llm.query import model_of_query, with_model
from torana.llm.request import (
    Prepared,
    model_of,
    options_of,
    prepare,
    refused_options,
    refuses_stream_options,
    without,
)
from torana.model.route import OperationRule
from torana.proxy.inbound import Inbound
from torana.proxy.upstream import Upstream

_ESTIMATED = b"x-torana-estimated"
_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))


class Call(msgspec.Struct, frozen=True, gc=False):
    """A body that was read. `body` is what `prepared` was made of: the client's, edited, and translated.

    `model` is what was set in it, `translation` how the answer gets back into the client's words.
    """

    body: bytes
    prepared: Prepared
    model: str | None = None
    operation: Operation | None = None
    translation: Translation | None = None
    lost: tuple[str, ...] = ()
    memo: bytes = b""

    @property
    def options(self) -> dict[str, bytes]:
        """Those that a translation put in, as `options_of` has them."""
        return {} if self.translation is None else options_of(self.body)

    def less(self, status: int, refusal: bytes) -> Call | None:
        """The call without what an upstream's answer refuses of what was added to it here; None when it is not that."""
        body, lost, usage = self.body, self.lost, self.prepared.usage_added
        if usage and refuses_stream_options(status, refusal):
            usage = False
        else:
            options = self.options
            names = [name for name in refused_options(status, refusal) if name in options]
            if not names:
                return None
            body, lost = without(body, names), (*lost, *names)
        prepared = prepare(body, self.model, usage)
        prepared = msgspec.structs.replace(prepared, asked_model=self.prepared.asked_model)
        return msgspec.structs.replace(self, body=body, prepared=prepared, lost=lost)


def aimed(exchange: Exchange, upstream: Upstream) -> tuple[bytes, Operation | None]:
    """The request target that the upstream gets, and what the call is.

    That is what the rules of its route say, else what the path looks like that goes on, else the client's. Models are
    only listed: a POST below them is something else. Where all requests go to one path the client's says in which words
    it is asked there.
    """
    target = upstream.target(exchange)
    operation = exchange.operation
    if operation is None and not exchange.opaque:
        operation = operation_of(target.partition(b"?")[0]) or operation_of(exchange.path)
        if operation is Operation.MODELS and exchange.method in _WITH_BODY:
            operation = None
        if upstream.one_path:
            asked = operation_of(exchange.path)
            if asked in upstream.translations or asked in upstream.unserved:
                operation = asked
    if operation is not None:
        if operation in upstream.detours or exchange.operation is not None:
            target = upstream.directed(target, operation)
        if operation.model is ModelPlace.QUERY:
            target = _set_in_query(target, upstream, exchange)
    return target, operation


async def read_call(
    inbound: Inbound, exchange: Exchange, upstream: Upstream, operation: Operation | None, limit: int
) -> Call | None:
    """Gather the body of a call and set its model; None when the body, if any, is to be streamed.

    Raises BODY_TOO_LARGE, BAD_JSON, MODEL_MISSING, MODEL_NO_TEXT and UNTRANSLATABLE.
    """
    record = exchange.record
    record.protocol = "llm"
    record.provider = upstream.provider
    if operation is not None:
        record.operation = operation.text
    if operation is not None and operation.model is ModelPlace.JSON and exchange.method == b"POST":
        place = ModelPlace.JSON  # nearly always; spared the call
    else:
        place = ModelPlace.NOWHERE if exchange.opaque else reads_body(exchange, operation)
    if place is ModelPlace.FORM:
        _read_form(inbound, exchange, upstream)
        return None
    if place is not ModelPlace.JSON:
        return None
    body = inbound.content
    if body is None:
        body = await inbound.gather(limit)
    call = made_call(operation, upstream, body, exchange.model)
    record.model = call.prepared.model or None
    record.streaming = call.prepared.stream
    record.untranslated = call.lost
    return call


class Sort(NamedTuple):
    """What a request is by the rules of its route. `opaque`: nobody is to look into it."""

    operation: Operation | None
    opaque: bool = False


Operations: TypeAlias = Callable[[bytes], Sort]
"""By the path."""


def compile_operations(rules: tuple[OperationRule, ...]) -> Operations | None:
    """None where there are no rules: then the path says it itself."""
    if not rules:
        return None
    ordered = sorted(rules, key=lambda rule: -1 if rule.suffix == "*" else len(rule.suffix), reverse=True)
    table = [
        (
            b"" if rule.suffix == "*" else rule.suffix.encode(),
            Sort(Operation.__members__.get(rule.operation.upper()), rule.operation == "passthrough"),
        )
        for rule in ordered
    ]
    otherwise = Sort(Operation.CHAT_COMPLETIONS)
    return lambda path: next((sort for suffix, sort in table if path.endswith(suffix)), otherwise)


def reads_body(exchange: Exchange, operation: Operation | None) -> ModelPlace:
    """Where in the body a model may be named. A form may be sent for any operation that takes files, and JSON too."""
    if exchange.method not in _WITH_BODY:
        return ModelPlace.NOWHERE
    if operation is not None and operation.model is not ModelPlace.FORM:
        return operation.model
    kind = field(exchange.fields, b"content-type") or b""
    if kind.lower().startswith(b"application/json"):
        return ModelPlace.JSON
    return ModelPlace.NOWHERE if operation is None else ModelPlace.FORM


def made_call(operation: Operation | None, upstream: Upstream, body: bytes, asked: str | None = None) -> Call:
    """The body as it goes upstream; `asked` is the model that led there, where one did.

    Raises BAD_JSON, MODEL_MISSING and UNTRANSLATABLE for operations that are known.
    """
    model = upstream.model or asked
    if operation is None:
        try:
            return Call(body, prepare(body, model, add_usage=False), model)
        except GatewayError:
            return Call(body, Prepared((body,), "", None, stream=False, usage_added=False), model)
    if operation in upstream.unserved:
        raise _not_served(operation, upstream)
    if upstream.edits is not None:
        body = upstream.edits.made(body, operation)
    if upstream.has_aliases and upstream.model is None:
        model = upstream.aliased(asked or model_of(body))
    translation = upstream.translations.get(operation)
    if translation is not None:
        return _translated(operation, translation, upstream, body, model)
    try:
        prepared = prepare(body, model, operation.takes_usage_option and upstream.endpoint.takes_usage_option)
    except GatewayError as error:
        if error.reason is Reason.MODEL_MISSING and not operation.needs_model:
            return Call(body, Prepared((body,), "", None, stream=False, usage_added=False), model, operation)
        raise
    return Call(body, prepared, model, operation)


def _translated(
    operation: Operation, translation: Translation, upstream: Upstream, body: bytes, model: str | None
) -> Call:
    """In the words of the upstream's API, without the options that its model has refused."""
    endpoint = upstream.endpoint
    translated = translation.request(body, model)
    body, lost = translated.body, translated.lost
    if endpoint.refused_options:
        names = [name for name, value in options_of(body).items() if endpoint.refuses(translated.model, name, value)]
        if names:
            body, lost = without(body, names), (*lost, *names)
    prepared = prepare(body, None, translation.operation.takes_usage_option and endpoint.takes_usage_option)
    prepared = msgspec.structs.replace(prepared, asked_model=translated.asked_model)
    return Call(body, prepared, None, operation, translation, lost, translated.memo)


def _set_in_query(target: bytes, upstream: Upstream, exchange: Exchange) -> bytes:
    """`target` of an operation that has its model in the query, with the one that it is to have."""
    asked = model_of_query(target.partition(b"?")[2])
    exchange.record.model = model = upstream.model or upstream.aliased(exchange.model or asked)
    set_here = upstream.model or exchange.model
    return target if model is None or (model == asked and set_here is None) else with_model(target, model)


def counted_here(body: bytes, model: str | None) -> LocalReply:
    """The answer to a count of tokens that no provider can be asked for. Raises BAD_JSON, MODEL_MISSING."""
    fields = [(b"content-type", b"content-type", b"application/json"), (_ESTIMATED, _ESTIMATED, b"input_tokens")]
    return LocalReply(200, fields, count_tokens(body, model))


def _not_served(operation: Operation, upstream: Upstream) -> GatewayError:
    what = operation.suffix.decode()
    message = f"The provider {upstream.provider} has no {what}, and nothing that it could be translated into."
    return GatewayError(Reason.UNTRANSLATABLE, message)


def _read_form(inbound: Inbound, exchange: Exchange, upstream: Upstream) -> None:
    """Read the model of a form, and make the configuration's changes in it, while it streams by.

    Raises BAD_JSON for a body that is no form where something is to be set in it: it could not be.
    """
    boundary = boundary_of(field(exchange.fields, b"content-type") or b"")
    model = upstream.model or upstream.aliased(exchange.model)
    edits = upstream.edits
    sets, adds = ({}, {}) if edits is None else (dict(edits.form_sets), edits.form_adds)
    if model is not None:
        sets[b"model"] = model.encode()
    if boundary is None:
        if sets:
            message = "The body must be JSON, or a form: `Content-Type: multipart/form-data` with one boundary."
            raise GatewayError(Reason.BAD_JSON, message)
        return
    alias = upstream.aliased if upstream.has_aliases and model is None else None
    inbound.form = Form(boundary, sets, adds, alias)
    exchange.record.model = model  # without one, the form's own is known when it has passed
