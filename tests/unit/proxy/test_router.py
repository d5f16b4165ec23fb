"""Which route takes a request: the documented precedence, against tables and against a slow, obvious model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.exchanges import exchange
from torana.exchange import Exchange
from torana.model.route import PathMatch, PathMatchKind, Route, RouteMatch, ValueMatch
from torana.proxy.router import Hosts, RouteTable, host_name


def prefix(value: str) -> PathMatch:
    return PathMatch(PathMatchKind.PREFIX, value)


def exact(value: str) -> PathMatch:
    return PathMatch(PathMatchKind.EXACT, value)


def regex(value: str) -> PathMatch:
    return PathMatch(PathMatchKind.REGEX, value)


def table(*routes: Route) -> RouteTable[str]:
    return RouteTable((route, route.name) for route in routes)


def found(routes: Iterable[Route], request: Exchange) -> str | None:
    candidate = table(*routes).find(request)
    return candidate.route if candidate else None


def holds(match: RouteMatch, request: Exchange) -> bool:
    return found([Route("it", matches=(match,))], request) is not None


X = ValueMatch("x", "1")
Y = ValueMatch("y", "1")
Q = ValueMatch("q", "1")
EVERYTHING = exchange("/a/b?q=1&r=1", ("x", "1"), ("y", "1"), host="a.b.example")


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(Route("", ("a.b.example",)), Route("", ("*.b.example",)), id="exact hostname before wildcard"),
        pytest.param(Route("", ("*.b.example",)), Route("", ("*.example",)), id="longer wildcard first"),
        pytest.param(Route("", ("*.example",)), Route(""), id="wildcard before none"),
        pytest.param(Route("", ("*.example",)), Route("", (), (RouteMatch(exact("/a/b")),)), id="hostname before path"),
        *(
            pytest.param(Route("", matches=(better,)), Route("", matches=(worse,)), id=rule)
            for rule, better, worse in (
                ("exact before prefix", RouteMatch(exact("/a/b")), RouteMatch(prefix("/a/b"), "GET", (X, Y), (Q,))),
                ("prefix before regex", RouteMatch(prefix("/")), RouteMatch(regex("/a/.*"), "GET", (X, Y), (Q,))),
                ("longer prefix", RouteMatch(prefix("/a/b")), RouteMatch(prefix("/a"), "GET", (X, Y), (Q,))),
                ("longer regex", RouteMatch(regex("/a/.*")), RouteMatch(regex("/.*"), "GET", (X, Y), (Q,))),
                ("method before headers", RouteMatch(method="GET"), RouteMatch(headers=(X, Y), query=(Q,))),
                ("more headers", RouteMatch(headers=(X, Y)), RouteMatch(headers=(X,), query=(Q,))),
                ("more query", RouteMatch(query=(Q, ValueMatch("r", "1"))), RouteMatch(query=(Q,))),
                ("regex: method first", RouteMatch(regex("/a/.*"), "GET"), RouteMatch(regex("/a/.*"), None, (X, Y))),
            )
        ),
    ],
)
def test_precedence(better: Route, worse: Route) -> None:
    """Where two routes take a request, the more specific one has it, wherever it stands in the file."""
    first = Route("better", better.hostnames, better.matches)
    second = Route("worse", worse.hostnames, worse.matches)
    assert found([first, second], EVERYTHING) == "better"
    assert found([second, first], EVERYTHING) == "better"
    assert found([second], EVERYTHING) == "worse", "the case must be one that both take"


@pytest.mark.parametrize(
    "match",
    [RouteMatch(), RouteMatch(exact("/a/b")), RouteMatch(regex("/a/b")), RouteMatch(prefix("/a"), "GET", (X,), (Q,))],
)
def test_equals_keep_file_order(match: RouteMatch) -> None:
    """Of two routes that are equally specific the first in the file has the request, whatever its name."""
    assert found([Route("route10", matches=(match,)), Route("route2", matches=(match,))], EVERYTHING) == "route10"
    assert found([Route("route2", matches=(match,)), Route("route10", matches=(match,))], EVERYTHING) == "route2"


def test_the_next_hostname_is_tried() -> None:
    """When no route of a hostname fits, those of the next less specific hostname are tried, down to none."""
    routes = [
        Route("exact", ("a.b.example",), (RouteMatch(prefix("/exact")),)),
        Route("long", ("*.b.example",), (RouteMatch(prefix("/long")),)),
        Route("short", ("*.example",), (RouteMatch(prefix("/short")),)),
        Route("any", matches=(RouteMatch(prefix("/any")),)),
    ]
    names = [found(routes, exchange(f"/{name}", host="a.b.example")) for name in ("exact", "long", "short", "any", "x")]
    assert names == ["exact", "long", "short", "any", None]


@pytest.mark.parametrize(
    ("value", "taken", "refused"),
    [
        ("/", {"/": 0, "/a": 0, "/a/": 0, "//": 0}, ("*",)),
        ("/foo", {"/foo": 4, "/foo/": 4, "/foo/bar": 4, "/foo//bar": 4}, ("/", "/foobar", "/fo", "/FOO", "//foo")),
        ("/foo/", {"/foo": 4, "/foo/": 4, "/foo/bar": 4}, ("/foobar",)),
        ("/a/b", {"/a/b": 4, "/a/b/c/d/e": 4}, ("/a", "/a/", "/a/bc", "/a//b")),
        ("/%66oo", {"/%66oo": 6}, ("/foo",)),
    ],
)
def test_prefixes(value: str, taken: dict[str, int], refused: tuple[str, ...]) -> None:
    """A prefix is whole segments, a final slash does not count on either side, and its length is noted."""
    routes = table(Route("it", matches=(RouteMatch(prefix(value)),)))
    for path, length in taken.items():
        request = exchange(path)
        assert routes.find(request), path
        assert request.matched_prefix == length, path
    assert [path for path in refused if routes.find(exchange(path))] == []


@pytest.mark.parametrize("path", [exact("/a"), regex("/a")])
def test_only_a_prefix_is_noted(path: PathMatch) -> None:
    """A route that matched by the whole path has no prefix, so that a rewrite of prefixes can refuse."""
    request = exchange("/a")
    assert table(Route("it", matches=(RouteMatch(path),))).find(request)
    assert request.matched_prefix is None


@pytest.mark.parametrize(
    ("path", "taken", "refused"),
    [
        (exact("/a"), ("/a", "/a?q"), ("/a/", "/A", "/", "/a/b")),
        (exact("*"), ("*",), ("/", "/*")),
        (regex("/v[12]/.*"), ("/v1/", "/v2/x/y"), ("/v3/", "/v1", "x/v1/", "/v1/x\n")),
        (regex("/a|/ab"), ("/a", "/ab"), ("/abc", "x/a")),
    ],
)
def test_whole_paths(path: PathMatch, taken: tuple[str, ...], refused: tuple[str, ...]) -> None:
    """An exact path and a regular expression speak of the whole path, without the query."""
    match = RouteMatch(path)
    assert [target for target in taken if not holds(match, exchange(target))] == []
    assert [target for target in refused if holds(match, exchange(target))] == []


def test_options_of_the_server_itself() -> None:
    """`OPTIONS *` asks about no path: no prefix and no absolute regular expression takes it (RFC 9110, 9.3.7)."""
    request = exchange("*", method="OPTIONS")
    for path in (prefix("/"), prefix("/a"), exact("/"), regex("/.*")):
        assert not holds(RouteMatch(path), request), path


@pytest.mark.parametrize(
    ("match", "requests", "others"),
    [
        (
            RouteMatch(method="POST"),
            [exchange(method="POST")],
            [exchange(), exchange(method="post"), exchange(method="POSTS")],
        ),
        (
            RouteMatch(headers=(ValueMatch("X-A", "one"),)),
            [exchange("/", ("x-a", "one")), exchange("/", ("X-A", "one"))],
            [
                exchange(),
                exchange("/", ("x-a", "One")),
                exchange("/", ("x-a", "one, two")),
                exchange("/", ("x-b", "one")),
            ],
        ),
        (
            RouteMatch(headers=(ValueMatch("x-a", "o.e|two", regex=True),)),
            [exchange("/", ("x-a", "one")), exchange("/", ("x-a", "two"))],
            [exchange("/", ("x-a", "ones")), exchange("/", ("x-a", "x two"))],
        ),
        (
            RouteMatch(headers=(ValueMatch("x-a", "one, two"),)),
            [exchange("/", ("x-a", "one"), ("b", "c"), ("X-A", "two")), exchange("/", ("x-a", "one, two"))],
            [exchange("/", ("x-a", "two"), ("x-a", "one"))],
        ),
        (
            RouteMatch(headers=(X, Y)),
            [exchange("/", ("y", "1"), ("x", "1"))],
            [exchange("/", ("x", "1")), exchange("/", ("x", "1"), ("y", "2"))],
        ),
        (RouteMatch(headers=(ValueMatch("Host", "a:80"),)), [exchange(host="a:80")], [exchange(host="a")]),
        (RouteMatch(headers=(ValueMatch(":method", "PUT"),)), [exchange(method="PUT")], [exchange()]),
        (RouteMatch(headers=(ValueMatch(":scheme", "https"),)), [exchange(scheme="https")], [exchange()]),
        (
            RouteMatch(headers=(ValueMatch(":authority", "a:80"),)),
            [exchange(host="a:80")],
            [exchange(host="a"), exchange("/", ("authority", "a:80"))],
        ),
        (
            RouteMatch(headers=(ValueMatch(":path", "/a.*[?]b=1", regex=True),)),
            [exchange("/a?b=1"), exchange("/abc?b=1")],
            [exchange("/a"), exchange("/b?b=1"), exchange("/a?b=1&c")],
        ),
        (RouteMatch(headers=(ValueMatch(":path", "/a"),)), [exchange("/a")], [exchange("/a?"), exchange("/a?b")]),
    ],
)
def test_method_and_headers(match: RouteMatch, requests: list[Exchange], others: list[Exchange]) -> None:
    """Method and header values are compared whole and with their case; a repeated header is one, joined by commas."""
    assert [request.fields for request in requests if not holds(match, request)] == []
    assert [request.fields for request in others if holds(match, request)] == []


@pytest.mark.parametrize(
    ("match", "taken", "refused"),
    [
        (
            ValueMatch("q", "1"),
            ("/?q=1", "/?a&q=1", "/?q=1&q=2", "/?%71=%31"),
            ("/", "/?", "/?q", "/?q=2&q=1", "/?Q=1"),
        ),
        (ValueMatch("q", ""), ("/?q", "/?q=", "/?a=1&q&b"), ("/?q=1", "/?a")),
        (ValueMatch("q", "a b&c=d"), ("/?q=a+b%26c=d", "/?q=a%20b%26c%3Dd"), ("/?q=a b&c=d",)),
        (ValueMatch("q", "zürich"), ("/?q=z%C3%BCrich", "/?q=zürich"), ("/?q=z%FCrich",)),
        (ValueMatch("q[0]", "x"), ("/?q[0]=x", "/?q%5B0%5D=x"), ("/?q=x",)),
        (ValueMatch("q", "[0-9]+", regex=True), ("/?q=12", "/?q=%31"), ("/?q=12a", "/?q=", "/?q=a&q=1")),
    ],
)
def test_query(match: ValueMatch, taken: tuple[str, ...], refused: tuple[str, ...]) -> None:
    """Query parameters are compared decoded, and of a repeated one the first counts (Gateway API)."""
    rule = RouteMatch(query=(match,))
    assert [target for target in taken if not holds(rule, exchange(target))] == []
    assert [target for target in refused if holds(rule, exchange(target))] == []


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.example", "a.example"),
        ("A.Example:3000", "a.example"),
        ("a.example.", "a.example"),
        ("a.example.:3000", "a.example"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[FE80::1]:3000", "[fe80::1]"),
        ("", ""),
        (":80", ""),
    ],
)
def test_host_names(host: str, name: str) -> None:
    """The name in a Host field has no port, no capitals and no final dot; an IPv6 address keeps its brackets."""
    assert host_name(host.encode()) == name.encode()


@pytest.mark.parametrize(
    ("hostname", "taken", "refused"),
    [
        ("a.example", ("a.example", "A.EXAMPLE:3000", "a.example."), ("b.a.example", "a.example.org", "")),
        ("A.Example.", ("a.example", "a.example.:80"), ("example",)),
        ("*.example", ("a.example", "a.b.example:80", "A.EXAMPLE."), ("example", ".example", "example:80", "aexample")),
        ("*", ("a", "", "[::1]:80"), ()),
        ("10.0.0.1", ("10.0.0.1", "10.0.0.1:80"), ("10.0.0.11",)),
    ],
)
def test_hostnames(hostname: str, taken: tuple[str, ...], refused: tuple[str, ...]) -> None:
    """A hostname is compared without case, port and final dot; a wildcard stands for one label or more."""
    hosts: Hosts[str] = Hosts()
    hosts.add(hostname, "it")
    assert [host for host in taken if hosts.find(host.encode()) != ("it",)] == []
    assert [host for host in refused if hosts.find(host.encode())] == []


def test_remembered_hosts_stay_few() -> None:
    """However many hosts clients send, a bounded number is remembered, and all are answered rightly."""
    hosts: Hosts[str] = Hosts()
    hosts.add("*.example", "it")
    for number in range(5000):
        assert hosts.find(b"h%d.example" % number) == ("it",)
        assert hosts.find(b"h%d" % number) == ()
    assert hosts.find(b"h4999.example") == ("it",)
    assert len(hosts._found) <= 1024


# against a model


class Rank(NamedTuple):
    """The documented sort key: the least is the most specific."""

    hostname: int
    path: int
    length: int
    method: int
    headers: int
    query: int


def model(routes: list[Route], request: Exchange) -> tuple[str, int | None] | None:
    """All that hold, sorted by the documented key; the first, with the length of its prefix."""
    host = request.host.decode().partition(":")[0].lower()
    path = request.path.decode()
    ranked = []
    for route in routes:
        for hostname in route.hostnames or ("",):
            if hostname.startswith("*."):
                if not host.endswith(hostname[1:]) or host == hostname[1:]:
                    continue
                rank = 1000 - len(hostname)
            elif hostname:
                if host != hostname:
                    continue
                rank = 0
            else:
                rank = 2000
            ranked += [
                (_rank(rank, match), route.name, _prefix_length(match))
                for match in route.matches
                if _fits(match.path, path) and _meets(match, request)
            ]
    best = min(ranked, key=lambda entry: entry[0], default=None)  # the first of equals: file order
    return (best[1], best[2]) if best else None


def _rank(hostname: int, match: RouteMatch) -> Rank:
    kinds = [PathMatchKind.EXACT, PathMatchKind.PREFIX, PathMatchKind.REGEX]
    length = _prefix_length(match)
    return Rank(
        hostname,
        kinds.index(match.path.kind),
        -(len(match.path.value) if length is None else length),
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query),
    )


def _prefix_length(match: RouteMatch) -> int | None:
    return len(match.path.value.rstrip("/")) if match.path.kind is PathMatchKind.PREFIX else None


def _fits(match: PathMatch, path: str) -> bool:
    if match.kind is PathMatchKind.EXACT:
        return path == match.value
    if match.kind is PathMatchKind.REGEX:
        return re.fullmatch(match.value, path) is not None
    return (path + "/").startswith(match.value.rstrip("/") + "/")


def _meets(match: RouteMatch, request: Exchange) -> bool:
    sent = {lower.decode(): value.decode() for lower, _, value in request.fields}
    asked = dict(parse_qsl((request.query or b"").decode()))
    return (
        (match.method is None or match.method.encode() == request.method)
        and all(sent.get(header.name) == header.value for header in match.headers)
        and all(asked.get(query.name) == query.value for query in match.query)
    )


_NAMES = ("a.example", "b.a.example", "example", "*.example", "*.a.example")
_PATHS = st.lists(st.sampled_from(("", "a", "b", "ab")), min_size=1, max_size=4).map(lambda some: "/" + "/".join(some))
_VALUES = st.lists(
    st.builds(ValueMatch, st.sampled_from("xyz"), st.sampled_from("12")), max_size=2, unique_by=lambda match: match.name
).map(tuple)
_PATH_MATCHES = st.one_of(
    st.builds(PathMatch, st.sampled_from((PathMatchKind.EXACT, PathMatchKind.PREFIX)), _PATHS),
    st.builds(regex, st.sampled_from(("/.*", "/a.*", "/(a|b)", "/[ab]", ".*b", "/a/?"))),
)
_METHODS = st.sampled_from((None, None, "GET", "POST"))
_MATCHES = st.lists(st.builds(RouteMatch, _PATH_MATCHES, _METHODS, _VALUES, _VALUES), min_size=1, max_size=3).map(tuple)
_ROUTES = st.lists(
    st.tuples(st.lists(st.sampled_from(_NAMES), max_size=2, unique=True).map(tuple), _MATCHES), max_size=6
).map(lambda some: [Route(f"route{index}", hosts, matches) for index, (hosts, matches) in enumerate(some)])


@st.composite
def _requests(draw: st.DrawFn) -> Exchange:
    headers = draw(st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12")))
    query = draw(st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12")))
    return exchange(
        draw(_PATHS) + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""),
        *headers.items(),
        method=draw(st.sampled_from(("GET", "POST"))),
        host=draw(st.sampled_from(("a.example", "b.a.example:80", "c.b.a.example", "EXAMPLE", "x.example", "other"))),
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(_ROUTES, st.lists(_requests(), min_size=1, max_size=6))
def test_finds_what_the_model_finds(routes: list[Route], requests: list[Exchange]) -> None:
    """The compiled table gives the route, and the prefix, that sorting all matches by the documented key gives."""
    compiled = table(*routes)
    for request in requests:
        candidate = compiled.find(request)
        got = (candidate.route, request.matched_prefix) if candidate else None
        assert got == model(routes, request), (request.method, request.host, request.path, request.query)
