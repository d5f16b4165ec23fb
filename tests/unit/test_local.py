"""How the parent learns that its model server is ready; the server itself is in tests/e2e/test_local_model.py."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import IO

import pytest

from torana.local import LocalModelError, await_address

_TIMEOUT = 10.0


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def told() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The child's stdout: the end that is read, and the one that is written to."""
    read, write = os.pipe()
    with io.FileIO(read) as answer, io.FileIO(write, "w") as child:
        yield answer, child


def test_no_proxy_for_this_machine(told: tuple[IO[bytes], IO[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is on this machine: a forward proxy of the environment is not asked for it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    answer, child = told
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        child.write(f"{url}\n".encode())
        assert await_address(answer, _TIMEOUT) == url


def test_an_address_that_does_not_answer(told: tuple[IO[bytes], IO[bytes]]) -> None:
    """An address that cannot be reached is told as such, with the cause."""
    answer, child = told
    with socket.socket() as bound:  # and never listening
        bound.bind(("127.0.0.1", 0))
        child.write(b"http://127.0.0.1:%d\n" % bound.getsockname()[1])
        with pytest.raises(LocalModelError, match=r"cannot be reached: .*refused"):
            await_address(answer, _TIMEOUT)


def test_a_child_that_ends(told: tuple[IO[bytes], IO[bytes]]) -> None:
    """A server that ends without an address has said why where the user sees it."""
    answer, child = told
    child.close()
    with pytest.raises(LocalModelError, match="stands above"):
        await_address(answer, _TIMEOUT)


def test_a_child_that_says_nothing(told: tuple[IO[bytes], IO[bytes]]) -> None:
    """A server that takes too long is not waited for."""
    with pytest.raises(LocalModelError, match="not ready within 0 s"):
        await_address(told[0], 0.01)
