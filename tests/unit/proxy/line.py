"""The whole line of one request with no socket in it: what the gateway itself costs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from torana.http.client import UpstreamConnection
from torana.http.dial import Dialler
from torana.http.pool import Pool
from torana.http.server import Server, ServerConnection
from torana.http.sweep import Sweep
from torana.model.backend import Backend, Provider, ProviderKind, Target, alone
from torana.model.config import Bind, Config, Limits, Listener, LogFormat
from torana.model.policy import BackendAuth
from torana.model.route import Route
from torana.model.secret import Secret
from torana.proxy.gateway import Gateway
from torana.proxy.runtime import Runtime
from torana.proxy.snapshot import Snapshot
from torana.telemetry.access_log import AccessLog
from torana.telemetry.metrics import Metrics
from torana.telemetry.writer import LineWriter

PORT = 3000
_BODY = b'{"model":"gpt-4","messages":[{"role":"user","content":"' + b"x" * 900 + b'"}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:3000\r\nauthorization: Bearer sk-client\r\n"
    b"content-type: application/json\r\naccept: application/json\r\nuser-agent: OpenAI/Python\r\n"
    b"accept-encoding: gzip, deflate\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m1","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"' + b"y" * 900 + b'"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nserver: up\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ANSWER)
) + _ANSWER
_STREAMED = _BODY[:-1] + b',"stream":true}'
STREAM_REQUEST = (
    REQUEST.replace(b"content-length: %d" % len(_BODY), b"content-length: %d" % len(_STREAMED))[: -len(_BODY)]
    + _STREAMED
)


def _chunk(delta: bytes) -> bytes:
    event = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m1","choices":[{"index":0,'
        b'"delta":{%b},"finish_reason":null}]}\n\n' % delta
    )
    return b"%x\r\n%b\r\n" % (len(event), event)


EVENT = _chunk(b'"content":" token"')
"""One event of a stream in an HTTP chunk of its own, as providers send them and as the client gets it."""
BEGINNING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + _chunk(
    b'"role":"assistant","content":""'
)
ENDING = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class _Transport(asyncio.Transport):
    """Takes what is written and does with it what it was made for."""

    def __init__(self, written: Any) -> None:
        super().__init__()
        self._written = written

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else default


class Line:
    """A gateway between a client that is a list and an upstream that answers at once."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        sweep = Sweep()
        runtime = Runtime(Pool(Dialler(sweep, {}, 1.0, 1.0), sweep, 90.0, 8))
        backend = Backend(
            "bench",
            Target("127.0.0.1", 9),
            provider=Provider(ProviderKind.OPENAI, "m1"),
            auth=BackendAuth(Secret("sk")),
        )
        listener = Listener("listener0", routes=(Route("route0", backends=(alone(backend),)),))
        snapshot = Snapshot(Config(binds=(Bind(PORT, (listener,)),)), runtime)
        self.metrics = Metrics()
        self._writer = LineWriter(os.open(os.devnull, os.O_WRONLY))
        self._writer.attach(loop)
        gateway = Gateway(snapshot, self.metrics, AccessLog(self._writer, LogFormat.TEXT))
        self._client = ServerConnection(Server(gateway.serve, gateway.refuse, Limits(), sweep, PORT))
        self._done: asyncio.Future[None] = loop.create_future()
        self.received = b""
        self._client.connection_made(_Transport(self._take))
        (endpoint,) = snapshot.endpoints
        self._answer = ANSWER
        self._upstream = upstream = UpstreamConnection(sweep, 60.0)
        upstream.connection_made(_Transport(lambda _: loop.call_soon(upstream.data_received, self._answer)))
        upstream.complete = True
        endpoint.lane.give(upstream)

    async def request(self) -> bytes:
        """Send REQUEST; returns what the client got once the gateway is done with it."""
        self._answer = ANSWER
        return await self._when(lambda: self._client.data_received(REQUEST))

    async def begin(self) -> bytes:
        """Send STREAM_REQUEST, which is answered by BEGINNING; what the client got of it."""
        self._answer = BEGINNING
        return await self._when(lambda: self._client.data_received(STREAM_REQUEST))

    async def pass_on(self, data: bytes) -> bytes:
        """The upstream sends `data` in one piece; what the client got of it."""
        return await self._when(lambda: self._upstream.data_received(data))

    def close(self) -> None:
        self._writer.close()

    async def _when(self, happens: Callable[[], None]) -> bytes:
        """What the client gets by it, once the gateway is done with it."""
        self._done = asyncio.get_running_loop().create_future()
        self.received = b""
        happens()
        await self._done
        await asyncio.sleep(0)
        return self.received

    def _take(self, data: bytes) -> None:
        self.received += data
        if not self._done.done():
            self._done.set_result(None)
