"""Making a connection upstream: name, address, TLS; and saying which of them failed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from torana.errors import GatewayError, Reason
from torana.http.client import UpstreamConnection
from torana.http.sweep import Sweep
from torana.http.tls import check_names, upstream_context
from torana.model.policy import BackendTls

_Info: TypeAlias = "tuple[int, int, int, str, Any]"
"""One of getaddrinfo's answers: family, kind, protocol, canonical name, socket address."""

_HEAD_START = 0.25  # seconds; RFC 8305, 5 recommends 250 ms


class Address(msgspec.Struct, frozen=True):
    """Where a connection goes and how: what decides whether two requests may share one. `tls` None is plaintext."""

    host: str
    port: int
    unix: str | None = None
    tls: BackendTls | None = None

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Override(NamedTuple):
    """Where to connect instead; the name that is checked and sent stays (curl's --resolve)."""

    host: str
    port: int


class Dialler:
    """Connects. `overrides` maps (host, port) to where it is really reached; `timeout` is seconds for all phases."""

    def __init__(
        self, sweep: Sweep, overrides: Mapping[tuple[str, int], Override], timeout: float, answer_timeout: float
    ) -> None:
        self._sweep = sweep
        self._overrides = overrides
        self._timeout = timeout
        self._answer_timeout = answer_timeout

    async def dial(self, address: Address) -> UpstreamConnection:
        """A fresh connection. Raises CONNECT_FAILED or CONNECT_TIMEOUT, naming host, phase and time taken."""
        attempt = _Attempt(address)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._dial(address, attempt)
        except TimeoutError as error:
            raise self._failure(Reason.CONNECT_TIMEOUT, attempt, f"no success within {self._timeout:g} s") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA has no form for
            elapsed = (loop.time() - started) * 1000
            raise self._failure(Reason.CONNECT_FAILED, attempt, f"{_words(error)} after {elapsed:.0f} ms") from error

    async def _dial(self, address: Address, attempt: _Attempt) -> UpstreamConnection:
        loop = asyncio.get_running_loop()

        def connection() -> UpstreamConnection:
            return UpstreamConnection(self._sweep, self._answer_timeout)

        if address.unix is not None:
            _, made = await loop.create_unix_connection(connection, address.unix)
            return made
        override = self._overrides.get((address.host, address.port))
        host, port = override or (address.host, address.port)
        attempt.phase = "dns"
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        attempt.phase = "connect"
        sock = await _first_that_connects(infos)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls is None:
                _, made = await loop.create_connection(connection, sock=sock)
                return made
            attempt.phase = "tls"
            name = address.tls.hostname or address.host
            transport, made = await loop.create_connection(
                connection, sock=sock, ssl=upstream_context(address.tls), server_hostname=name
            )
        except BaseException:
            sock.close()
            raise
        if address.tls.subject_alt_names:
            try:
                check_names(address.tls, transport.get_extra_info("peercert") or {})
            except ssl.SSLError:
                made.close()
                raise
        return made

    def _failure(self, reason: Reason, attempt: _Attempt, what: str) -> GatewayError:
        address = attempt.address
        hint = ""
        if attempt.phase == "tls" and "WRONG_VERSION_NUMBER" in what:
            hint = " The port does not seem to speak TLS: leave backendTLS out, or use another port."
        message = f"Cannot connect to {address} (phase {attempt.phase}): {what}.{hint}"
        return GatewayError(reason, message, f"{attempt.phase}: {what}")


class _Attempt:
    """What is being tried, so that a failure can name it."""

    __slots__ = ("address", "phase")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.phase = "connect"


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
