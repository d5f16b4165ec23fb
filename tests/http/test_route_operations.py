"""What the rules of a route say a path is, whatever it looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.http.calls import ANSWER, answer, ask, call
from tests.http.conftest import Connect, StartLine, StartUpstream, served_by
from tests.http.wire import each
from torana.model.backend import Backend, Provider, ProviderKind, Target, alone
from torana.model.route import OperationRule, Route

RULES = (
    OperationRule("/ask", "messages"),
    OperationRule("/v1/ask", "embeddings"),
    OperationRule("/raw", "passthrough"),
    OperationRule("/look", "detect"),
)

NAMED: Mapping[str, tuple[bytes, str]] = {
    "/x/ask": (b"/v1/chat/completions", "chat"),
    "/x/v1/ask": (b"/x/v1/ask", "embeddings"),
    "/v1/chat/completions": (b"/v1/chat/completions", "chat"),
    "/other": (b"/other", "chat"),
}


@pytest.mark.parametrize("path", NAMED)
async def test_operations_of_a_route(path: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The longest ending that fits says what a call is, and what none fits is a chat completion."""
    sent, operation = NAMED[path]
    completion = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
    provider = await upstream(each(answer(body=completion)))
    backend = Backend("up", Target("127.0.0.1", provider.port), provider=Provider(ProviderKind.OPENAI, "set"))
    started = await served_by(line, Route("r", backends=(alone(backend),), operations=RULES))
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}'
    assert (await ask(started, connect, call(body, path.encode()))).status == 200
    assert provider.requests[0].start == b"POST " + sent + b" HTTP/1.1"
    assert json.loads(provider.requests[0].body)["model"] == "set"
    await started.logged(f"gen_ai.operation.name={operation} ")


async def test_paths_nobody_is_to_look_into(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A passthrough path keeps its body to the byte, whatever it is, while `detect` sets the model where it can."""
    provider = await upstream(each(answer()))
    backend = Backend("up", Target("127.0.0.1", provider.port), provider=Provider(ProviderKind.OPENAI, "set"))
    started = await served_by(line, Route("r", backends=(alone(backend),), operations=RULES))
    json_ = b"Content-Type: application/json\r\n"
    for path, body, sent in (
        (b"/v1/raw", b'{"model":"m"}', b'{"model":"m"}'),
        (b"/v1/raw", b"{", b"{"),
        (b"/v1/look", b'{"model":"m"}', b'{"model":"set"}'),
        (b"/v1/look", b"{", b"{"),
    ):
        got = await ask(started, connect, call(body, path, json_))
        assert (got.status, got.body) == (200, ANSWER)
        assert provider.requests[-1].body == sent
        assert provider.requests[-1].start == b"POST " + path + b" HTTP/1.1"
