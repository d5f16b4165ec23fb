"""Models: which route a call takes by the model it names, and the list of those there are."""

from __future__ import annotations

import contextlib
import difflib
import heapq
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange, LocalReply
from torana.http.message import field
from torana.llm.multipart import Form, boundary_of
from torana.llm.operation import ModelPlace, Operation, model_id_of
from torana.llm.query import model_of_query
from torana.llm.request import model_of
from torana.model.route import ModelRoute
from torana.policies.expression import Sees, compile_optional
from torana.proxy.call import reads_body
from torana.proxy.inbound import Inbound
from torana.proxy.router import header_condition

if TYPE_CHECKING:
    from torana.proxy.snapshot import CompiledRoute

_FORM_BEGINS: Final = 64 * 1024  # bytes of a form that are looked through for its model at first
_NEAREST: Final = 3  # names that are suggested
_COMPARED: Final = 20
_FEW: Final = 10  # names that are told instead, where none is near
_LONGEST: Final = 200  # characters of a model's name in an error
_STARTED: Final = int(time.time())  # what a model's `created` says here: there is nothing better to say
_encode: Final = msgspec.json.Encoder().encode


class _Entry:
    """A ModelRoute, compiled: what must hold beside the name, and the route it leads to."""

    __slots__ = ("condition", "headers", "model", "route")

    def __init__(self, model: ModelRoute, route: CompiledRoute) -> None:
        self.model = model
        self.route = route
        self.headers: tuple[Callable[[Exchange], bool], ...] = tuple(map(header_condition, model.headers))
        self.condition = compile_optional(model.condition, Sees.CALL)

    def takes(self, exchange: Exchange) -> bool:
        return all(holds(exchange) for holds in self.headers) and (
            self.condition is None or self.condition.holds(exchange)
        )


class ModelTable:
    """Exact names first, then patterns by how much of the name they spell out, then the order of the configuration."""

    def __init__(self, entries: Iterable[tuple[ModelRoute, CompiledRoute]]) -> None:
        self._exact: dict[str, list[_Entry]] = {}
        self._patterns: list[tuple[str, str, _Entry]] = []
        self._listed: dict[str, None] = {}
        for model, route in entries:
            entry = _Entry(model, route)
            self._listed[model.name] = None
            if "*" in model.name:
                head, _, tail = model.name.partition("*")
                self._patterns.append((head, tail, entry))
            else:
                self._exact.setdefault(model.name, []).append(entry)
        self._patterns.sort(key=lambda pattern: -len(pattern[0]) - len(pattern[1]))

    @property
    def routes(self) -> Iterable[CompiledRoute]:
        yield from (entry.route for entries in self._exact.values() for entry in entries)
        yield from (entry.route for _, _, entry in self._patterns)

    @property
    def only(self) -> str | None:
        """The name of every model, where they have but one; `*` where that is what takes any."""
        name, *others = self._listed or ("",)
        return None if others or ("*" in name and name != "*") else name

    def find(self, model: str, exchange: Exchange) -> CompiledRoute:
        """Where calls of `model` go. Raises MODEL_NOT_FOUND, naming the nearest, or NO_TARGET."""
        named = self._exact.get(model, [])
        found = next((entry for entry in named if entry.takes(exchange)), None)
        if found is None:
            if any(entry.model.virtual for entry in named):
                message = f"No target of the virtual model {_clipped(model)} takes this request."
                raise GatewayError(Reason.NO_TARGET, message, param="model")
            found = next((entry for entry in self._fitting(model) if entry.takes(exchange)), None)
            if found is None and named:
                message = f"The model {_clipped(model)} is not for this request: none of its `matches` fits."
                raise GatewayError(Reason.MODEL_NOT_FOUND, message, param="model")
        if found is None:
            raise self._unknown(model)
        return found.route

    def otherwise(self, exchange: Exchange) -> CompiledRoute:
        """Where requests go that name no model: where any model does. Raises MODEL_MISSING."""
        for head, tail, entry in self._patterns:
            if not head and not tail and entry.takes(exchange):
                return entry.route
        message = 'The request names no model, and there is no model "*" in the configuration to take it.'
        raise GatewayError(Reason.MODEL_MISSING, message, param="model")

    def listing(self, exchange: Exchange) -> LocalReply:
        """The answer to `GET /v1/models`, in the form of the API whose client asks."""
        describe = describer(exchange)
        return list_reply(exchange, {name: describe(name) for name in self._listed})

    def one(self, name: str, exchange: Exchange) -> LocalReply:
        """The answer to `GET /v1/models/NAME`, which a pattern may take. Raises MODEL_NOT_FOUND."""
        if name not in self._listed and not any(entry.takes(exchange) for entry in self._fitting(name)):
            raise self._unknown(name)
        return _json(describer(exchange)(name))

    def _fitting(self, model: str) -> Iterable[_Entry]:
        """The patterns that a name fits."""
        return (entry for head, tail, entry in self._patterns if _fits(model, head, tail))

    def _unknown(self, model: str) -> GatewayError:
        nearest = _nearest(model[:_LONGEST], self._listed)
        hint = f" Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        if not hint and len(self._listed) <= _FEW:
            hint = f" There are: {', '.join(self._listed)}."
        message = f"The model {_clipped(model)} does not exist here.{hint}"
        return GatewayError(Reason.MODEL_NOT_FOUND, message, param="model")


def _nearest(model: str, names: Collection[str]) -> list[str]:
    """Of many names, those are compared with it that have the most pairs of characters in common.

    A comparison takes 40 microseconds: with hundreds, clients that ask for what is not there would hold up all others.
    """
    if len(names) > _COMPARED:
        pairs = {*pairwise(model)}
        names = heapq.nlargest(_COMPARED, names, key=lambda name: len(pairs.intersection(pairwise(name))))
    return difflib.get_close_matches(model, names, _NEAREST, cutoff=0.5)


def _fits(model: str, head: str, tail: str) -> bool:
    return len(model) >= len(head) + len(tail) and model.startswith(head) and model.endswith(tail)


def _clipped(model: str) -> str:
    return repr(model if len(model) <= _LONGEST else model[:_LONGEST] + "…")


async def asked_model(
    models: ModelTable, inbound: Inbound, exchange: Exchange, operation: Operation | None, limit: int
) -> str | None:
    """The model that a request names, wherever its operation has it; its body is gathered for that, or looked into.

    Raises BODY_TOO_LARGE, BAD_JSON, MODEL_NO_TEXT, and MODEL_MISSING for a form that has it too far behind; of a path
    that is no known operation nothing is expected.
    """
    if exchange.opaque:
        return None
    if operation is not None and operation.model is ModelPlace.QUERY:
        return model_of_query(exchange.query)
    match reads_body(exchange, operation):
        case ModelPlace.JSON if operation is None:
            with contextlib.suppress(GatewayError):
                return model_of(await inbound.gather(limit))
        case ModelPlace.JSON:
            return model_of(await inbound.gather(limit))
        case ModelPlace.FORM:
            boundary = boundary_of(field(exchange.fields, b"content-type") or b"")
            return None if boundary is None else await _of_form(models, inbound, boundary, limit)
        case _:
            pass
    return None


def model_id(exchange: Exchange) -> str:
    """NAME of `/v1/models/NAME`; empty for the list."""
    return unquote(model_id_of(exchange.path).decode("latin-1"))


async def _of_form(models: ModelTable, inbound: Inbound, boundary: bytes, limit: int) -> str | None:
    """Looks on through the files before a form's `model` for as long as there is a choice, and they may be held."""
    form = Form(boundary)
    if inbound.content is not None:
        form.feed(inbound.content)
        return form.asked
    body = inbound.request.body
    size, seen = min(_FORM_BEGINS, limit), 0
    while True:
        inbound.gathering = True
        beginning = await body.peek(size, inbound.grow)
        inbound.gathering = False
        form.feed(beginning[seen:])
        if form.asked is not None or body.done:
            return form.asked
        if models.only is not None:
            return None if models.only == "*" else models.only
        if size == limit:
            message = (
                f"The form has no `model` in its first {limit:,} bytes. Put it before the files, or raise "
                "frontendPolicies.http.maxBufferSize in the gateway's configuration."
            )
            raise GatewayError(Reason.MODEL_MISSING, message, param="model")
        size, seen = min(4 * size, limit), len(beginning)


# https://platform.openai.com/docs/api-reference/models/object, https://docs.anthropic.com/en/api/models-list


def _is_anthropic(exchange: Exchange) -> bool:
    return field(exchange.fields, b"anthropic-version") is not None


def list_reply(exchange: Exchange, models: Mapping[str, Any]) -> LocalReply:
    """A list of models, by id, in the form of the API whose client asks."""
    names, data = [*models], [*models.values()]
    if _is_anthropic(exchange):
        first, last = (names[0], names[-1]) if names else (None, None)
        return _json({"data": data, "has_more": False, "first_id": first, "last_id": last})
    return _json({"object": "list", "data": data})


def describer(exchange: Exchange) -> Callable[[str], dict[str, Any]]:
    """What makes the entry of a model of which only the name is known."""
    return _described_to_anthropic if _is_anthropic(exchange) else _described


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "torana"}


def _described_to_anthropic(name: str) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_STARTED))
    return {"type": "model", "id": name, "display_name": name, "created_at": created}


def _json(content: Any) -> LocalReply:
    return LocalReply(200, [(b"content-type", b"content-type", b"application/json")], _encode(content))
