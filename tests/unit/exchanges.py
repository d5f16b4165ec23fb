"""Exchanges for unit tests: a request as policies, routes and upstreams see it, from a few words."""

from __future__ import annotations

from torana.exchange import Exchange
from torana.http.message import Fields
from torana.telemetry.record import Record


def fields(*named: tuple[str, str]) -> Fields:
    return [(name.lower().encode(), name.encode(), value.encode()) for name, value in named]


def exchange(
    target: str = "/",
    *headers: tuple[str, str],
    method: str = "GET",
    host: str = "gateway.example",
    scheme: str = "http",
    prefix: int | None = None,
) -> Exchange:
    """A request of `target` (path and query); `prefix` is the length of the path prefix the route matched by."""
    path, mark, query = target.encode().partition(b"?")
    made = Exchange(
        Record(0.0), method.encode(), scheme.encode(), host.encode(), path, query if mark else None, fields(*headers)
    )
    made.matched_prefix = prefix
    return made


def shown(some: Fields) -> list[str]:
    """Fields as text, in order and in the case of their names."""
    return [f"{name.decode()}: {value.decode()}" for _, name, value in some]
