"""What `torana bench` runs: a simulated upstream, the gateway, and what is to be known of their processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from torana import app
from torana.config.loaded import Loaded
from torana.config.sources import StartError
from torana.model import codec
from torana.model.backend import Backend, BackendRef, Target
from torana.model.config import Config, Proxies
from torana.model.route import Route

HOST = "127.0.0.1"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_TERMINATED = 128 + signal.SIGTERM
"""The exit of a process that SIGTERM has ended, as shells tell it."""


def end_all_on_sigterm() -> None:
    """SIGTERM leaves by way of every `finally`, as Ctrl-C does, so that no process stays behind."""

    def leave(_: int, __: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is being cleaned up is not interrupted by another
        sys.exit(_TERMINATED)

    signal.signal(signal.SIGTERM, leave)


@contextmanager
def upstream_of(config: Config, *, allow_upstream: bool) -> Iterator[Config]:
    """The configuration with its upstreams simulated; as it is when the real ones may be asked."""
    if allow_upstream:
        yield config
        return
    words = [sys.executable, "-m", "torana", "simulate", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            welcome = simulator.stdout.readline()
            if not welcome:
                raise StartError("`torana simulate` did not start")
            port = int(welcome.partition("/v1")[0].rpartition(":")[2])
            yield _simulated(config, Target(HOST, port))
        finally:
            simulator.terminate()


def _simulated(config: Config, target: Target) -> Config:
    """Every upstream of every route is `target`, in plaintext and reached directly."""

    def backend(each: Backend) -> Backend:
        return msgspec.structs.replace(each, target=target, tls=None, connecting=None)

    def refs(given: tuple[BackendRef, ...]) -> tuple[BackendRef, ...]:
        groups = (tuple(tuple(map(backend, group)) for group in ref.groups) for ref in given)
        return tuple(msgspec.structs.replace(ref, groups=each) for ref, each in zip(given, groups, strict=True))

    def route(each: Route) -> Route:
        models = tuple(msgspec.structs.replace(model, backends=refs(model.backends)) for model in each.models)
        mirrors = tuple(msgspec.structs.replace(mirror, backend=backend(mirror.backend)) for mirror in each.mirrors)
        return msgspec.structs.replace(each, backends=refs(each.backends), models=models, mirrors=mirrors)

    binds = tuple(
        msgspec.structs.replace(
            bind,
            listeners=tuple(
                msgspec.structs.replace(listener, routes=tuple(map(route, listener.routes)))
                for listener in bind.listeners
            ),
        )
        for bind in config.binds
    )
    settings = msgspec.structs.replace(config.settings, proxies=Proxies())
    return msgspec.structs.replace(config, binds=binds, settings=settings)


class _Given:
    """A configuration that is there already, as a source of one."""

    files: tuple[Path, ...] = ()

    def __init__(self, config: Config) -> None:
        self._config = config

    def load(self) -> Loaded:
        return Loaded(self._config, (), (), frozenset())

    def port_hint(self, _: int) -> str:
        return ""


@contextmanager
def gateway(config: Config, workers: int | None) -> Iterator[int]:
    """A gateway with its access log in a file, as it would be; its process id."""
    with tempfile.TemporaryDirectory(prefix="torana-bench-") as folder:
        packed = codec.pack(config)
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(packed, f"{folder}/access.log", workers)
        )
        process.start()
        try:
            assert process.pid is not None
            yield process.pid
        finally:
            process.terminate()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(packed: bytes, log: str, workers: int | None) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    app.run(_Given(codec.unpack(packed, Config)), {}, workers)


def await_port(port: int, pid: int) -> None:
    """Raises StartError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and not _is_over(pid):
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise StartError("the gateway did not start")


def _is_over(pid: int) -> bool:
    return not any(child.pid == pid and child.is_alive() for child in multiprocessing.active_children())


def cpu(pid: int) -> float | None:
    """Seconds of CPU time of a process and its children (proc(5), stat); None where there is no /proc."""
    seconds = _cpu_of(Path(f"/proc/{pid}"))
    if seconds is None:
        return None
    for child in Path(f"/proc/{pid}/task/{pid}").glob("children"):
        seconds += sum(_cpu_of(Path(f"/proc/{number}")) or 0.0 for number in child.read_text().split())
    return seconds


def _cpu_of(process: Path) -> float | None:
    try:
        # The second field, the name, may hold anything; user and system time are the 14th and 15th.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.create_server((HOST, 0)) as bound:
        port: int = bound.getsockname()[1]
        return port
