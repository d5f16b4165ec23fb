"""`torana bench`: what a request costs on this machine, by the user's own configuration: direct, and through Torana.

The gateway runs as a process of its own, on a free port of localhost, with the configuration given. Its upstreams are
replaced by `torana simulate`: nothing leaves the machine, unless the real upstream is asked for by name of the option.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import uvloop

from torana import app
from torana.cli import load
from torana.cli.explain import exchange_of, runtime_of
from torana.cli.load import Load
from torana.cli.serve import give_up, source_of
from torana.config.loaded import Loaded
from torana.config.problem import ConfigError
from torana.config.sources import StartError
from torana.errors import GatewayError
from torana.exchange import Exchange
from torana.http.tls import upstream_context
from torana.llm.operation import ModelPlace
from torana.model import codec
from torana.model.backend import Backend, BackendRef, Target
from torana.model.config import Bind, Config, Protocol, Proxies
from torana.model.route import Route
from torana.proxy.call import aimed, made_call, reads_body
from torana.proxy.gateway import before, match
from torana.proxy.snapshot import CompiledRoute, Snapshot
from torana.proxy.upstream import Upstream

_HOST = "127.0.0.1"
_PATH = "/v1/chat/completions"
_BODY = b'{"model":%b,"messages":[{"role":"user","content":"Say hello."}]}'
_MODEL = "simulate"
_ROUNDS = 3
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class Shape(NamedTuple):
    """How hard, and how long in all: `rate` requests a second for the latencies, `connections` at once for the rest."""

    seconds: float
    rate: float
    connections: int
    workers: int | None


class _Way(NamedTuple):
    """A place to ask, what it is asked, and the process at the root of what answers (None: not ours to account)."""

    name: str
    place: load.Place
    request: bytes
    pid: int | None


class _Figures(NamedTuple):
    """Of one way: all rounds together. `cpu` in seconds of the process; None where the system does not tell."""

    paced: list[Load]
    flat: list[Load]
    cpu: float | None

    @property
    def failed(self) -> int:
        return sum(each.failed for each in (*self.paced, *self.flat))

    @property
    def complaint(self) -> str:
        return next((each.complaint for each in (*self.paced, *self.flat) if each.complaint), "")

    @property
    def rate(self) -> float:
        return _median([each.rate for each in self.flat])

    def percentile(self, share: float) -> float:
        """Milliseconds at the fixed rate."""
        return _median([each.percentile(share) for each in self.paced]) * 1000


def bench(file: str | None, text: str | None, url: str | None, shape: Shape, *, allow_upstream: bool) -> None:
    """Print the table. Exit 1 when the configuration has no such route, or requests failed."""
    try:
        loaded = source_of(file, text).load()
        url = url or _first_url(loaded.config)
        with _upstream_of(loaded.config, allow_upstream=allow_upstream) as config:
            _measure(config, url, shape)
    except (ConfigError, StartError) as error:
        give_up(error)
    except (GatewayError, OSError) as error:
        give_up(StartError(str(error)))


def _first_url(config: Config) -> str:
    """Raises StartError for a configuration that listens nowhere."""
    if not config.binds or not config.binds[0].listeners:
        raise StartError("the configuration has no listener to ask")
    bind = config.binds[0]
    scheme = "https" if bind.listeners[0].protocol is Protocol.HTTPS else "http"
    names = (*(route.hostnames for listener in bind.listeners for route in listener.routes), ())
    host = next((name for name in names[0] if not name.startswith("*")), "localhost")
    return f"{scheme}://{host}:{bind.port}{_PATH}"


# What is measured


def _measure(config: Config, url: str, shape: Shape) -> None:
    exchange, asked = exchange_of(url, "POST", ["content-type: application/json"])
    port = _free_port()
    config = _moved(config, asked, port)
    snapshot = Snapshot(config, runtime_of(config.settings.proxies, {}))
    matched = match(snapshot, port, exchange)
    reply = before(matched.route, exchange)
    if reply is not None:
        raise StartError(f"{url} is answered {reply.status} by the gateway itself: choose another with --url")
    route, body = _chosen(matched.route, exchange)
    upstream = next((each for each in route.upstreams if each.redirect is None), None)
    if upstream is None:
        raise StartError(f"the route {route.route.name} has no backend to ask: choose another with --url")
    # The gateway writes the request anew; this is what a client sends.
    head = f"POST {exchange.path.decode()} HTTP/1.1\r\nhost: {exchange.host.decode()}\r\n"
    client = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    direct = _Way("direct", _place_of(upstream), _composed(upstream, exchange, body), None)
    with _gateway(config, shape.workers) as pid:
        at = load.Place(_HOST, port, tls=_trusting() if url.startswith("https:") else None, name="localhost")
        _await_port(port, pid)
        through = _Way("through Torana", at, client, pid)
        uvloop.run(_warm((direct, through)))
        _report(uvloop.run(_rounds((direct, through), shape)), shape)


async def _warm(ways: tuple[_Way, ...]) -> None:
    """Raises StartError when one does not answer as it should."""
    for way in ways:
        try:
            tried = await load.at_rate(way.place, way.request, 100, 2, 0.2)
        except OSError as error:
            raise StartError(f"{way.name}: {way.place.host}:{way.place.port} cannot be reached: {error}") from error
        if tried.failed or not tried.times:
            raise StartError(f"{way.name}: {tried.complaint or 'no answer'}")


async def _rounds(ways: tuple[_Way, ...], shape: Shape) -> dict[_Way, _Figures]:
    """The ways take turns, so that a noisy neighbour disturbs them alike; CPU is that of the second part."""
    seconds = shape.seconds / (_ROUNDS * len(ways) * 2)
    found = {way: _Figures([], [], None if way.pid is None else _cpu(way.pid) and 0.0) for way in ways}
    for _ in range(_ROUNDS):
        for way, figures in found.items():
            paced = await load.at_rate(way.place, way.request, shape.rate, shape.connections, seconds)
            before_it = None if way.pid is None else _cpu(way.pid)
            flat = await load.flat_out(way.place, way.request, shape.connections, seconds)
            after_it = None if way.pid is None else _cpu(way.pid)
            figures.paced.append(paced)
            figures.flat.append(flat)
            if before_it is not None and after_it is not None:
                found[way] = figures._replace(cpu=(figures.cpu or 0.0) + after_it - before_it)
    return found


def _report(found: dict[_Way, _Figures], shape: Shape) -> None:
    """The table; exit 1 when requests failed, for then it says little."""
    click.echo(f"{'':<16}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'CPU µs/request':>17}")
    for way, figures in found.items():
        done = sum(len(each.times) for each in figures.flat)
        cpu = f"{figures.cpu * 1e6 / done:,.0f}" if figures.cpu is not None and done else ""
        times = f"{figures.percentile(0.5):>10.2f}{figures.percentile(0.99):>10.2f}"
        click.echo(f"{way.name:<16}{figures.rate:>12,.0f}{times}{cpu:>17}")
    direct, through = found.values()
    added = (through.percentile(share) - direct.percentile(share) for share in (0.5, 0.99))
    click.echo(f"{'added':<16}{'':>12}" + "".join(f"{each:>10.2f}" for each in added))
    click.echo(
        f"\nLatencies at {shape.rate:g} requests/s, the rest with {shape.connections} connections that never wait. "
        "Gateway, upstream and load share this machine."
    )
    missed = sum(each.missed for each in through.paced)
    if missed:
        click.echo(f"{missed} requests fell due while all connections were busy: try a lower --rate.")
    for way, figures in found.items():
        if figures.failed:
            click.echo(f"{figures.failed} requests failed, {way.name}: {figures.complaint}", err=True)
    if direct.failed or through.failed:
        sys.exit(1)


# What is asked


def _moved(config: Config, asked: int, port: int) -> Config:
    """Only the bind that is asked, on a free port of localhost, and no other port."""
    binds = tuple(bind for bind in config.binds if bind.port == asked)
    if not binds:
        ports = ", ".join(str(bind.port) for bind in config.binds) or "none"
        raise StartError(f"nothing listens on port {asked}; configured: {ports}")
    settings = msgspec.structs.replace(config.settings, admin_address=None, stats_address=None, readiness_address=None)
    moved = Bind(port, binds[0].listeners, (_HOST,))
    return msgspec.structs.replace(config, binds=(moved,), settings=settings)


def _chosen(route: CompiledRoute, exchange: Exchange) -> tuple[CompiledRoute, bytes]:
    """The route that is asked, and the body for it: of several models the first. Raises GatewayError, StartError."""
    if route.models is None:
        return route, _BODY % msgspec.json.encode(_MODEL)
    if not route.route.models:
        raise StartError("`llm` has no model to ask")
    exchange.model = route.route.models[0].name.replace("*", _MODEL)
    exchange.content = body = _BODY % msgspec.json.encode(exchange.model)
    route = route.models.find(exchange.model, exchange)
    before(route, exchange)
    return route, body


def _composed(upstream: Upstream, exchange: Exchange, body: bytes) -> bytes:
    """The request as the gateway would send it, so that the upstream is asked the same both ways."""
    if upstream.is_llm:
        target, operation = aimed(exchange, upstream)
        if reads_body(exchange, operation) is ModelPlace.JSON:
            body = made_call(operation, upstream, body, exchange.model).prepared.body
    else:
        target = upstream.target(exchange)
    head = b"".join(upstream.compose(exchange, target, plain=False).parts)
    return head + f"content-length: {len(body)}\r\n\r\n".encode() + body


def _place_of(upstream: Upstream) -> load.Place:
    """Raises StartError for one behind a forward proxy."""
    backend, target = upstream.backend, upstream.backend.target
    if upstream.endpoint.address.connecting.tunnel is not None:
        raise StartError(f"{backend.name} is reached through a forward proxy, which cannot be measured")
    if backend.tls is None:
        return load.Place(target.host, target.port, target.unix)
    return load.Place(
        target.host, target.port, target.unix, upstream_context(backend.tls), backend.tls.hostname or target.host
    )


# What is run


@contextmanager
def _upstream_of(config: Config, *, allow_upstream: bool) -> Iterator[Config]:
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
            yield _simulated(config, Target(_HOST, port))
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
def _gateway(config: Config, workers: int | None) -> Iterator[int]:
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


def _await_port(port: int, pid: int) -> None:
    """Raises StartError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and not _is_over(pid):
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise StartError("the gateway did not start")


def _is_over(pid: int) -> bool:
    return not any(child.pid == pid and child.is_alive() for child in multiprocessing.active_children())


def _cpu(pid: int) -> float | None:
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


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def _trusting() -> ssl.SSLContext:
    """For our own gateway on localhost, whose certificate is for another name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _median(several: list[float]) -> float:
    return statistics.median(several) if several else 0.0
