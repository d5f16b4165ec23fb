"""Through a forward proxy: CONNECT and its answer, up to where the target's own bytes begin (RFC 9110, 9.3.6)."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import cast

from torana.model.backend import Target
from torana.model.policy import BackendAuth, CredentialPlace

_MAX_HEAD = 16 * 1024  # bytes of the proxy's answer; those in use take a few hundred
_MAX_PHRASE = 80  # characters of its reason phrase that are repeated
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: ([^\r\n]*))?")


class TunnelError(OSError):
    """The proxy made no tunnel; the text says why, and holds no credential."""


class TunnelProtocol(asyncio.Protocol):
    """A connection to a proxy until it is handed over to the protocol that speaks with the target."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._received = b""
        self._transport: asyncio.Transport
        self._ended = False
        self._surplus = False

    async def connect(self, target: Target, auth: BackendAuth | None) -> None:
        """Ask for a tunnel to `target`. Raises TunnelError, and UnicodeError for a host that cannot be a name."""
        authority = str(Target(target.host.encode("idna").decode("ascii"), target.port))
        credential = _credential(auth) if auth is not None else ""
        head = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credential}\r\n"
        self._transport.write(head.encode())
        line = _STATUS_LINE.match(await self._answer)
        if line is None:
            raise TunnelError("the proxy's answer is not valid HTTP")
        status = int(line[1])
        if not 200 <= status < 300:
            raise TunnelError(_refusal(status, line[2] or b"", authority, credential=bool(credential)))

    async def secure(self, context: ssl.SSLContext, name: str) -> asyncio.Transport:
        """TLS with the target, inside whatever there is towards the proxy. Raises OSError."""
        loop = asyncio.get_running_loop()
        inner = await loop.start_tls(self._transport, self, context, server_hostname=name)
        if inner is None:
            raise ConnectionResetError
        self._transport = inner
        return inner

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """`protocol` has the connection from now on. Raises TunnelError when it is not good for it any more."""
        if self._surplus:
            raise TunnelError("more came from the proxy than its answer")
        if self._ended or self._transport.is_closing():
            raise TunnelError("the proxy closed the connection after its answer")
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def abort(self) -> None:
        self._transport.abort()

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._fail("the proxy closed the connection without an answer" if exc is None else f"{exc}")

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            self._surplus = True  # nobody asked: a server speaks first neither in TLS nor in HTTP
            return
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        while end and head.startswith(b"HTTP/1.1 1"):  # an interim answer (RFC 9110, 15.2)
            self._received = rest
            head, end, rest = rest.partition(b"\r\n\r\n")
        if end:
            self._answer.set_result(head)
            self._surplus = bool(rest)
        elif not b"HTTP/1.".startswith(head[:7]):
            self._fail("the proxy's answer is not valid HTTP")
        elif len(head) > _MAX_HEAD:
            self._fail(f"the head of the proxy's answer is over {_MAX_HEAD} bytes")

    def _fail(self, why: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(TunnelError(why))
            self._answer.exception()  # nobody may be waiting; asked once, asyncio does not complain


def _credential(auth: BackendAuth) -> str:
    """The header line of a proxy's credential. One that would go in `Authorization` goes in the proxy's own field."""
    own = auth.place is CredentialPlace.HEADER and auth.name.lower() != "authorization"
    return f"{auth.name if own else 'proxy-authorization'}: {auth.prefix}{auth.key.reveal()}\r\n"


def _refusal(status: int, phrase: bytes, authority: str, *, credential: bool) -> str:
    words = "".join(filter(str.isprintable, phrase.decode("latin-1"))).strip()[:_MAX_PHRASE]
    answered = f"the proxy answered {status} {words}".rstrip()
    if status == 407:
        return f"{answered}: it {'does not accept the credentials it was sent' if credential else 'wants credentials'}"
    return f"{answered} to CONNECT {authority}"
