"""A request of the command line, read as the gateway reads one: what that would refuse is refused in its words."""

from __future__ import annotations

import time
from contextlib import suppress
from urllib.parse import urlsplit

import click
import httptools

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.message import end_hop
from torana.http.request import Request, check_head
from torana.telemetry.record import Record


def exchange_of(url: str, method: str, headers: list[str]) -> tuple[Exchange, int]:
    """The request and the port it comes to. Exits 2 for a URL or header that is none; raises GatewayError."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:  # a port or an IPv6 address that is none
        raise click.BadParameter(f"{url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("give a whole URL, for example http://localhost:3000/v1/chat/completions")
    host = parts.netloc.rpartition("@")[2]
    lines = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip() or len(header.splitlines()) > 1:
            raise click.BadParameter(f"{name!r} is not NAME: VALUE", param_hint="-H")
        if name.strip().lower() == "host":
            host = value.strip()
        else:
            lines.append(f"{name.strip()}: {value.strip()}\r\n")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = _read(f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{''.join(lines)}\r\n".encode())
    end_hop(request.fields)
    record = Record(time.perf_counter())
    record.host = request.host.decode("latin-1")
    scheme = parts.scheme.encode()
    return Exchange(record, request.method, scheme, request.host, request.path, request.query, request.fields), port


class _Head:
    """What the parser finds in a head."""

    def __init__(self) -> None:
        self.request = Request()
        self.target = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.request.fields.append((name.lower(), name, value))


def _read(text: bytes) -> Request:
    """Raises GatewayError."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        with suppress(httptools.HttpParserUpgrade):
            parser.feed_data(text)
    except httptools.HttpParserError as error:
        raise GatewayError(Reason.BAD_HTTP, f"The request is not valid HTTP/1.1: {error}.") from error
    head.request.method = parser.get_method()
    check_head(head.request, head.target, parser.get_http_version())
    return head.request
