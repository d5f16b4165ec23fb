"""What tests of failover share: calls, answers, shares of a route, and what the gateway knows of its endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.http.conftest import Connect, Line
from tests.http.wire import Message, Script, Upstream, Wire, until
from torana.model.backend import Backend, BackendRef, Provider, ProviderKind, Target
from torana.model.policy import BackendTls
from torana.proxy.vitals import Vitals

BODY = b'{"model":"mine",  "messages":[{"role":"user","content":"\\u00fc"}], "seed":1}'
ANSWER = b'{"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}'


def answer(status: int = 200, body: bytes = ANSWER, fields: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
    return head % (status, len(body), fields) + body


def call(body: bytes = BODY, path: bytes = b"/v1/chat/completions", fields: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: client.test\r\nContent-Length: %d\r\n%b\r\n" % (path, len(body), fields) + body


def llm(port: int, name: str = "", host: str = "127.0.0.1", tls: BackendTls | None = None) -> Backend:
    return Backend(name or f"up{port}", Target(host, port), tls=tls, provider=Provider(ProviderKind.OPENAI))


def in_order(*backends: Backend) -> tuple[BackendRef, ...]:
    """One share, with each backend in a group of its own."""
    return (BackendRef(tuple((backend,) for backend in backends)),)


def vitals(line: Line) -> dict[str, Vitals]:
    return {name: endpoint.vitals for (name, _), endpoint in line.worker._runtime._endpoints.items()}


async def idle(line: Line) -> None:
    """Until no request is under way anywhere, which it must not take longer than a request's end to be."""
    await until(lambda: all(each.pending == 0 and each.probe is None for each in vitals(line).values()))


async def ask(line: Line, connect: Connect, request: bytes | None = None) -> Message:
    wire = await connect(line.port)
    await wire.send(request or call())
    return await wire.message()


def once(*data: bytes) -> Callable[[Upstream], Script]:
    """One request, these bytes in pieces, the end."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(*data)

        return script

    return make


def silent(provider: Upstream) -> Script:
    async def script(wire: Wire) -> None:
        await provider.take(wire)
        await wire.rest()

    return script


def closed(_: Upstream) -> Script:
    async def script(_: Wire) -> None:
        """Nothing is read and nothing sent."""

    return script


def late(seconds: float) -> Callable[[Upstream], Script]:
    """A 500 after a pause."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await asyncio.sleep(seconds)
            await wire.send(answer(500))

        return script

    return make
