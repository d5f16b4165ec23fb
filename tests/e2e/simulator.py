"""A running `torana simulate`, and how tests talk to it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import openai
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.wire import TIMEOUT

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]


class Simulator(NamedTuple):
    """A running process. `port` is on 127.0.0.1; `line` is what it printed."""

    process: subprocess.Popen[str]
    port: int
    line: str

    def client(self, **options: Any) -> openai.OpenAI:
        options = {"api_key": "sk-any-key-will-do", "max_retries": 0, "timeout": TIMEOUT, **options}
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", **options)


@contextmanager
def simulating(*options: str) -> Iterator[Simulator]:
    """One on a free port, from the line it prints until it is killed."""
    words = [sys.executable, "-m", "torana", "simulate", "--port", "0", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/v1", line)
            assert found, f"the first line has the address: {line!r}"
            yield Simulator(process, int(found[1]), line)
        finally:
            process.kill()


def dials(**values: str) -> dict[str, str]:
    """`error_event="2"` as the header `x-simulate-error-event: 2`."""
    return {f"x-simulate-{name.replace('_', '-')}": value for name, value in values.items()}


def exchange(port: int, path: str, body: object, headers: dict[str, str], method: str = "POST") -> tuple[int, Any]:
    """Status and JSON, without an SDK in between."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def stream_of(client: openai.OpenAI, headers: dict[str, str] | None = None, **more: Any) -> list[Any]:
    """The chunks of a streamed chat of three tokens."""
    more = {"model": "simulate", "max_tokens": 3, **more}
    return list(client.chat.completions.create(messages=HELLO, stream=True, extra_headers=headers, **more))


def raw_stream(simulator: Simulator, *headers: str, **fields: object) -> bytes:
    """All octets of a streamed answer of one token, head included, until the server closes."""
    body = json.dumps({"model": "m", "max_tokens": 1, "stream": True, "messages": HELLO, **fields})
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", "connection: close", f"content-length: {len(body)}"]
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=TIMEOUT) as connection:
        connection.sendall("\r\n".join([*lines, *headers, "", body]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))
