"""A worker: the listening ports, the gateway behind them, and all they need at run time. One per process.

`apply` puts a configuration into effect, the first as well as every later one; `drain` ends the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Mapping
from functools import partial

import msgspec

from torana.http.dial import Dialler, Override
from torana.http.pool import Pool
from torana.http.proxies import Environment
from torana.http.server import Server
from torana.http.sweep import Sweep
from torana.model.config import Bind, Config, Settings
from torana.policies.buckets import Buckets
from torana.proxy.gateway import Gateway
from torana.proxy.runtime import Runtime
from torana.proxy.snapshot import CompiledBind, Snapshot
from torana.telemetry.access_log import AccessLog
from torana.telemetry.metrics import Metrics, State, summed
from torana.telemetry.writer import LineWriter

_log = logging.getLogger(__name__)

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # a machine may well have no IPv6

Overrides = Mapping[tuple[str, int], Override]


class CannotListenError(Exception):
    """A port cannot be opened; the text says which and why."""


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

    async def apply(self, config: Config) -> None:
        """Serve by `config` from now on; requests under way end by what they began with.

        Raises CannotListenError or ssl.SSLError, and then nothing has changed.
        """
        snapshot = Snapshot(config, self._runtime)
        ports: dict[int, _Port] = {}
        try:
            for number, bind in snapshot.binds.items():
                ports[number] = port = self._ports.get(number) or self._open(number, config)
                if port.bind is None or _tls_of(port.bind) != _tls_of(bind.bind):
                    await port.prepare(self._context(bind, number))
        except BaseException:
            for number, port in ports.items():
                port.abandon()
                if number not in self._ports:
                    port.close()
            raise
        # From here on nothing can fail.
        self._gateway.snapshot = snapshot
        for number in self._ports.keys() - ports.keys():
            self._end(self._ports[number], self._settings.drain_timeout)
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

    def _open(self, number: int, config: Config) -> _Port:
        server = Server(self._gateway.serve, self._gateway.refuse, config.limits, self._sweep, number)
        return _Port(server, ipv6=self._settings.ipv6, reuse_port=self._reuse_port)

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
        left = msgspec.structs.replace(self._ending.pop(task).state(), open_connections=0)
        self._retired = summed([self._retired, left])

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

    def __init__(self, server: Server, *, ipv6: bool, reuse_port: bool) -> None:
        self.server = server
        self.bind: Bind | None = None
        self._tls = False
        self._listening: list[asyncio.Server] = []
        self._prepared: list[asyncio.Server] = []
        self._prepared_tls = False
        self._sockets = _open(server.port, ipv6=ipv6, reuse_port=reuse_port)

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
                reason = error.strerror or error
                raise CannotListenError(f"cannot listen on port {self.server.port}: {reason}") from error

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


def _raise_open_files() -> None:
    """As many files as the process may have; the soft limit is often 1024 (for programs that use select)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open(number: int, *, ipv6: bool, reuse_port: bool) -> list[socket.socket]:
    """All addresses of the machine, IPv6 and IPv4 where there are both. Raises CannotListenError."""
    wanted = [(socket.AF_INET, "0.0.0.0")]  # noqa: S104 - a gateway is there to be reached
    if ipv6 and socket.has_ipv6:
        wanted.insert(0, (socket.AF_INET6, "::"))
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, host in wanted:
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.settimeout(0)
            sock.bind((host, number))
            sockets.append(sock)
        except OSError as error:
            if sock is not None:
                sock.close()
            if error.errno not in _NO_SUCH_FAMILY:
                failure = error
    if failure is not None:
        for sock in sockets:
            sock.close()
        raise CannotListenError(f"cannot listen on port {number}: {failure.strerror}") from failure
    return sockets


def _tls_of(bind: Bind) -> list[object]:
    return [(listener.hostname, listener.tls) for listener in bind.listeners]
