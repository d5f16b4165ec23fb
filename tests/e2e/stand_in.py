"""StandIn: a server in the test's process that takes a provider's place, records every request and answers by a script.

It serves each connection in a thread of its own, over TCP or a Unix socket, with TLS or without. A script is a function
on a `Visit`, which is one request and the means to answer it: properly, oddly, slowly or not at all.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import trustme

from tests.e2e.wire import TIMEOUT, Headers, IncompleteError, Reader, value

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


class Seen:
    """A request as it arrived."""

    def __init__(self, line: str, headers: Headers, sock: socket.socket, connection: int) -> None:
        self.line = line
        self.at = time.monotonic()
        self.method, self.target, _ = line.split(" ")
        self.headers = headers
        self.body = b""
        self.connection = connection
        """Numbers connections from 0, so that two requests with one number came on the same."""
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.sni: str | None = getattr(sock, "sni", None)
        self.certificate: dict[str, Any] | None = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None

    def __getitem__(self, name: str) -> str | None:
        return value(self.headers, name)

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    def json(self) -> Any:
        return json.loads(self.body)


class HangUpError(Exception):
    """A script raises it, or `visit.close()`, to end the connection."""


class Visit:
    """One request under way. Every method that writes raises OSError when the gateway has left."""

    def __init__(self, seen: Seen, sock: socket.socket, reader: Reader) -> None:
        self.seen = seen
        self.sock = sock
        self.reader = reader

    def read(self) -> bytes:
        """The request's body; done before the script runs unless the stand-in is `early`."""
        self.seen.body = self.reader.body(self.seen.headers)
        return self.seen.body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self, status: int, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> None:
        """A whole answer with Content-Length, and nothing else that is not given."""
        head = "".join(f"{name}: {text}\r\n" for name, text in headers)
        self.send(f"HTTP/1.1 {status} Whatever\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def document(self, status: int, document: object, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.reply(status, [("Content-Type", "application/json"), *headers], json.dumps(document).encode())

    def begin(self, content_type: str = "text/event-stream", headers: Sequence[tuple[str, str]] = ()) -> None:
        """The head of a chunked answer."""
        head = "".join(f"{name}: {text}\r\n" for name, text in headers)
        start = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{head}Transfer-Encoding: chunked\r\n\r\n"
        self.send(start.encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, document: object) -> None:
        self.chunk(b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n")

    def named_event(self, name: str, document: object) -> None:
        self.chunk(b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(document).encode()))

    def end(self) -> None:
        self.chunk(b"")

    def close(self) -> None:
        """An orderly close, wherever the answer stands."""
        raise HangUpError

    def reset(self) -> None:
        """The connection breaks (TCP RST)."""
        reset(self.sock)

    def stall(self) -> None:
        """Nothing more, until the gateway closes the connection."""
        stall(self.sock)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise HangUpError


def stall(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass
    raise HangUpError


Script: TypeAlias = Callable[[Visit], None]
Greeting: TypeAlias = Callable[[socket.socket], None]


def delta(text: str, **fields: Any) -> dict[str, Any]:
    """A chunk of a streamed chat completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c-1", "object": "chat.completion.chunk", "model": "stand-in", "choices": [choice], **fields}


def completion(**fields: Any) -> dict[str, Any]:
    """A whole chat completion."""
    message = {"role": "assistant", "content": "Hello from the stand-in."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "c-1", "object": "chat.completion", "model": "stand-in", "choices": [choice], "usage": USAGE, **fields
    }  # fmt: skip


def chat(visit: Visit) -> None:
    """What a provider does: an answer, or a stream of two deltas, with the usage when it is asked for."""
    try:
        body = json.loads(visit.seen.body or b"{}")
    except ValueError:
        body = {}
    if not body.get("stream"):
        visit.document(200, completion())
        return
    visit.begin()
    visit.event(delta("Hello"))
    visit.event(delta(" there"))
    if (body.get("stream_options") or {}).get("include_usage"):
        visit.event(delta("", choices=[], usage=USAGE))
    visit.event(b"[DONE]")
    visit.end()


class StandIn:
    """Listens from its making until `close`. `seen` grows by one for each request whose head has arrived.

    `early` scripts run before the body is read, and read it themselves. A `greeting` has the bare socket of each new
    connection, before TLS and before anything is read.
    """

    def __init__(
        self,
        *,
        certificate: trustme.LeafCert | None = None,
        client_ca: trustme.CA | None = None,
        host: str = "127.0.0.1",
        unix: Path | None = None,
    ) -> None:
        self.script: Script = chat
        self.early = False
        self.greeting: Greeting | None = None
        self.seen: list[Seen] = []
        self.accepted = 0
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._context = _context(certificate, client_ca) if certificate is not None else None
        self.path = unix
        if unix is not None:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(unix))
            self.port = 0
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, 0), family=family)
            self.port = self._listener.getsockname()[1]
        self._listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def resolve(self, host: str, port: int) -> tuple[str, str]:
        """The gateway's arguments that lead here for `host:port`."""
        return "--resolve", f"{host}:{port}:127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Back to the beginning: nothing seen, the ordinary script. Open connections stay."""
        self.script, self.early = chat, False
        with self._changed:
            self.seen = []

    def wait(self, count: int = 1, timeout: float = TIMEOUT) -> Seen:
        """The `count`th request, once it is here."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.seen) >= count, timeout)
            assert came, f"{count} request(s) expected at the stand-in, {len(self.seen)} came"
            return self.seen[count - 1]

    @property
    def one(self) -> Seen:
        """The only request since `forget`."""
        assert len(self.seen) == 1, f"one request expected at the stand-in, not {[seen.line for seen in self.seen]}"
        return self.seen[0]

    @property
    def open(self) -> int:
        """Connections that neither side has closed yet."""
        return len(self._open)

    def drop_connections(self) -> None:
        """Close every connection, as a provider does with those that have been idle for long."""
        for sock in tuple(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; closing alone does not
        self._listener.close()
        self.drop_connections()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number, self.accepted = self.accepted, self.accepted + 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        self._open.add(sock)
        plain = sock
        try:
            with contextlib.suppress(OSError, HangUpError):
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.greeting is not None:
                    self.greeting(sock)
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                    self._open.add(sock)
                with contextlib.suppress(IncompleteError):
                    self._converse(sock, number)
        finally:
            self._open -= {sock, plain}
            sock.close()

    def _converse(self, sock: socket.socket, number: int) -> None:
        reader = Reader(sock)
        if self._context is None and sock.recv(1, socket.MSG_PEEK) == b"\x16":  # a TLS ClientHello
            sock.recv(65536)  # what is left unread would make the close a reset
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        while True:
            line, headers = reader.head()
            seen = Seen(line, headers, sock, number)
            visit = Visit(seen, sock, reader)
            early, script = self.early, self.script
            if not early:
                visit.read()
            with self._changed:
                self.seen.append(seen)
                self._changed.notify_all()
            script(visit)


def _context(certificate: trustme.LeafCert, client_ca: trustme.CA | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.sni_callback = _note_name
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _note_name(sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    sock.sni = name  # type: ignore[union-attr]  # read by Seen
