"""HTTP/1.1 by hand, so that a test sees every byte: a client's connection, and the reading that both ends share.

No library stands between: a header's case, a repeated field, a chunk's border or a missing ending is what is tested.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

TIMEOUT = 30.0
"""Seconds any single read or write of a test may take; only a broken gateway takes nearly as long."""

Headers = list[tuple[str, str]]
Given = dict[str, str] | Headers


class IncompleteError(Exception):
    """The connection ended in the middle of a message; `rest` is what had come of the part under way."""

    def __init__(self, rest: bytes = b"") -> None:
        super().__init__(f"the connection ended after {rest!r}")
        self.rest = rest


class Reader:
    """Reads messages from a socket. Raises IncompleteError when it ends within one."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""

    def some(self) -> bytes:
        """What is there, or comes next; empty at the end."""
        if self.held:
            data, self.held = self.held, b""
            return data
        try:
            return self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            return b""

    def _more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            raise IncompleteError(self.held)
        self.held += data

    def until(self, end: bytes) -> bytes:
        while (at := self.held.find(end)) < 0:
            self._more()
        data, self.held = self.held[:at], self.held[at + len(end) :]
        return data

    def exactly(self, size: int) -> bytes:
        while len(self.held) < size:
            self._more()
        data, self.held = self.held[:size], self.held[size:]
        return data

    def head(self) -> tuple[str, Headers]:
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return first, headers

    def chunk(self) -> bytes:
        """One chunk as it was framed; empty for the last."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def body(self, headers: Headers) -> bytes:
        """By Content-Length or chunked; nothing when neither is there."""
        if (value(headers, "transfer-encoding") or "").lower() == "chunked":
            return b"".join(iter(self.chunk, b""))
        return self.exactly(int(value(headers, "content-length") or 0))


def value(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header, whatever its case."""
    return next((text for key, text in headers if key.lower() == name.lower()), None)


def values(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    return [text for key, text in headers if key.lower() == name.lower()]


@dataclass
class Answer:
    """What a client got. `complete` is False when the framing's ending never came."""

    status: int
    phrase: str
    headers: Headers
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = True

    def __getitem__(self, name: str) -> str | None:
        return value(self.headers, name)

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of an answer in OpenAI's form, with the form checked."""
        assert (self["content-type"] or "").startswith("application/json"), f"an error in JSON, not {self}"
        document = self.json()
        assert set(document) == {"error"}, document
        assert set(document["error"]) == {"message", "type", "param", "code"}, document
        assert self["x-request-id"], f"an error answer carries x-request-id: {self.headers}"
        error: dict[str, Any] = document["error"]
        return error


class Connection:
    """A client's connection; requests on it are written and answers read one after the other."""

    def __init__(
        self, port: int, *, tls: ssl.SSLContext | None = None, name: str | None = None, host: str = "127.0.0.1"
    ) -> None:
        sock = socket.create_connection((host, port), TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock: socket.socket = tls.wrap_socket(sock, server_hostname=name) if tls is not None else sock
        self.reader = Reader(self.sock)
        self.port = port
        self._method = "GET"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, method: str, target: str, headers: Given | None = None, body: bytes | None = None) -> None:
        """Write a request; Host and Content-Length are added unless given, and nothing else."""
        self._method = method
        self.send(render_request(self.port, method, target, headers, body))

    def start(self) -> Answer:
        """The head of the next answer that is not a 1xx."""
        while True:
            first, headers = self.reader.head()
            _, status, phrase = first.split(" ", 2)
            if int(status) >= 200:
                return Answer(int(status), phrase, headers)

    def answer(self) -> Answer:
        """A whole answer, as far as it comes."""
        answer = self.start()
        reader = self.reader
        if self._method == "HEAD" or answer.status in (204, 304):
            return answer
        try:
            if (answer["transfer-encoding"] or "").lower() == "chunked":
                while chunk := reader.chunk():
                    answer.chunks.append(chunk)
                    answer.body += chunk
            elif (length := answer["content-length"]) is not None:
                answer.body = reader.exactly(int(length))
            else:
                while data := reader.some():
                    answer.body += data
        except IncompleteError as error:
            answer.complete = False
            if not answer.chunks:
                answer.body = error.rest
        return answer

    def ask(self, method: str, target: str, headers: Given | None = None, body: bytes | None = None) -> Answer:
        self.request(method, target, headers, body)
        return self.answer()


def render_request(
    port: int, method: str, target: str, headers: Given | None = None, body: bytes | None = None
) -> bytes:
    given = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    if value(given, "host") is None:
        given.insert(0, ("Host", f"127.0.0.1:{port}"))
    if body is not None and value(given, "content-length") is None and value(given, "transfer-encoding") is None:
        given.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in given), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def ask(port: int, method: str, target: str, headers: Given | None = None, body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.ask(method, target, headers, body)


def post(port: int, target: str, document: object, headers: Given | None = None) -> Answer:
    """A POST of a JSON document; bytes go as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document, separators=(",", ":")).encode()
    given = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    if value(given, "content-type") is None:
        given.append(("Content-Type", "application/json"))
    return ask(port, "POST", target, given, body)


def events(body: bytes) -> list[Any]:
    """The data of each event of a stream, `[DONE]` as it is."""
    data = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    return [entry if entry == "[DONE]" else json.loads(entry) for entry in data]
