"""Which listener and which route a request belongs to, by the rules of Gateway API.

Listeners: exact hostname, then the longest wildcard, then none. Routes: those of the most specific hostname first; in
one hostname exact paths before prefixes before regular expressions, then the longer path text, then a method match,
then more header matches, then more query matches, then the order of the configuration. When no route of a hostname
matches, the next hostname is tried. Paths are compared as they were sent.

All that is compiled into dictionaries: matching costs the depth of the path, not the number of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar, assert_never
from urllib.parse import unquote_to_bytes

from torana.exchange import Exchange
from torana.http.message import field
from torana.model import pattern
from torana.model.config import Listener
from torana.model.route import PathMatchKind, Route, RouteMatch, ValueMatch

_REMEMBERED = 1024  # hosts
_LONGEST = 255  # bytes of a name in the DNS (RFC 1035, 2.3.4); a longer Host is not remembered

R = TypeVar("R")
T = TypeVar("T")


class Candidate(Generic[R]):
    """One match of one route, compiled; `route` is what the table is made for. `by_path`: the path alone decides."""

    __slots__ = ("_conditions", "_method", "by_path", "match", "route")

    def __init__(self, route: R, match: RouteMatch) -> None:
        self.route = route
        self.match = match
        self._method = match.method.encode() if match.method else None
        self._conditions = _conditions(match)
        self.by_path = self._method is None and not self._conditions

    def holds(self, exchange: Exchange) -> bool:
        if self._method is not None and self._method != exchange.method:
            return False
        return all(condition(exchange) for condition in self._conditions)


class Hosts(Generic[T]):
    """Values by hostname: exact, wildcard (`*.example.com`, one label or more), or for any host."""

    def __init__(self) -> None:
        self._exact: dict[bytes, T] = {}
        self._wildcards: dict[bytes, T] = {}
        self._any: T | None = None
        self._found: dict[bytes, tuple[T, ...]] = {}

    def add(self, hostname: str | None, value: T) -> T:
        """Keep `value` for `hostname` unless it has one already; returns the one that is kept."""
        if hostname is None or hostname == "*":
            if self._any is None:
                self._any = value
            return self._any
        name = hostname.lower().rstrip(".").encode()  # as `host_name` gives it
        return (
            self._wildcards.setdefault(name[1:], value)
            if name.startswith(b"*.")
            else self._exact.setdefault(name, value)
        )

    def find(self, host: bytes) -> tuple[T, ...]:
        """From the most specific on; `host` is a Host field or a server name as it came."""
        found = self._found.get(host)
        if found is None:
            found = tuple(self._search(host_name(host)))
            if len(self._found) >= _REMEMBERED:  # clients choose what they send as Host
                self._found.clear()
            if len(host) <= _LONGEST:
                self._found[host] = found
        return found

    def _search(self, host: bytes) -> Iterator[T]:
        exact = self._exact.get(host)
        if exact is not None:
            yield exact
        if self._wildcards:
            dot = host.find(b".", 1)
            while dot != -1:
                wildcard = self._wildcards.get(host[dot:])
                if wildcard is not None:
                    yield wildcard
                dot = host.find(b".", dot + 1)
        if self._any is not None:
            yield self._any

    def values(self) -> Iterator[T]:
        yield from self._exact.values()
        yield from self._wildcards.values()
        if self._any is not None:
            yield self._any


class _Paths(Generic[R]):
    """The candidates of one hostname, by path."""

    def __init__(self) -> None:
        self.exact: dict[bytes, list[Candidate[R]]] = {}
        self.prefix: dict[bytes, list[Candidate[R]]] = {}
        self.regex: list[tuple[Callable[[bytes], bool], Candidate[R]]] = []
        self._longest_prefix = -1

    def add(self, candidate: Candidate[R]) -> None:
        path = candidate.match.path
        value = path.value.encode()
        match path.kind:
            case PathMatchKind.EXACT:
                self.exact.setdefault(value, []).append(candidate)
            case PathMatchKind.PREFIX:
                self.prefix.setdefault(value.rstrip(b"/"), []).append(candidate)
            case PathMatchKind.REGEX:
                self.regex.append((pattern.whole(path.value), candidate))
            case _:
                assert_never(path.kind)

    def sort(self) -> None:
        self._longest_prefix = max(map(len, self.prefix), default=-1)
        for candidates in (*self.exact.values(), *self.prefix.values()):
            candidates.sort(key=_specificity)
        self.regex.sort(key=lambda entry: (-len(entry[1].match.path.value.encode()), *_specificity(entry[1])))

    def find(self, exchange: Exchange) -> Candidate[R] | None:
        path = exchange.path
        for candidate in self.exact.get(path, ()) if self.exact else ():
            if candidate.by_path or candidate.holds(exchange):
                return candidate
        # From the whole path up, a segment at a time, but not where no prefix is as long as that.
        end = len(path) - 1 if path.endswith(b"/") else len(path)
        while end > self._longest_prefix:
            end = path.rfind(b"/", 0, end)
        while end >= 0:
            for candidate in self.prefix.get(path[:end], ()):
                if candidate.by_path or candidate.holds(exchange):
                    exchange.matched_prefix = end
                    return candidate
            end = path.rfind(b"/", 0, end)
        for fits, candidate in self.regex:
            if fits(path) and candidate.holds(exchange):
                return candidate
        return None


class RouteTable(Generic[R]):
    """All routes of a listener."""

    __slots__ = ("_hosts", "compiled")

    def __init__(self, routes: Iterable[tuple[Route, R]]) -> None:
        self._hosts: Hosts[_Paths[R]] = Hosts()
        self.compiled: list[R] = []
        for route, compiled in routes:
            self.compiled.append(compiled)
            for match in route.matches:
                candidate = Candidate(compiled, match)
                for hostname in route.hostnames or (None,):
                    self._hosts.add(hostname, _Paths()).add(candidate)
        for paths in self._hosts.values():
            paths.sort()

    def find(self, exchange: Exchange) -> Candidate[R] | None:
        """The best candidate, with `exchange.matched_prefix` set; None when nothing matches."""
        for paths in self._hosts.find(exchange.host):
            candidate = paths.find(exchange)
            if candidate is not None:
                return candidate
        return None


class CompiledListener(Generic[R]):
    __slots__ = ("listener", "routes")

    def __init__(self, listener: Listener, routes: RouteTable[R]) -> None:
        self.listener = listener
        self.routes = routes


def host_name(host: bytes) -> bytes:
    """The name in a Host field: lower case, without port, without a final dot, brackets of IPv6 kept."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()


def _specificity(candidate: Candidate[R]) -> tuple[int, int, int]:
    match = candidate.match
    return (0 if match.method else 1, -len(match.headers), -len(match.query))


def _conditions(match: RouteMatch) -> tuple[Callable[[Exchange], bool], ...]:
    return tuple(
        [header_condition(header) for header in match.headers] + [_query_condition(query) for query in match.query]
    )


def header_condition(match: ValueMatch) -> Callable[[Exchange], bool]:
    """Whether a request has that header."""
    accepts = _accepts(match)
    name = match.name.lower().encode()
    match name:
        case b":method":
            return lambda exchange: accepts(exchange.method)
        case b":path":
            return lambda exchange: accepts(_path_and_query(exchange))
        case b":authority":
            return lambda exchange: accepts(exchange.host)
        case b":scheme":
            return lambda exchange: accepts(exchange.scheme)
        case _:
            return lambda exchange: (value := _joined(exchange, name)) is not None and accepts(value)


def _joined(exchange: Exchange, name: bytes) -> bytes | None:
    """Repeated fields are one, joined by commas (RFC 9110, 5.2)."""
    if name == b"host":
        return exchange.host
    value = field(exchange.fields, name)
    if value is None:
        return None
    values = [other for lower, _, other in exchange.fields if lower == name]
    return value if len(values) == 1 else b", ".join(values)


def _path_and_query(exchange: Exchange) -> bytes:
    """`:path` has the query in it (RFC 9113, 8.3.1)."""
    return exchange.path if exchange.query is None else exchange.path + b"?" + exchange.query


def _query_condition(match: ValueMatch) -> Callable[[Exchange], bool]:
    accepts = _accepts(match)
    name = match.name.encode()

    def holds(exchange: Exchange) -> bool:
        for part in (exchange.query or b"").split(b"&"):
            key, _, value = part.replace(b"+", b" ").partition(b"=")
            if unquote_to_bytes(key) == name:
                return accepts(unquote_to_bytes(value))  # the first one counts (Gateway API, HTTPQueryParamMatch)
        return False

    return holds


def _accepts(match: ValueMatch) -> Callable[[bytes], bool]:
    return pattern.whole(match.value) if match.regex else match.value.encode().__eq__
