"""What the end-to-end tests share: one real language model, however many processes run the tests."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from torana.local import ModelServer, await_address, command, find_model, introduction

_START_SECONDS = 50.0


class Model(NamedTuple):
    """A running model server: the base URL of its OpenAI API ends in /v1, and any key but `api_key` gets 401."""

    origin: str
    api_key: str
    name: str

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def authority(self) -> str:
        return self.origin.removeprefix("http://")


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Model]:
    """SmolLM2 served by llama.cpp, one server for all the processes of this test run.

    The server lives as long as its stdin is open, so stdin is a named pipe, and every test process that uses the
    server holds it open for writing. Whoever comes first starts it; when the last one leaves, or is killed, it ends.
    """
    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent
    lifeline, address = folder / "model-lifeline", folder / "model-address"
    server = ModelServer(find_model(), alias="smollm2", api_keys=("sk-the-model-key",))
    with _locked(folder / "model-lock"):
        held = _hold(lifeline)
        if held is None:
            held = _start(server, lifeline, address)
    yield Model(address.read_text(), server.api_keys[0], server.alias)
    os.close(held)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hold(lifeline: Path) -> int | None:
    """The writing end of the pipe, or None when no server reads from it (fifo(7): ENXIO), or there is no pipe yet."""
    try:
        return os.open(lifeline, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def _start(server: ModelServer, lifeline: Path, address: Path) -> int:
    """Start the server on the pipe, write down its address, and return the writing end of the pipe.

    posix_spawn and not Popen: the process may outlive this one, and is nobody's to wait for.
    """
    lifeline.unlink(missing_ok=True)
    os.mkfifo(lifeline)
    reading = os.open(lifeline, os.O_RDONLY | os.O_NONBLOCK)
    held = os.open(lifeline, os.O_WRONLY)
    os.set_blocking(reading, True)
    answer, told = os.pipe()
    words = command()
    os.posix_spawn(
        words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, told, 1)]
    )
    os.close(reading)
    os.close(told)
    os.write(held, introduction(server))
    with os.fdopen(answer, "rb") as pipe:
        address.write_text(await_address(pipe, _START_SECONDS))
    return held
