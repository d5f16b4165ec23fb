"""The service: which path is answered how. One `handle` a request, from its body to the end of its performance."""

from __future__ import annotations

import hmac
from urllib.parse import unquote

from torana.errors import GatewayError
from torana.exchange import LocalReply
from torana.http.message import Fields, field
from torana.http.request import Request
from torana.http.server import ServerConnection
from torana.llm.operation import Operation, model_id_of, operation_of
from torana.proxy.reply import error_reply, render_reply, request_id
from torana.simulate.answer import answer_chat, answer_completion
from torana.simulate.asks import ChatAsk, CompletionAsk, EmbeddingAsk, GenerationAsk, decode, model_of, read
from torana.simulate.dials import CREATED, PREFIX, Dials, Malformed, read_dials
from torana.simulate.failure import ApiError
from torana.simulate.journal import Journal, mask
from torana.simulate.script import (
    CHAT,
    COMPLETION,
    Script,
    Whole,
    script_embeddings,
    script_error,
    script_json,
    script_stream,
    script_whole,
)
from torana.simulate.stage import perform

MODELS = ("simulate", "echo")
"""The models that are listed. Any other name is served too: a simulator that refuses names would only be in the way."""

SIMULATED = frozenset((Operation.CHAT_COMPLETIONS, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.MODELS))
"""The operations that are answered; other paths are a 404 that names what there is."""
_PATHS = (
    "POST /v1/chat/completions, /v1/completions, /v1/embeddings and GET /v1/models, below any prefix, "
    "and GET /healthz, /journal"
)
_JSON = (b"content-type", b"content-type", b"application/json")
_OK = LocalReply(200, [(b"content-type", b"content-type", b"text/plain; charset=utf-8")], b"ok\n")


class Service:
    """Answers by `defaults`, and by what each request sets itself. With `api_key`, any other key gets 401."""

    def __init__(self, defaults: Dials, api_key: str | None, max_body_bytes: int) -> None:
        self._defaults = defaults
        self._api_key = None if api_key is None else api_key.encode()
        self._max_body_bytes = max_body_bytes
        self._journal = Journal()

    async def handle(self, request: Request, connection: ServerConnection) -> None:
        try:
            body = await request.body.gather(self._max_body_bytes)
        except GatewayError as error:
            reply = error_reply(error, request_id(request.fields))
            connection.respond(render_reply(reply), reply.body)
            return
        reading = request.method in (b"GET", b"HEAD")
        if request.path == b"/healthz" and reading:
            _respond(request, connection, _OK)
            return
        dials = self._defaults
        try:
            if request.path == b"/journal":
                self._check_key(request.fields)
                _respond(request, connection, self._journal_reply(request))
                return
            self._journal.record(request, body)
            self._check_key(request.fields)
            asked = read_dials(dials, _model_named(request, body), _texts(request.fields))
            script = _script(request, body, asked)
            dials = asked
        except ApiError as error:
            script = script_error(error)
        if request.method == b"HEAD":
            assert isinstance(script, Whole)
            _respond(request, connection, LocalReply(script.status, script.fields, script.body))
        else:
            await perform(script, connection, dials)

    def _check_key(self, fields: Fields) -> None:
        """Raises ApiError 401."""
        if self._api_key is None:
            return
        given = field(fields, b"authorization")
        if given is None:
            raise ApiError(401, "You did not provide an API key: send it as `Authorization: Bearer KEY`.")
        scheme, _, key = given.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self._api_key):
            raise ApiError(401, f"Incorrect API key provided: {mask(key.strip().decode('latin-1'))}.")

    def _journal_reply(self, request: Request) -> LocalReply:
        if request.method == b"DELETE":
            self._journal.clear()
            return LocalReply(204, [])
        _check_method(request, b"GET", b"HEAD", b"DELETE")
        return LocalReply(200, [_JSON], self._journal.render())


def _script(request: Request, body: bytes, dials: Dials) -> Script:
    """What the request is answered, an error its dials ask for included. Raises ApiError for what is wrong with it."""
    if dials.status is not None:
        message = f"Status {dials.status}, as the request asked for."
        return script_error(ApiError(dials.status, message, retry_after=dials.retry_after))
    operation = operation_of(request.path)
    match operation:
        case Operation.MODELS:
            _check_method(request, b"GET", b"HEAD")
            _check_streamed(dials, streamed=False)
            return _models(_model_named(request, body), dials)
        case Operation.CHAT_COMPLETIONS | Operation.COMPLETIONS | Operation.EMBEDDINGS:
            _check_method(request, b"POST")
            return _generate(operation, body, dials)
        case _:
            path = request.path.decode("latin-1")
            raise ApiError(
                404, f"{path} is not simulated. There are {_PATHS}, below any prefix, and GET /healthz, /journal."
            )


def _generate(operation: Operation, body: bytes, dials: Dials) -> Script:
    names, seed = read(body)
    for name in dials.refuse:
        if name in names:
            raise ApiError(400, f"Unrecognized request argument supplied: {name}", param=name)
    if operation is Operation.EMBEDDINGS:
        _check_streamed(dials, streamed=False)
        return script_embeddings(decode(body, EmbeddingAsk), dials)
    ask: GenerationAsk
    if operation is Operation.CHAT_COMPLETIONS:
        ask = chat = decode(body, ChatAsk)
        style, answer = CHAT, answer_chat(chat, seed, dials)
    else:
        ask = completion = decode(body, CompletionAsk)
        style, answer = COMPLETION, answer_completion(completion, seed, dials)
    _check_streamed(dials, streamed=bool(ask.stream))
    if ask.stream:
        return script_stream(answer, style, dials, wants_usage=ask.wants_usage)
    return script_whole(answer, style, dials)


def _models(name: str, dials: Dials) -> Script:
    def described(model: str) -> dict[str, object]:
        return {"id": model, "object": "model", "created": CREATED, "owned_by": "torana"}

    if name:
        return script_json(described(name), dials.first_token)
    return script_json({"object": "list", "data": [described(model) for model in MODELS]}, dials.first_token)


def _model_named(request: Request, body: bytes) -> str:
    """In the path of `/models/{id}`, else in the body."""
    if operation_of(request.path) is Operation.MODELS:
        return unquote(model_id_of(request.path).decode("latin-1"))
    return model_of(body)


def _check_method(request: Request, *methods: bytes) -> None:
    """Raises ApiError 405."""
    if request.method not in methods:
        allowed = b", ".join(methods).decode()
        message = f"{request.path.decode('latin-1')} takes {allowed}, not {request.method.decode('latin-1')}."
        raise ApiError(405, message, allow=allowed)


def _check_streamed(dials: Dials, *, streamed: bool) -> None:
    """Raises ApiError 400 when a fault that only a stream can have is asked of a whole answer."""
    if not streamed and (dials.error_event is not None or dials.malformed is Malformed.STREAM):
        name = f"{PREFIX}malformed: stream" if dials.error_event is None else f"{PREFIX}error-event"
        raise ApiError(400, f'`{name}` needs a streamed answer: send `"stream": true`.', param=name.partition(":")[0])


def _texts(fields: Fields) -> list[tuple[str, str]]:
    return [(lower.decode("latin-1"), value.decode("latin-1")) for lower, _, value in fields]


def _respond(request: Request, connection: ServerConnection, reply: LocalReply) -> None:
    connection.respond(render_reply(reply), b"" if request.method == b"HEAD" else reply.body)
