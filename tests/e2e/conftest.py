"""What the end-to-end tests share: gateways and stand-ins that end with their test, and one real language model."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
import trustme

from tests.e2e.harness import Gateway
from tests.e2e.stand_in import StandIn
from torana.local import ModelServer, await_address, command, find_model, introduction

_START_SECONDS = 150.0


class StartGateway(Protocol):
    """Starts a gateway and waits until it is ready."""

    def __call__(
        self, config_yaml: str, *arguments: str, env: Mapping[str, str] | None = None, workers: int | None = None
    ) -> Gateway: ...


class StartStandIn(Protocol):
    """Starts a stand-in: with TLS and a certificate of the private CA when names are given, else in plaintext."""

    def __call__(
        self,
        *names: str,
        ca: trustme.CA | None = None,
        client_ca: trustme.CA | None = None,
        host: str = "127.0.0.1",
        unix: Path | None = None,
    ) -> StandIn: ...


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """A factory of gateways that end with the test; their logs are shown when it fails."""
    with _gateways(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGateway]:
    """The same for gateways that a module's tests share."""
    with _gateways(tmp_path_factory.mktemp("shared")) as start:
        yield start


@pytest.fixture
def stand_in(ca: trustme.CA) -> Iterator[StartStandIn]:
    """A factory of stand-ins that end with the test."""
    with _stand_ins(ca) as start:
        yield start


@pytest.fixture(scope="module")
def shared_stand_in(ca: trustme.CA) -> Iterator[StartStandIn]:
    """The same for stand-ins that a module's tests share."""
    with _stand_ins(ca) as start:
        yield start


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The private CA."""
    return trustme.CA()


@pytest.fixture(scope="session")
def trust(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which a gateway trusts the private CA as the system's."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return {"SSL_CERT_FILE": str(file)}


@contextmanager
def _gateways(folder: Path) -> Iterator[StartGateway]:
    started: list[Gateway] = []
    numbers = itertools.count()

    def start(
        config_yaml: str, *arguments: str, env: Mapping[str, str] | None = None, workers: int | None = None
    ) -> Gateway:
        own = folder / f"gateway{next(numbers)}"
        own.mkdir()
        gateway = Gateway(config_yaml, own, *arguments, env=env, workers=workers)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.stop()
        print(f"--- the log of {gateway.base_url}:\n{gateway.log}")  # noqa: T201 - pytest shows it when the test has failed


@contextmanager
def _stand_ins(private: trustme.CA) -> Iterator[StartStandIn]:
    started: list[StandIn] = []

    def start(
        *names: str,
        ca: trustme.CA | None = None,
        client_ca: trustme.CA | None = None,
        host: str = "127.0.0.1",
        unix: Path | None = None,
    ) -> StandIn:
        certificate = (ca or private).issue_cert(*names) if names else None
        started.append(StandIn(certificate=certificate, client_ca=client_ca, host=host, unix=unix))
        return started[-1]

    yield start
    for stand_in in started:
        stand_in.close()


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
    # One thread: two that wait for each other in turns are far slower while the tests take the other core.
    server = ModelServer(find_model(), alias="smollm2", api_keys=("sk-the-model-key",), threads=1)
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
