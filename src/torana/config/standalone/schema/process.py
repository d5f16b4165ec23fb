"""The settings of the process, and the bounds on what clients may send."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from torana.config.standalone.schema.record import Count, Duration, Record, Size


class Logging(Record, frozen=True):
    """What the process logs."""

    not_yet = ("filter", "fields", "database")

    level: Annotated[
        str | None,
        Meta(description="`error`, `warn`, `info`, `debug`, `trace` or `off`; also a list such as `info,hyper=debug`."),
    ] = None
    format: Annotated[Literal["text", "json"], Meta(description="How a line looks.")] = "text"


class BackendConnections(Record, frozen=True):
    """Connections to backends."""

    not_yet = ("keepalives",)

    connect_timeout: Annotated[
        Duration | None, Meta(description="How long connecting, with TLS, may take; 10s when left out.")
    ] = None
    pool_idle_timeout: Annotated[
        Duration | None, Meta(description="How long an unused connection is kept; 90s when left out.")
    ] = None
    pool_max_size: Annotated[
        Size | None, Meta(description="Unused connections kept per backend; 1024 when left out.")
    ] = None


class Process(Record, frozen=True):
    """Settings that are read once, at start."""

    not_yet = (
        "caAddress",
        "caAuthToken",
        "clusterId",
        "connectionMinTerminationDeadline",
        "customFunctions",
        "database",
        "dns",
        "gateway",
        "hbone",
        "histograms",
        "listener",
        "localXdsPath",
        "mcp",
        "metrics",
        "modelCatalog",
        "namespace",
        "network",
        "sensitiveHeaders",
        "serviceAccount",
        "session",
        "spiffe",
        "standardAttributes",
        "storage",
        "tracing",
        "trustDomain",
        "xdsAddress",
        "xdsAuthToken",
    )

    enable_ipv6: Annotated[
        bool | None, Meta(description="Listen on IPv6 as well; true when left out. Variable: `IPV6_ENABLED`.")
    ] = None
    admin_addr: Annotated[
        str | None,
        Meta(
            description="Address of the admin API: `ip:port`, `localhost:port`, `unix:/path` or `off`; "
            "`localhost:15000` when left out. Variable: `ADMIN_ADDR`."
        ),
    ] = None
    stats_addr: Annotated[
        str | None, Meta(description="Address of the metrics; `[::]:15020` when left out. Variable: `STATS_ADDR`.")
    ] = None
    readiness_addr: Annotated[
        str | None,
        Meta(description="Address of the readiness check; `[::]:15021` when left out. Variable: `READINESS_ADDR`."),
    ] = None
    worker_threads: Annotated[
        int | str | None,
        Meta(
            description="Worker processes: a number, or a share of the processors such as `50%`; one when left out. "
            "Variable: `WORKER_THREADS`."
        ),
    ] = None
    connection_termination_deadline: Annotated[
        Duration | None,
        Meta(
            description="How long requests under way may take after a stop signal; 5s when left out. "
            "Variable: `CONNECTION_TERMINATION_DEADLINE`."
        ),
    ] = None
    logging: Annotated[Logging | None, Meta(description="What the process logs.")] = None
    backend: Annotated[BackendConnections | None, Meta(description="Connections to backends.")] = None
    attempt_headers: Annotated[
        bool | None,
        Meta(
            description="Torana's own: whether answers name the address they come from (`x-torana-endpoint`) and those "
            "that failed before it (`x-torana-attempts`); false when left out."
        ),
    ] = None


class FrontendHttp(Record, frozen=True):
    """Bounds on what clients may send and hold."""

    not_yet = (
        "http1HeaderCase",
        "http2WindowSize",
        "http2ConnectionWindowSize",
        "http2FrameSize",
        "http2MaxHeaderSize",
        "http2KeepaliveInterval",
        "http2KeepaliveTimeout",
    )

    max_buffer_size: Annotated[
        Count | None, Meta(description="Bytes of a request body; larger is 413. 33554432 when left out.")
    ] = None
    max_total_buffer_size: Annotated[
        Count | None,
        Meta(
            description="Torana's own: bytes of all request bodies that a worker holds at the same time, those up to "
            "64 KiB aside; one more is answered 503. 1073741824 when left out."
        ),
    ] = None
    http1_max_headers: Annotated[
        Count | None, Meta(description="Headers of a request; more is 431. 100 when left out.")
    ] = None
    http1_idle_timeout: Annotated[
        Duration | None, Meta(description="How long a connection without a request is kept; 10m when left out.")
    ] = None
    max_connection_duration: Annotated[
        Duration | None, Meta(description="How long a connection is kept at all; no bound when left out.")
    ] = None
    max_header_bytes: Annotated[
        Count | None, Meta(description="Torana's own: bytes of request line and headers. 65536 when left out.")
    ] = None
    header_read_timeout: Annotated[
        Duration | None,
        Meta(description="Torana's own: how long headers, or two reads of a body, may take. 30s when left out."),
    ] = None
    max_connections: Annotated[
        Count | None, Meta(description="Torana's own: open client connections per worker. 10000 when left out.")
    ] = None


class FrontendPolicies(Record, frozen=True):
    """What holds for every client connection."""

    not_yet = (
        "accessLog",
        "connect",
        "logging",
        "metrics",
        "networkAuthorization",
        "networkExtAuthz",
        "proxy",
        "proxyProtocol",
        "tcp",
        "tls",
        "tracing",
    )

    http: Annotated[FrontendHttp | None, Meta(description="Bounds on what clients may send and hold.")] = None
