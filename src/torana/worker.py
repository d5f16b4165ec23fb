"""A worker: the listening ports, the gateway behind them, and all they need at run time. One per process.

`apply` puts a configuration into effect, the first as well as every later one; `drain` ends the worker.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Mapping
from functools import partial

from torana.http.dial import Dialler, Override
from torana.http.pool import Pool
from torana.http.server import Server
from torana.http.sweep import Sweep
from torana.model.config import Bind, Config, Settings
from torana.proxy.gateway import Gateway
from torana.proxy.runtime import Runtime
from torana.proxy.snapshot import CompiledBind, Snapshot
from torana.telemetry.access_log import AccessLog
from torana.telemetry.metrics import Metrics, State
from torana.telemetry.writer import LineWriter

_log = logging.getLogger(__name__)

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # a machine may well have no IPv6

Overrides = Mapping[tuple[str, int], Override]


class CannotListenError(Exception):
    """A port cannot be opened; the text says which and why."""


class Worker:
    """Serves one Config at a time. `settings` are those of the start and do not change."""

    def __init__(self, settings: Settings, overrides: Overrides, writer: LineWriter, *, reuse_port: bool) -> None:
        self._settings = settings
        self._reuse_port = reuse_port
        self._writer = writer
        self._sweep = Sweep()
        dialler = Dialler(self._sweep, overrides, settings.connect_timeout, settings.answer_timeout)
        pool = Pool(dialler, self._sweep, settings.pool_idle_timeout, settings.pool_max_idle)
        self._runtime = Runtime(pool)
        self._metrics = Metrics()
        self._gateway = Gateway(
            Snapshot(Config(), self._runtime), self._metrics, AccessLog(writer, settings.log_format)
        )
        self._ports: dict[int, _Port] = {}
        self._ending: set[asyncio.Task[bool]] = set()  # servers of closed ports whose last answers are under way
        self._sweep.start()

    async def apply(self, config: Config) -> None:
        """Serve by `config` from now on; requests under way end by what they began with.

        Raises CannotListenError or ssl.SSLError, and then nothing has changed.
        """
        snapshot = Snapshot(config, self._runtime)
        opened: dict[int, _Port] = {}
        try:
            for number in snapshot.binds.keys() - self._ports.keys():
                opened[number] = _Port(number, ipv6=self._settings.ipv6, reuse_port=self._reuse_port)
        except CannotListenError:
            for port in opened.values():
                port.close()
            raise
        self._ports |= opened
        self._gateway.snapshot = snapshot
        for number, port in tuple(self._ports.items()):
            if number in snapshot.binds:
                await self._serve(port, snapshot.binds[number], config)
            else:
                self._end(self._ports.pop(number), self._settings.drain_timeout)
        self._runtime.keep_only(snapshot.endpoints)

    def state(self) -> State:
        """The numbers of this process."""
        state = self._metrics.state()
        for port in self._ports.values():
            if port.server is not None:
                key = (f"bind/{port.number}", "default", "https" if port.context is not None else "http")
                state.connections[key] = port.server.accepted
                state.received_bytes += port.server.received_bytes
                state.sent_bytes += port.server.sent_bytes
                state.open_connections += len(port.server.connections)
        state.dropped_log_lines = self._writer.dropped
        return state

    async def drain(self, timeout: float) -> bool:
        """Take no new connection, let requests under way finish for up to `timeout` seconds. True when all did."""
        ends = [self._end(port, timeout) for port in self._ports.values()]
        self._ports.clear()
        complete = all(await asyncio.gather(*ends)) if ends else True
        self._sweep.stop()
        self._runtime.pool.close()
        return complete

    async def _serve(self, port: _Port, bind: CompiledBind, config: Config) -> None:
        """Listen, or go on listening, with what the bind says now."""
        if port.server is None:
            port.server = Server(self._gateway.serve, self._gateway.refuse, config.limits, self._sweep, port.number)
        port.server.set_limits(config.limits)
        if port.bind is not None and _tls_of(port.bind) == _tls_of(bind.bind):
            return
        port.bind = bind.bind
        port.context = self._context(bind, port.number)
        await port.listen()

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
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


class _Port:
    """One port number: its sockets stay open while what listens on them is replaced."""

    def __init__(self, number: int, *, ipv6: bool, reuse_port: bool) -> None:
        self.number = number
        self.server: Server | None = None
        self.bind: Bind | None = None
        self.context: ssl.SSLContext | None = None
        self._listening: list[asyncio.Server] = []
        self._sockets = _open(number, ipv6=ipv6, reuse_port=reuse_port)

    async def listen(self) -> None:
        """Accept with the present TLS context. What accepted before stops; its connections go on."""
        former = self._listening
        assert self.server is not None
        self._listening = [await self.server.accept_on(sock.dup(), self.context) for sock in self._sockets]
        for listening in former:
            listening.close()

    async def end(self, timeout: float) -> bool:
        self.close()
        if self.server is None:
            return True
        self.server.drain()
        return await self.server.drained(timeout)

    def close(self) -> None:
        for listening in self._listening:
            listening.close()
        for sock in self._sockets:
            sock.close()


def _open(number: int, *, ipv6: bool, reuse_port: bool) -> list[socket.socket]:
    """All addresses of the machine, IPv6 and IPv4 where there are both. Raises CannotListenError."""
    wanted = [(socket.AF_INET, "0.0.0.0")]  # noqa: S104 - a gateway is there to be reached
    if ipv6 and socket.has_ipv6:
        wanted.insert(0, (socket.AF_INET6, "::"))
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, host in wanted:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.settimeout(0)
            sock.bind((host, number))
            sockets.append(sock)
        except OSError as error:
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
