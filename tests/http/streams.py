"""What tests of failing streams share: the events of one, and ways to break it."""

from __future__ import annotations

from collections.abc import Callable

from tests.http.calls import once
from tests.http.wire import Script, Upstream, Wire

STREAM = b'{"model":"m","messages":[],"stream":true}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

COMMENT = b": PROCESSING\n\n"
ROLE = b'data: {"model":"m1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
CONTENT = b'data: {"model":"m1","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"model":"m1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"model":"m1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":529}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = ROLE + CONTENT + STOP + USAGE + DONE
SHOWN = ROLE + CONTENT + STOP + DONE


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*events: bytes, end: bytes = END) -> bytes:
    return HEAD + b"".join(map(chunk, events)) + end


def waiting(*events: bytes) -> Callable[[Upstream], Script]:
    """These events, and then nothing until the gateway ends the connection."""

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await wire.send(stream(*events, end=b""))
            await wire.some()

        return script

    return make


FAILING = {
    "error first": (once(stream(ERROR, DONE)), "error in stream"),
    "role, then an error": (once(stream(ROLE, ERROR)), "error in stream"),
    "Anthropic's error": (
        once(stream(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n')),
        "error in stream",
    ),
    "head, then dead": (once(stream(end=b"")), "upstream_closed"),
    "role, then dead": (once(stream(ROLE, end=b"")), "upstream_closed"),
    "comments, then dead": (once(stream(COMMENT, COMMENT, end=b"")), "upstream_closed"),
    "half an event": (once(stream(CONTENT[:30], end=b"")), "upstream_closed"),
    "role, then garbage": (once(stream(ROLE, end=b"zz\r\n")), "bad_upstream_answer"),
    "nothing": (once(stream()), "empty stream"),
    "a role and no more": (once(stream(ROLE)), "empty stream"),
    "only comments": (once(stream(COMMENT)), "empty stream"),
    "silent after the role": (waiting(ROLE), "upstream_timeout"),
}
