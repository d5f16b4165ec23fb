"""The whole of what runs: ports, listeners, and the settings of the process."""

from __future__ import annotations

from enum import Enum

import msgspec

from torana.model.backend import Tunnel
from torana.model.policy import TlsVersion
from torana.model.route import Route
from torana.model.secret import Secret


class Protocol(Enum):
    HTTP = "HTTP"
    HTTPS = "HTTPS"


class ServerTls(msgspec.Struct, frozen=True):
    """A listener's certificate and key as PEM text. `client_roots` set means client certificates are required."""

    cert: str
    key: Secret
    client_roots: str | None = None
    min_version: TlsVersion | None = None
    max_version: TlsVersion | None = None


class Listener(msgspec.Struct, frozen=True):
    """`hostname` None takes every host; `*.example.com` takes its subdomains (Gateway API listener hostname)."""

    name: str
    hostname: str | None = None
    protocol: Protocol = Protocol.HTTP
    tls: ServerTls | None = None
    routes: tuple[Route, ...] = ()


class Bind(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port. `addresses` are the IP addresses of the machine it is open on; empty means all of them."""

    port: int
    listeners: tuple[Listener, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def places(self) -> str:
        """`port 3000`, or `127.0.0.1:3000 and [::1]:3000`."""
        if not self.addresses:
            return f"port {self.port}"
        return " and ".join(
            f"[{each}]:{self.port}" if ":" in each else f"{each}:{self.port}" for each in self.addresses
        )


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what a client may send and hold. Bytes, counts and seconds."""

    max_body_bytes: int = 32 * 1024 * 1024
    """A request body that is gathered; larger is 413. 32 MiB carries images in base64."""
    max_total_bytes: int = 1024 * 1024 * 1024
    """Of all request bodies that one worker holds at the same time, those up to 64 KiB aside; one more is 503."""
    max_header_bytes: int = 64 * 1024
    """Request line and headers together; larger is 431 (414 when the target alone is)."""
    max_headers: int = 100
    header_timeout: float = 30.0
    """From a request's first byte to the end of its head, and between two reads of its body; slower is 408."""
    idle_timeout: float = 600.0
    """A connection on which no request is under way."""
    send_timeout: float = 60.0
    """A client that takes nothing of its answer for this long is cut off."""
    max_connections: int = 10_000
    """Open client connections per worker; one more is answered 503 and closed."""
    max_connection_age: float | None = None


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    OFF = "off"


class LogFormat(Enum):
    TEXT = "text"
    JSON = "json"


class Proxies(msgspec.Struct, frozen=True):
    """Forward proxies for upstreams that name none themselves: `https` for those with TLS, `http` for plaintext ones.

    `exceptions` are hosts that are reached directly, as NO_PROXY writes them.
    """

    https: Tunnel | None = None
    http: Tunnel | None = None
    exceptions: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True):
    """What is read once, at start. An address is `host:port`, `unix:/path`, or `off` (None here)."""

    admin_address: str | None = "localhost:15000"
    stats_address: str | None = "[::]:15020"
    readiness_address: str | None = "[::]:15021"
    ipv6: bool = True
    workers: int = 1
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.TEXT
    drain_timeout: float = 5.0
    """How long requests under way may take to finish after a stop signal."""
    connect_timeout: float = 10.0
    pool_idle_timeout: float = 90.0
    pool_max_idle: int = 1024
    """Idle upstream connections kept per backend address."""
    answer_timeout: float = 600.0
    """The longest silence of an upstream, before its answer or within it, that no policy has set shorter."""
    proxies: Proxies = Proxies()
    attempt_headers: bool = False
    """Whether answers name the endpoint they come from and those that failed before it."""


class Config(msgspec.Struct, frozen=True):
    """Everything; comparable, and dumpable as JSON with secrets masked (`model.codec`)."""

    binds: tuple[Bind, ...] = ()
    limits: Limits = Limits()
    settings: Settings = Settings()
