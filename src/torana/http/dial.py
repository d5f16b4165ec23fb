"""Making a connection upstream: name, address, a forward proxy, TLS; and saying which of them failed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from torana.errors import GatewayError, Reason
from torana.http.client import UpstreamConnection
from torana.http.sweep import Sweep
from torana.http.tls import check_names, upstream_context
from torana.http.tunnel import TunnelError, TunnelProtocol
from torana.model.backend import Connecting, Target, Tunnel
from torana.model.policy import BackendTls, Keepalive

_Info: TypeAlias = "tuple[int, int, int, str, Any]"
"""One of getaddrinfo's answers: family, kind, protocol, canonical name, socket address."""

_P = TypeVar("_P", bound=asyncio.Protocol)

_HEAD_START = 0.25  # seconds; RFC 8305, 5 recommends 250 ms


_MOST_LOOKUPS = 32  # names whose server is silent hold up no other until they are as many


def make_room_for_lookups() -> None:
    """To be called before the first look-up of this process, and of those that it starts.

    Of libuv's threads, four if nobody says otherwise, half look up names at the same time: two names whose server is
    silent would hold up all others. 64 threads take half a megabyte. What the environment says already stays.
    """
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(2 * _MOST_LOOKUPS))


class Address(msgspec.Struct, frozen=True):
    """Where a connection goes and how: what decides whether two requests may share one. `tls` None is plaintext."""

    target: Target
    tls: BackendTls | None = None
    connecting: Connecting = Connecting()

    def __str__(self) -> str:
        return str(self.target)


class Override(NamedTuple):
    """Where to connect instead; the name that is checked and sent stays (curl's --resolve)."""

    host: str
    port: int


class ConnectError(GatewayError):
    """CONNECT_FAILED or CONNECT_TIMEOUT, in a `phase`: dns, connect, tls, or with a proxy also proxy tls and tunnel."""

    def __init__(self, reason: Reason, phase: str, message: str) -> None:
        super().__init__(reason, message)
        self.phase = phase


class Dialler:
    """Connects. `overrides` maps (host, port) to where it is really reached, be it an upstream's or a proxy's.

    `timeout` is seconds for all phases together, where an address has none of its own.
    """

    def __init__(
        self, sweep: Sweep, overrides: Mapping[tuple[str, int], Override], timeout: float, answer_timeout: float
    ) -> None:
        self._sweep = sweep
        self._overrides = overrides
        self._timeout = timeout
        self._answer_timeout = answer_timeout
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[_Info]]] = {}

    async def dial(self, address: Address) -> UpstreamConnection:
        """A fresh connection. Raises CONNECT_FAILED or CONNECT_TIMEOUT, naming host, phase and time taken."""
        attempt = _Attempt(address)
        loop = asyncio.get_running_loop()
        started = loop.time()
        timeout = address.connecting.timeout
        if timeout is None:
            timeout = self._timeout
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._dial(attempt)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA has no form for
            if limit.expired():
                raise attempt.failure(Reason.CONNECT_TIMEOUT, f"no success within {timeout:g} s") from error
            elapsed = (loop.time() - started) * 1000
            gave_up = isinstance(error, TimeoutError)  # the system, before us
            reason = Reason.CONNECT_TIMEOUT if gave_up else Reason.CONNECT_FAILED
            raise attempt.failure(reason, f"{_words(error)} after {elapsed:.0f} ms") from error

    async def _dial(self, attempt: _Attempt) -> UpstreamConnection:
        address = attempt.address
        if attempt.tunnel is not None:
            return await self._dial_through(attempt.tunnel, attempt)
        keepalive = address.connecting.keepalive
        return await self._open(self._connection, address.target, address.tls, keepalive, attempt)

    async def _dial_through(self, tunnel: Tunnel, attempt: _Attempt) -> UpstreamConnection:
        """By CONNECT: the proxy looks up the target's name, unless it has an override."""
        target, tls = attempt.address.target, attempt.address.tls
        keepalive = attempt.address.connecting.keepalive
        attempt.secured = "proxy tls"
        proxy = await self._open(TunnelProtocol, tunnel.target, tunnel.tls, keepalive, attempt)
        try:
            attempt.phase = "tunnel"
            override = self._overrides.get((target.host, target.port))
            await proxy.connect(Target(*override) if override else target, tunnel.auth)
            if tls is not None:
                attempt.phase = "tls"
                transport = await proxy.secure(upstream_context(tls), tls.hostname or target.host)
                check_names(tls, transport.get_extra_info("peercert") or {})
            made = self._connection()
            proxy.hand_over(made)
        except BaseException:
            proxy.abort()
            raise
        return made

    async def _open(
        self, make: Callable[[], _P], target: Target, tls: BackendTls | None, keepalive: Keepalive | None,
        attempt: _Attempt,
    ) -> _P:  # fmt: skip
        """A connection to `target` itself."""
        made = make()
        try:
            await self._join(made, target, tls, keepalive, attempt)
        except BaseException:
            made.connection_lost(None)  # uvloop does not say so where it had been made when the wait was given up
            raise
        return made

    async def _join(
        self, protocol: asyncio.Protocol, target: Target, tls: BackendTls | None, keepalive: Keepalive | None,
        attempt: _Attempt,
    ) -> None:  # fmt: skip
        if target.unix is not None:
            transport = await _join_unix(protocol, target, tls, attempt)
        else:
            transport = await self._join_host(protocol, target, tls, keepalive, attempt)
        if tls is None:
            return
        try:
            check_names(tls, transport.get_extra_info("peercert") or {})
        except ssl.SSLError:
            transport.abort()
            raise

    async def _join_host(
        self, protocol: asyncio.Protocol, target: Target, tls: BackendTls | None, keepalive: Keepalive | None,
        attempt: _Attempt,
    ) -> asyncio.Transport:  # fmt: skip
        host, port = self._overrides.get((target.host, target.port)) or (target.host, target.port)
        attempt.phase = "dns"
        infos = await self._look_up(host, port)
        attempt.phase = "connect"
        sock = await _first_that_connects(infos)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if keepalive is not None:
                _keep_alive(sock, keepalive)
            if tls is not None:
                attempt.phase = attempt.secured
            secured = _secured(tls, target)
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: protocol, sock=sock, ssl=secured.context, server_hostname=secured.name
            )
        except BaseException:
            sock.close()
            raise
        return transport

    async def _look_up(self, host: str, port: int) -> Sequence[_Info]:
        """Look-ups of one name at the same time are one: each takes a thread, of which there are so many."""
        key = (host, port)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.ensure_future(_resolve(host, port))
            lookup.add_done_callback(lambda _: self._lookups.pop(key))
        return await asyncio.shield(lookup)  # whoever gives up leaves the others theirs

    def _connection(self) -> UpstreamConnection:
        return UpstreamConnection(self._sweep, self._answer_timeout)


class _Attempt:
    """What is being tried, so that a failure can name it. `secured` is the phase of TLS on the first connection."""

    __slots__ = ("address", "phase", "secured", "tunnel")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.tunnel = address.connecting.tunnel if address.target.unix is None else None
        self.phase = "connect"
        self.secured = "tls"

    def failure(self, reason: Reason, what: str) -> ConnectError:
        hint = ""
        if "WRONG_VERSION_NUMBER" in what:
            cure = "write http:// for the proxy" if self.phase == "proxy tls" else "leave backendTLS out"
            hint = f" The port does not seem to speak TLS: {cure}, or use another port."
        way = f" through the proxy {self.tunnel.target}" if self.tunnel is not None else ""
        message = f"Cannot connect to {self.address}{way} (phase {self.phase}): {what}.{hint}"
        return ConnectError(reason, self.phase, message)


class _Secured(NamedTuple):
    context: ssl.SSLContext | None
    name: str | None


def _secured(tls: BackendTls | None, target: Target) -> _Secured:
    """How asyncio is to be told. Raises ssl.SSLError."""
    return _Secured(None, None) if tls is None else _Secured(upstream_context(tls), tls.hostname or target.host)


async def _join_unix(
    protocol: asyncio.Protocol, target: Target, tls: BackendTls | None, attempt: _Attempt
) -> asyncio.Transport:
    try:
        secured = _secured(tls, target)
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            lambda: protocol, target.unix, ssl=secured.context, server_hostname=secured.name
        )
    except ssl.SSLError:
        attempt.phase = attempt.secured
        raise
    return transport


def _keep_alive(sock: socket.socket, keepalive: Keepalive) -> None:
    """Have the system notice a peer that is gone, and firewalls that a quiet connection is still in use."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE": round(keepalive.idle),  # macOS's name
        "TCP_KEEPINTVL": round(keepalive.interval),
        "TCP_KEEPCNT": keepalive.probes,
    }
    for name, value in options.items():
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(value, 1))


async def _resolve(host: str, port: int) -> Sequence[_Info]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _first_that_connects(infos: Sequence[_Info]) -> socket.socket:
    """Addresses in the resolver's order, a quarter of a second's start for each (RFC 8305 in its simplest form).

    A silent address holds the next one up for its head start and no longer; the first to connect wins.
    """
    if len(infos) == 1:
        return await _connect(infos[0])
    waiting = [*infos]
    pending: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("the name has no address")
    try:
        while waiting or pending:
            if waiting:
                pending.add(asyncio.create_task(_connect(waiting.pop(0))))
            done, pending = await asyncio.wait(
                pending, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            connected = [task.result() for task in done if task.exception() is None]
            for extra in connected[1:]:
                extra.close()
            if connected:
                return connected[0]
            failure = next((task.exception() for task in done), None) or failure
        raise failure
    finally:
        for task in pending:
            if not task.cancel() and task.exception() is None:
                task.result().close()  # it has connected in the very turn in which nobody wants it any more


async def _connect(info: _Info) -> socket.socket:
    family, kind, protocol, _, where = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library takes it so
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _words(error: OSError | UnicodeError) -> str:
    """An operating system's or OpenSSL's error in words, without Python's decoration."""
    if isinstance(error, TunnelError):
        return str(error)
    if isinstance(error, UnicodeError):
        return "the name is not one that can be looked up"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted ({getattr(error, 'verify_message', '') or error})"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake failed ({error.reason or error})"
    if isinstance(error, socket.gaierror):
        return f"the name does not resolve ({error.strerror})"
    # The system's words, not `strerror`: asyncio writes the address into that.
    return (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()
