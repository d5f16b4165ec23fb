"""`torana bench`: what a request costs on this machine, by the user's own configuration: direct, and through Torana.

The gateway runs as a process of its own, on a free port of localhost, with the configuration given. Its upstreams are
replaced by `torana simulate`: nothing leaves the machine, unless the real upstream is asked for by name of the option.
"""

from __future__ import annotations

import ssl
import statistics
import sys
from typing import NamedTuple

import click
import msgspec
import uvloop

from torana.cli import load
from torana.cli.bench_processes import HOST, await_port, cpu, end_all_on_sigterm, free_port, gateway, upstream_of
from torana.cli.explain import runtime_of
from torana.cli.load import Load
from torana.cli.request import exchange_of
from torana.cli.serve import give_up, source_of
from torana.config.problem import ConfigError
from torana.config.sources import StartError
from torana.errors import GatewayError
from torana.exchange import Exchange
from torana.http.tls import upstream_context
from torana.llm.operation import ModelPlace, operation_of
from torana.model.config import Bind, Config, Protocol
from torana.proxy.call import aimed, made_call, reads_body
from torana.proxy.gateway import before, match
from torana.proxy.snapshot import CompiledRoute, Snapshot
from torana.proxy.upstream import Upstream
from torana.simulate.service import SIMULATED

_PATH = "/v1/chat/completions"
_BODY = b'{"model":%b,"messages":[{"role":"user","content":"Say hello."}]}'
_MODEL = "simulate"
_ROUNDS = 3


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


class _Asked(NamedTuple):
    """One and the same call: where it ends, its body as clients send it, and whole, as the gateway sends it on."""

    upstream: Upstream
    exchange: Exchange
    body: bytes
    target: str
    direct: bytes

    @property
    def is_simulated(self) -> bool:
        return operation_of(self.target.partition("?")[0].encode("latin-1")) in SIMULATED


def bench(file: str | None, text: str | None, url: str | None, shape: Shape, *, allow_upstream: bool) -> None:
    """Print the table. Exit 1 when the configuration has no such route, or requests failed."""
    end_all_on_sigterm()
    try:
        loaded = source_of(file, text).load()
        url = url or _first_url(loaded.config)
        with upstream_of(loaded.config, allow_upstream=allow_upstream) as config:
            _measure(config, url, shape, simulated=not allow_upstream)
    except (ConfigError, StartError) as error:
        give_up(error)
    except OSError as error:
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


def _measure(config: Config, url: str, shape: Shape, *, simulated: bool) -> None:
    port = free_port()
    try:
        _, asked_port = _exchange(url)
        moved = _moved(config, asked_port, port)
        snapshot = Snapshot(config, runtime_of(config.settings.proxies, {}))
        asked = _asked(snapshot, asked_port, url, simulated=simulated)
    except GatewayError as error:
        raise StartError(f"{url}: {error.message} Choose another with --url") from error
    # The gateway writes the request anew; this is what a client sends.
    exchange = asked.exchange
    query = b"" if exchange.query is None else b"?" + exchange.query
    head = f"POST {(exchange.path + query).decode()} HTTP/1.1\r\nhost: {exchange.host.decode()}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(asked.body)}\r\n\r\n"
    direct = _Way("direct", _place_of(asked.upstream), asked.direct, None)
    with gateway(moved, shape.workers) as pid:
        at = load.Place(HOST, port, tls=_trusting() if url.startswith("https:") else None, name="localhost")
        await_port(port, pid)
        through = _Way("through Torana", at, head.encode() + asked.body, pid)
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
    found = {way: _Figures([], [], None if way.pid is None else cpu(way.pid) and 0.0) for way in ways}
    for _ in range(_ROUNDS):
        for way, figures in found.items():
            paced = await load.at_rate(way.place, way.request, shape.rate, shape.connections, seconds)
            before_it = None if way.pid is None else cpu(way.pid)
            flat = await load.flat_out(way.place, way.request, shape.connections, seconds)
            after_it = None if way.pid is None else cpu(way.pid)
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
    moved = Bind(port, binds[0].listeners, (HOST,))
    return msgspec.structs.replace(config, binds=(moved,), settings=settings)


def _asked(snapshot: Snapshot, port: int, url: str, *, simulated: bool) -> _Asked:
    """The call of `url`; of several models that of the first that can be asked. Raises GatewayError, StartError."""
    _, route = _matched(snapshot, port, url)
    names = [model.name for model in route.route.models] if route.models is not None else [""]
    unspoken = ""
    for name in names:
        asked = _call(snapshot, port, url, name.replace("*", _MODEL))
        if asked.is_simulated or not simulated:
            if unspoken:
                click.echo(f"torana: {unspoken}; {name} is asked instead", err=True)
            return asked
        whose = name or asked.upstream.backend.name
        unspoken = unspoken or f"{whose} needs POST {asked.target}, but `torana simulate` speaks OpenAI's API alone"
    if not unspoken:
        raise StartError("`llm` has no model to ask")
    raise StartError(f"{unspoken}: choose another with --url, or ask it with --allow-upstream, for which it may charge")


def _call(snapshot: Snapshot, port: int, url: str, model: str) -> _Asked:
    """With `model` where the route has several. Raises GatewayError, StartError."""
    exchange, route = _matched(snapshot, port, url)
    body = _BODY % msgspec.json.encode(model or _MODEL)
    if route.models is not None:
        exchange.model, exchange.content = model, body
        route = route.models.find(model, exchange)
        before(route, exchange)
    upstream = next((each for each in route.upstreams if each.redirect is None), None)
    if upstream is None:
        raise StartError(f"the route {route.route.name} has no backend to ask: choose another with --url")
    target, direct = _composed(upstream, exchange, body)
    return _Asked(upstream, exchange, body, target.decode("latin-1"), direct)


def _matched(snapshot: Snapshot, port: int, url: str) -> tuple[Exchange, CompiledRoute]:
    """A request of a client, and its route, which may have changed it. Raises GatewayError, StartError."""
    exchange, _ = _exchange(url)
    route = match(snapshot, port, exchange).route
    if route.operations is not None:
        exchange.operation, exchange.opaque = route.operations(exchange.path)
    reply = before(route, exchange)
    if reply is not None:
        raise StartError(f"{url} is answered {reply.status} by the gateway itself: choose another with --url")
    return exchange, route


def _exchange(url: str) -> tuple[Exchange, int]:
    return exchange_of(url, "POST", ["content-type: application/json"])


def _composed(upstream: Upstream, exchange: Exchange, body: bytes) -> tuple[bytes, bytes]:
    """The target and the whole of the request as the gateway would send it, so that both ways ask the same."""
    target, translation = upstream.target(exchange), None
    if upstream.is_llm:
        target, operation = aimed(exchange, upstream)
        if not exchange.opaque and reads_body(exchange, operation) is ModelPlace.JSON:
            call = made_call(operation, upstream, body, exchange.model)
            body, translation = call.prepared.body, call.translation
    plain = translation is not None
    head = b"".join(upstream.compose(exchange, target, plain=plain, translation=translation).parts)
    return target, head + f"content-length: {len(body)}\r\n\r\n".encode() + body


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


def _trusting() -> ssl.SSLContext:
    """For our own gateway on localhost, whose certificate is for another name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _median(several: list[float]) -> float:
    return statistics.median(several) if several else 0.0
