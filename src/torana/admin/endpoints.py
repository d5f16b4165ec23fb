"""The three small servers of operations, with agentgateway's ports and paths.

    stats      [::]:15020        /metrics, /stats/prometheus
    readiness  [::]:15021        /healthz/ready
    admin      localhost:15000   /config_dump, POST /quitquitquit

They are served by the same HTTP code as everything else, so the same limits hold. A web page in a browser on the same
machine reaches localhost too: the admin server takes no request that a page may have sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from torana import __version__
from torana.exchange import LocalReply
from torana.http.message import Field, field
from torana.http.request import Request
from torana.http.server import Server, ServerConnection
from torana.http.sweep import Sweep
from torana.model.config import Limits, Settings
from torana.proxy.reply import refuse, render_reply
from torana.telemetry.exposition import render
from torana.telemetry.series import State, summed
from torana.telemetry.trouble import Trouble, told

_log = logging.getLogger(__name__)
_LIMITS = Limits(max_connections=256, max_body_bytes=64 * 1024)
_VARIABLES = {"adminAddr": "ADMIN_ADDR", "statsAddr": "STATS_ADDR", "readinessAddr": "READINESS_ADDR"}
"""A setting -> the variable of the environment that wins over it."""
_TEXT: Field = (b"content-type", b"content-type", b"text/plain; charset=utf-8")
_JSON: Field = (b"content-type", b"content-type", b"application/json")


class Subject(Protocol):
    """What is asked about: the running process."""

    pending: list[str]
    """What readiness still waits for."""
    workers: int

    @property
    def synchronized(self) -> bool:
        """Whether what runs is the newest there is."""

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Why what runs may not be the newest; it is served all the same."""

    async def states(self) -> list[State]: ...

    def dump(self) -> Any:
        """The configuration that runs, secrets masked."""

    def quit(self) -> None: ...


class AdminError(Exception):
    """An address cannot be listened on; the text says which setting names it."""


Handle = Callable[[Request], Awaitable[LocalReply]]


class _Place(NamedTuple):
    setting: str
    address: str | None
    routes: dict[tuple[bytes, bytes], Handle]
    pages: bool = True
    """Whether a web page may ask."""


class Endpoints:
    """The servers, from `start` to `close`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._sweep = Sweep()
        self._listening: list[asyncio.Server] = []
        self._servers: list[Server] = []

    async def start(self, settings: Settings) -> None:
        """Raises AdminError."""
        self._sweep.start()
        metrics, ready = self._metrics, self._ready
        places = (
            _Place(
                "statsAddr",
                settings.stats_address,
                {(b"GET", b"/metrics"): metrics, (b"GET", b"/stats/prometheus"): metrics},
            ),
            _Place("readinessAddr", settings.readiness_address, {(b"GET", b"/healthz/ready"): ready}),
            _Place(
                "adminAddr",
                settings.admin_address,
                {(b"GET", b"/config_dump"): self._config_dump, (b"POST", b"/quitquitquit"): self._quit},
                pages=False,
            ),
        )
        for place in places:
            if place.address is not None:
                await self._listen(place, place.address)

    def close(self) -> None:
        for listening in self._listening:
            listening.close()
        for server in self._servers:
            for connection in tuple(server.connections):
                connection.abort()
        self._sweep.stop()

    async def _listen(self, place: _Place, address: str) -> None:
        async def handle(request: Request, connection: ServerConnection) -> None:
            handler = place.routes.get((b"GET" if request.method == b"HEAD" else request.method, request.path))
            if not place.pages and _may_be_a_page(request, address):
                handler = _forbid
            try:
                reply = await handler(request) if handler else LocalReply(404, [_TEXT], b"not found\n")
            except Exception:  # noqa: BLE001 - logged with its traceback
                _log.exception("an operations request failed")
                reply = LocalReply(500, [_TEXT], b"internal error\n")
            connection.respond(render_reply(reply), b"" if request.method == b"HEAD" else reply.body)

        server = Server(handle, refuse, _LIMITS, self._sweep)
        self._servers.append(server)
        try:
            await self._open(server, address)
        except OSError as error:
            hint = f"set another address there or in {_VARIABLES[place.setting]}, or `off`"
            message = f"cannot listen on {address} (config.{place.setting}): {_why(error)}; {hint}"
            raise AdminError(message) from error

    async def _open(self, server: Server, address: str) -> None:
        """On all that the host stands for: `localhost` is ::1 too, even where IPv6 is off. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            _remove_socket(path)
            self._listening.append(await loop.create_unix_server(lambda: ServerConnection(server), path))
            return
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        everywhere = host in ("", "::", "0.0.0.0")  # noqa: S104 - compared, not bound
        hosts = [None] if everywhere else await _addresses(host)
        missing = []
        for each in hosts:
            try:
                self._listening.append(await loop.create_server(lambda: ServerConnection(server), each, int(port)))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                missing.append(error)
        if len(missing) == len(hosts):
            raise missing[0]

    async def _metrics(self, request: Request) -> LocalReply:
        accept = (field(request.fields, b"accept") or b"").decode("latin-1")
        subject = self._subject
        state = summed(await subject.states())
        # In a thread: thousands of series take a second and more, in which a worker in this process could do nothing.
        body, kind = await asyncio.to_thread(
            render,
            state,
            accept,
            synchronized=subject.synchronized,
            workers=subject.workers,
            troubles=subject.troubles,
        )
        return LocalReply(200, [(b"content-type", b"content-type", kind.encode())], body)

    async def _ready(self, _: Request) -> LocalReply:
        pending, detail = self._subject.pending, told(self._subject.troubles)
        more = f"; {detail}" if detail else ""
        if pending:
            return LocalReply(500, [_TEXT], f"not ready, pending: {', '.join(pending)}{more}\n".encode())
        return LocalReply(200, [_TEXT], f"ready{more}\n".encode())

    async def _config_dump(self, _: Request) -> LocalReply:
        dump = {"version": __version__, "config": self._subject.dump()}
        return LocalReply(200, [_JSON], msgspec.json.format(msgspec.json.encode(dump), indent=2) + b"\n")

    async def _quit(self, _: Request) -> LocalReply:
        self._subject.quit()
        return LocalReply(200, [_TEXT], b"draining\n")


async def _forbid(_: Request) -> LocalReply:
    return LocalReply(403, [_TEXT], b"not for web pages: no Origin, and as Host localhost or an IP address\n")


def _may_be_a_page(request: Request, address: str) -> bool:
    """Whether a web page may have sent this, by what browsers add to it and pages cannot take away.

    `Origin` comes with every POST (Fetch, 3.2) and every GET whose answer a page may read. Without it, an answer can be
    read only by a page of the same host: one whose name was pointed here after the page was loaded (DNS rebinding). No
    page reaches a Unix socket by a name.
    """
    if field(request.fields, b"origin") is not None:
        return True
    if address.startswith("unix:"):
        return False
    host = request.host.decode("latin-1")
    return _host_of(host) not in ("localhost", _host_of(address)) and not _is_ip(_host_of(host))


def _host_of(authority: str) -> str:
    """`host:port`, `[v6]:port` or a host alone, without port, brackets and case."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].removesuffix(".").lower()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _addresses(host: str) -> list[str | None]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [*dict.fromkeys(str(address[0]) for *_, address in infos)]


def _why(error: OSError) -> str:
    """The system's words: asyncio's repeat one of the addresses that a host stands for."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _remove_socket(path: str) -> None:
    """One left behind by a process that was killed; nothing else is ever removed."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            Path(path).unlink()
