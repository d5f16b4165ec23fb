"""A worker: the listening ports, the gateway behind them, and all they need at run time. One per process.

`apply` puts a configuration into effect, the first as well as every later one; `drain` ends the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import socket
import ssl
from collections.abc import Mapping
from functools import partial

import msgspec

from torana.http.client import UpstreamConnection
from torana.http.dial import Dialler, Override
from torana.http.pool import Pool
from torana.http.proxies import Environment
from torana.http.server import Server
from torana.http.sweep import Sweep
from torana.http.upgrade import Tunnel
from torana.model.config import Bind, Config, Settings
from torana.policies.buckets import Buckets
from torana.proxy.gateway import Gateway
from torana.proxy.runtime import Runtime
from torana.proxy.snapshot import CompiledBind, Snapshot
from torana.telemetry.access_log import AccessLog
from torana.telemetry.metrics import Metrics
from torana.telemetry.series import State, summed
from torana.telemetry.writer import LineWriter

_log = logging.getLogger(__name__)

_EVERYWHERE = ("::", "0.0.0.0")  # noqa: S104 - a gateway is there to be reached
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # a machine may well have no IPv6
_OBJECTS_BETWEEN_COLLECTIONS = 10_000

Overrides = Mapping[tuple[str, int], Override]


class CannotListenError(Exception):
    """Ports cannot be opened; the text says which and why, `ports` why for each one that is to blame."""

    def __init__(self, text: str, ports: Mapping[int, str] | None = None) -> None:
        super().__init__(text)
        self.ports = dict(ports or {})

    @classmethod
    def of(cls, ports: Mapping[int, str]) -> CannotListenError:
        return cls("; ".join(ports.values()), ports)


class Worker:
    """Serves one Config at a time. `settings` are those of the start and do not change.

    `buckets` are those of all workers that share the ports; None where it is the only one.
    """

    def __init__(
        self,
        settings: Settings,
        overrides: Overrides,
        writer: LineWriter,
        *,
        reuse_port: bool,
        buckets: Buckets | None = None,
    ) -> None:
        self._settings = settings
        self._reuse_port = reuse_port
        self._writer = writer
        self._sweep = Sweep()
        dialler = Dialler(self._sweep, overrides, settings.connect_timeout, settings.answer_timeout)
        pool = Pool(dialler, self._sweep, settings.pool_idle_timeout, settings.pool_max_idle)
        self._runtime = Runtime(pool, buckets, Environment(settings.proxies, overrides))
        self._metrics = Metrics()
        self._gateway = Gateway(
            Snapshot(Config(), self._runtime), self._metrics, AccessLog(writer, settings.log_format, settings.log_level)
        )
        self._ports: dict[int, _Port] = {}
        self._ending: dict[asyncio.Task[bool], _Port] = {}  # closed ports whose last answers are under way
        self._retired = State()  # the numbers of the ports that have ended
        self._most_connections = 0  # as last compared with the limit of open files
        self._sweep.start()
        _raise_open_files()
        _keep_freed_memory()

    async def apply(self, config: Config) -> None:
        """Serve by `config` from now on; requests under way end by what they began with.

        Raises CannotListenError or ssl.SSLError, and then nothing has changed.
        """
        ports = self._opened(config)
        try:
            snapshot = Snapshot(config, self._runtime)
            for number, bind in snapshot.binds.items():
                port = ports[number]
                if port.bind is None or _tls_of(port.bind) != _tls_of(bind.bind):
                    await port.prepare(self._context(bind, number))
        except BaseException:
            self._abandon(ports)
            raise
        # From here on nothing can fail.
        self._gateway.snapshot = snapshot
        self._gateway.room.limit = config.limits.max_total_bytes
        for number, former in self._ports.items():
            if ports.get(number) is not former:
                self._end(former, self._settings.drain_timeout)
        self._ports = ports
        for number, port in ports.items():
            port.server.set_limits(config.limits)
            self._retired = summed([self._retired, port.commit(snapshot.binds[number].bind)])
        self._runtime.keep_only(snapshot.endpoints)
        self._compare_open_files(config)

    def state(self) -> State:
        """The numbers of this process."""
        ports = [*self._ports.values(), *self._ending.values()]
        state = summed([self._metrics.state(), self._retired, *(port.state() for port in ports)])
        state.dropped_log_lines = self._writer.dropped
        state.upstream_open = sum(isinstance(member, UpstreamConnection | Tunnel) for member in self._sweep.members)
        state.upstream_idle = self._runtime.pool.idle_count
        state.held_bytes = self._gateway.room.taken
        state.pending = self._runtime.pending
        state.tasks = len(asyncio.all_tasks())
        return state

    async def drain(self, timeout: float) -> bool:
        """Take no new connection, let requests under way finish for up to `timeout` seconds. True when all did."""
        ends = [self._end(port, timeout) for port in self._ports.values()]
        self._ports.clear()
        complete = all(await asyncio.gather(*ends)) if ends else True
        self._gateway.close()
        self._sweep.stop()
        self._runtime.pool.close()
        return complete

    def _opened(self, config: Config) -> dict[int, _Port]:
        """The ports of a configuration, those that are open and new ones. Raises CannotListenError for all that fail.

        A port whose addresses change is another port: both are open until the former one ends.
        """
        ports: dict[int, _Port] = {}
        failures: dict[int, str] = {}
        for bind in config.binds:
            port = self._ports.get(bind.port)
            if port is None or port.addresses != bind.addresses:
                server = Server(self._gateway.serve, self._gateway.refuse, config.limits, self._sweep, bind.port)
                try:
                    port = _Port(server, bind, ipv6=self._settings.ipv6, reuse_port=self._reuse_port)
                except CannotListenError as error:
                    failures |= error.ports
                    continue
            ports[bind.port] = port
        if failures:
            self._abandon(ports)
            raise CannotListenError.of(failures)
        return ports

    def _abandon(self, ports: dict[int, _Port]) -> None:
        """Ports that were to be served are not: those that serve go on as they do, new ones close."""
        for number, port in ports.items():
            port.abandon()
            if self._ports.get(number) is not port:
                port.close()

    def _context(self, bind: CompiledBind, number: int) -> ssl.SSLContext | None:
        if not bind.tls:
            return None
        context = bind.context_for(None)
        if context is not None:
            context.sni_callback = partial(self._choose_certificate, number)
        return context

    def _choose_certificate(
        self, number: int, connection: ssl.SSLObject | ssl.SSLSocket, server_name: str | None, _: ssl.SSLContext
    ) -> int | None:
        bind = self._gateway.snapshot.binds.get(number)
        context = bind.context_for(server_name) if bind is not None else None
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        connection.torana_sni = server_name  # type: ignore[union-attr]  # read by ServerConnection
        return None

    def _end(self, port: _Port, timeout: float) -> asyncio.Task[bool]:
        task = asyncio.create_task(port.end(timeout))
        self._ending[task] = port
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[bool]) -> None:
        self._retired = summed([self._retired, self._ending.pop(task).state().ended()])

    def _compare_open_files(self, config: Config) -> None:
        """Warn when the connections that are allowed, each with one to an upstream, are more than can be open."""
        most, (limit, _) = config.limits.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != self._most_connections and 2 * most > limit != resource.RLIM_INFINITY:
            _log.warning(
                "maxConnections is %d, and a request may take two open files, of which this process can have %d: "
                "raise its limit (ulimit -Hn) or lower maxConnections",
                *(most, limit),
            )
        self._most_connections = most


class _Port:
    """One port number: its sockets stay open while what listens on them is replaced.

    `prepare` does what can fail, then either `commit` or `abandon` follows.
    """

    def __init__(self, server: Server, bind: Bind, *, ipv6: bool, reuse_port: bool) -> None:
        self.server = server
        self.addresses = bind.addresses
        self.bind: Bind | None = None
        self._tls = False
        self._listening: list[asyncio.Server] = []
        self._prepared: list[asyncio.Server] = []
        self._prepared_tls = False
        self._sockets = _open(bind, ipv6=ipv6, reuse_port=reuse_port)

    async def prepare(self, context: ssl.SSLContext | None) -> None:
        """Accept with this TLS context. Raises CannotListenError."""
        self._prepared_tls = context is not None
        for sock in self._sockets:
            try:
                own = sock.dup()
                try:
                    self._prepared.append(await self.server.accept_on(own, context))
                except BaseException:
                    own.close()
                    raise
            except OSError as error:
                number, reason = self.server.port, error.strerror or error
                raise CannotListenError.of({number: f"cannot listen on port {number}: {reason}"}) from error

    def abandon(self) -> None:
        for listening in self._prepared:
            listening.close()
        self._prepared = []

    def commit(self, bind: Bind) -> State:
        """What accepted before stops; its connections go on. What was counted by a name that is not used any more."""
        retired = State()
        if self._prepared:
            if self._tls != self._prepared_tls:
                retired.connections = self._accepted()
                self.server.accepted = 0
            former, self._listening, self._prepared = self._listening, self._prepared, []
            self._tls, self.bind = self._prepared_tls, bind
            for listening in former:
                listening.close()
        return retired

    def state(self) -> State:
        return State(
            connections=self._accepted(),
            received_bytes=self.server.received_bytes,
            sent_bytes=self.server.sent_bytes,
            open_connections=len(self.server.connections),
        )

    async def end(self, timeout: float) -> bool:
        self.close()
        self.server.drain()
        return await self.server.drained(timeout)

    def close(self) -> None:
        for listening in self._listening:
            listening.close()
        for sock in self._sockets:
            sock.close()

    def _accepted(self) -> dict[tuple[str, str, str], int]:
        return {(f"bind/{self.server.port}", "default", "https" if self._tls else "http"): self.server.accepted}


def settle() -> None:
    """The first configuration is in effect: what is loaded by now stays, and the collector need not look at it again.

    Requests leave next to no cycles behind, but each open stream is some objects that a collection walks through: with
    2,000 streams the collector took some 0.2 s beside 1.9 s of CPU time, 50 ms of it at once. Looking at every 10,000th
    new object instead of every 700th is a quarter of that in shorter pauses, and no more memory.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def _raise_open_files() -> None:
    """As many files as the process may have; the soft limit is often 1024 (for programs that use select)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _keep_freed_memory() -> None:
    """Have glibc keep up to 32 MiB that were freed: memory that is new costs a large body more than its copying does.

    It keeps twice the largest block that was mapped and freed again (mallopt(3), M_MMAP_THRESHOLD), and a block that
    nobody touches takes no memory. Other C libraries do as they please. Measured in docs/adr/0007-large-bodies.md.
    """
    bytes(16 * 1024 * 1024)


def _open(bind: Bind, *, ipv6: bool, reuse_port: bool) -> list[socket.socket]:
    """On the addresses asked for; or on all of the machine, IPv6 and IPv4 where there are both.

    Raises CannotListenError.
    """
    everywhere = _EVERYWHERE if ipv6 and socket.has_ipv6 else _EVERYWHERE[1:]
    sockets: list[socket.socket] = []
    for address in bind.addresses or everywhere:
        try:
            sockets.append(_bound(address, bind.port, reuse_port=reuse_port))
        except OSError as error:
            if not bind.addresses and ":" in address and error.errno in _NO_SUCH_FAMILY:
                continue
            for sock in sockets:
                sock.close()
            where = msgspec.structs.replace(bind, addresses=bind.addresses and (address,)).places
            raise CannotListenError.of({bind.port: f"cannot listen on {where}: {error.strerror}"}) from error
    return sockets


def _bound(address: str, port: int, *, reuse_port: bool) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.settimeout(0)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _tls_of(bind: Bind) -> list[object]:
    return [(listener.hostname, listener.tls) for listener in bind.listeners]
