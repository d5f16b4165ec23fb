"""Which route takes a request, and what its policies do to it and to its answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.routes import bind, host_route, route
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import Answer, Connection, ask, values


class Rule(NamedTuple):
    """A route: `name` is what it answers."""

    name: str
    matches: str = ""
    hostnames: str = ""


class Case(NamedTuple):
    """A request, and the name of the route that takes it; None is 404."""

    taken_by: str | None
    target: str = "/"
    host: str = "gateway.example"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()


TABLES: dict[str, tuple[list[Rule], list[Case]]] = {
    "path": (
        [
            Rule("short", "{path: {pathPrefix: /a}}"),
            Rule("regex", '{path: {regex: "/a/[0-9]+"}}'),
            Rule("long", "{path: {pathPrefix: /a/b}}"),
            Rule("slash", "{path: {pathPrefix: /s/}}"),
            Rule("exact", "{path: {exact: /a/b/c}}"),
            Rule("part", '{path: {regex: "/r/.*"}}'),
            Rule("shorter-part", '{path: {regex: "/r.*"}}'),
        ],
        [
            Case("short", "/a"),
            Case("short", "/a/"),
            Case("short", "/a/x?b=/a/b"),
            Case(None, "/ab"),
            Case("short", "/a/7"),  # a prefix goes before a regular expression
            Case("long", "/a/b"),
            Case("long", "/a/b/d"),
            Case("short", "/a/bc"),
            Case("exact", "/a/b/c"),
            Case("exact", "/a/b/c?q"),
            Case("long", "/a/b/c/"),
            Case("slash", "/s"),
            Case("slash", "/s/x"),
            Case(None, "/sx"),
            Case("part", "/r/x"),  # the longer expression first
            Case("shorter-part", "/rx"),
            Case(None, "/x/r/x"),  # the whole path has to fit
            Case(None, "/A"),
        ],
    ),
    "more": (
        [
            Rule("any"),
            Rule("first", "{query: [{name: a, value: {exact: '1'}}]}"),
            Rule("second", "{query: [{name: b, value: {exact: '1'}}]}"),
            Rule("header", "{headers: [{name: X-A, value: {exact: one}}]}"),
            Rule("headers", "{headers: [{name: x-a, value: {exact: one}}, {name: x-b, value: {regex: '[0-9]+'}}]}"),
            Rule("method", "{method: DELETE}"),
            Rule("pseudo", "{headers: [{name: ':authority', value: {regex: 'special\\..*'}}]}"),
            Rule("regex-query", "{query: [{name: q, value: {regex: 'a b|c'}}]}"),
            Rule("either", "{path: {exact: /one}}, {path: {exact: /two}, method: POST}"),
        ],
        [
            Case("any"),
            Case("first", "/?a=1"),
            Case("any", "/?a=2"),
            Case("any", "/?a=2&a=1"),  # the first of a name counts
            Case("first", "/?a=1&b=1"),  # equal routes keep the order of the file
            Case("second", "/?x&b=1"),
            Case("regex-query", "/?q=a%20b"),
            Case("regex-query", "/?q=a+b"),
            Case("any", "/?q=abc"),
            Case("header", headers=(("x-a", "one"),)),
            Case("header", "/?a=1", headers=(("X-A", "one"),)),  # headers before query
            Case("any", headers=(("x-a", "One"),)),
            Case("any", headers=(("x-a", "one"), ("x-a", "two"))),  # repeated ones are one, joined
            Case("headers", headers=(("x-a", "one"), ("x-b", "77"))),
            Case("header", headers=(("x-a", "one"), ("x-b", "77x"))),
            Case("method", method="DELETE", headers=(("x-a", "one"), ("x-b", "77"))),  # a method before headers
            Case("pseudo", host="special.example"),
            Case("either", "/one"),
            Case("either", "/two", method="POST"),
            Case("any", "/two"),
        ],
    ),
    "hosts": (
        [
            Rule("nowhere", "{path: {pathPrefix: /x}}"),
            Rule("exact", "{path: {pathPrefix: /x}}", "[a.b.example]"),
            Rule("wide", "{path: {pathPrefix: /}}", "['*.example']"),
            Rule("narrow", "{path: {pathPrefix: /x}}", "['*.b.example']"),
            Rule("two", "{path: {pathPrefix: /}}", "[one.test, two.test]"),
        ],
        [
            Case("exact", "/x", host="a.b.example"),
            Case("exact", "/x", host="A.B.Example:80"),
            Case("narrow", "/x", host="c.b.example"),
            Case("narrow", "/x", host="d.c.b.example"),
            Case("wide", "/y", host="a.b.example"),  # the next hostname is tried when no path of the first fits
            Case("wide", "/x", host="b.example"),
            Case("nowhere", "/x", host="example"),
            Case("nowhere", "/x", host="127.0.0.1"),
            Case(None, "/y", host="127.0.0.1"),
            Case("two", "/y", host="two.test"),
            Case("two", "/y", host="one.test."),
        ],
    ),
}

CASES = [(table, case) for table, (_, cases) in TABLES.items() for case in cases]


def answering(rule: Rule) -> str:
    hostnames = f"      hostnames: {rule.hostnames}\n" if rule.hostnames else ""
    text = route(rule.name, "backends: []", f"directResponse: {{status: 200, body: {rule.name}}}", rule.matches or "{}")
    return text + hostnames


@pytest.fixture(scope="module")
def tables(shared_gateway: StartGateway) -> dict[str, Gateway]:
    return {name: shared_gateway(bind(map(answering, rules))) for name, (rules, _) in TABLES.items()}


@pytest.mark.parametrize(("table", "case"), CASES, ids=lambda value: value if isinstance(value, str) else value[1])
def test_matches(table: str, case: Case, tables: dict[str, Gateway]) -> None:
    """The most specific route takes a request: hostname, path, method, headers, query, then the order of the file."""
    answer = ask(tables[table].port, case.method, case.target, [("Host", case.host), *case.headers])
    if case.taken_by is None:
        assert answer.status == 404
        assert answer.error["code"] == "route_not_found"
    else:
        assert (answer.status, answer.text) == (200, case.taken_by)


# --- policies ---

ORIGINS = "allowOrigins: ['https://app.example', 'https://*.dev.example']"
CORS = f"cors: {{{ORIGINS}, allowMethods: [GET, POST], allowHeaders: [x-a], exposeHeaders: [x-b], maxAge: 10m}}"


@pytest.fixture(scope="module")
def provider(shared_stand_in: StartStandIn) -> StandIn:
    return shared_stand_in()


@pytest.fixture(scope="module")
def running(shared_gateway: StartGateway, provider: StandIn) -> Gateway:
    host = "provider.example:80"
    text = bind(
        [
            host_route(
                "request-headers", host,
                "requestHeaderModifier: "
                "{set: {X-Set: new, x-twice: t}, add: {X-Add: more, x-twice: u}, remove: [X-Gone]}",
            ),
            host_route(
                "response-headers", host,
                "responseHeaderModifier: {set: {X-Set: new}, add: {X-Add: more}, remove: [Server]}",
            ),
            route("redirect", "backends: []", "requestRedirect: {scheme: https, authority: {host: other.example}}"),
            route("moved", "backends: []", "requestRedirect: {path: {full: /new}, status: 301}"),
            route(
                "prefix", "backends: []", "requestRedirect: {path: {prefix: /new}, authority: {full: 'a.example:80'}}"
            ),
            route(
                "https-port", "backends: []", "requestRedirect: {scheme: https, authority: {port: 443}, status: 308}"
            ),
            route(
                "teapot", "backends: []", "directResponse: {status: 418, body: short and stout, headers: {X-Pot: '1'}}"
            ),
            route(
                "json", "backends: []",
                "directResponse: {status: 200, body: '{}', headers: {Content-Type: application/json}}",
            ),
            route("empty", "backends: []", "directResponse: {status: 204}"),
            host_route("cors", host, CORS),
            host_route("cors-any", host, "cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*']}"),
            host_route(
                "cors-credentials", host,
                "cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], allowCredentials: true}",
            ),
            route(
                "weights",
                "backends: "
                "[{host: 'never.example:80', weight: 0}, {backend: /named, weight: 3}, {backend: inner/named}]",
            ),
            route(
                "on-backend",
                "backends: [{host: 'provider.example:80', policies: {requestHeaderModifier: {set: {X-From: backend}},"
                " responseHeaderModifier: {set: {X-Back: backend}}, backendAuth: {key: sk-backend}}}]",
                "requestHeaderModifier: {set: {X-From: route, X-Route: route}},"
                " responseHeaderModifier: {set: {X-Back: route}}, backendAuth: {key: sk-route}",
            ),
            route("on-named", "backends: [{backend: /named}]", "backendAuth: {key: sk-route}"),
            route(
                "away",
                "backends: [{host: 'provider.example:80',"
                " policies: {requestRedirect: {authority: {full: a.example}}}}]",
            ),
            route(
                "all", "backends: []",
                "directResponse: {status: 200, body: x}, responseHeaderModifier: {set: {X-Set: new}}",
            ),
        ],
        top="""
backends:
- name: named
  host: provider.example:80
  policies:
    backendAuth: {key: sk-named}
    requestHeaderModifier: {set: {X-Backend: named}}
- name: named
  namespace: inner
  host: provider.example:80
  policies:
    requestHeaderModifier: {set: {X-Backend: inner}}
""",
    )  # fmt: skip
    return shared_gateway(text, *provider.resolve("provider.example", 80), "--resolve", "never.example:80:127.0.0.1:1")


@pytest.fixture(autouse=True)
def _forget(provider: StandIn) -> None:
    provider.forget()


def test_request_header_modifier(running: Gateway, provider: StandIn) -> None:
    """`remove` and `set` replace what the client sent, `add` comes on top of it; names have no case."""
    headers = [("x-gone", "1"), ("X-GONE", "2"), ("x-set", "old"), ("x-add", "one"), ("x-twice", "s")]
    assert ask(running.port, "GET", "/request-headers", headers).status == 200
    assert provider.one.headers[1:] == [
        ("x-add", "one"),
        ("X-Set", "new"),
        ("x-twice", "t"),
        ("X-Add", "more"),
        ("x-twice", "u"),
    ]


def test_response_header_modifier(running: Gateway, provider: StandIn) -> None:
    """The same for answers, those of the gateway included."""
    provider.script = lambda visit: visit.reply(200, [("server", "s"), ("x-set", "old"), ("x-add", "one")])
    answer = ask(running.port, "GET", "/response-headers")
    assert [entry for entry in answer.headers if entry[0].lower() != "content-length"] == [
        ("x-add", "one"),
        ("X-Set", "new"),
        ("X-Add", "more"),
    ]
    assert ask(running.port, "GET", "/all")["x-set"] == "new"


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/redirect/a?b=c", 302, "https://other.example/redirect/a?b=c"),
        ("/moved/a?b=c", 301, "http://gateway.example:$PORT/new?b=c"),
        ("/prefix/a/b?q", 302, "http://a.example/new/a/b?q"),
        ("/https-port", 308, "https://gateway.example/https-port"),
        ("/away/a", 302, "http://a.example/away/a"),
    ],
)
def test_redirect(target: str, status: int, location: str, running: Gateway, provider: StandIn) -> None:
    """A redirect names scheme, host, port and path as configured, the rest as asked for; default ports are left out."""
    answer = ask(running.port, "GET", target, {"Host": f"gateway.example:{running.port}"})
    assert answer.status == status
    assert answer["location"] == location.replace("$PORT", str(running.port))
    assert not provider.seen


@pytest.mark.parametrize(
    ("path", "status", "body", "headers"),
    [
        ("/teapot", 418, "short and stout", {"x-pot": "1", "content-type": "text/plain; charset=utf-8"}),
        ("/json", 200, "{}", {"content-type": "application/json"}),
        ("/empty", 204, "", {"content-length": None}),
    ],
)
def test_direct_response(path: str, status: int, body: str, headers: dict[str, Any], running: Gateway) -> None:
    """The gateway answers by itself, with the status, body and headers of the configuration."""
    answer = ask(running.port, "GET", path)
    assert (answer.status, answer.text) == (status, body)
    for name, text in headers.items():
        assert answer[name] == text


# --- cors ---


def preflight(running: Gateway, path: str, origin: str, **headers: str) -> Answer:
    given = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return ask(running.port, "OPTIONS", path, given)


def allowed(answer: Answer) -> dict[str, str]:
    return {
        name.lower().removeprefix("access-control-"): text
        for name, text in answer.headers
        if name.lower().startswith("access-control-")
    }


@pytest.mark.parametrize("origin", ["https://app.example", "https://x.dev.example"])
def test_preflight_allowed(origin: str, running: Gateway, provider: StandIn) -> None:
    """A preflight of an allowed origin is answered by the gateway, with what is allowed and for how long."""
    answer = preflight(running, "/cors", origin)
    assert answer.status == 200
    assert answer.body == b""
    assert allowed(answer) == {
        "allow-origin": origin,
        "allow-methods": "GET, POST",
        "allow-headers": "x-a",
        "max-age": "600",
    }
    assert answer["vary"] == "Origin"
    assert not provider.seen


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "https://dev.example", "null"])
def test_preflight_of_a_stranger(origin: str, running: Gateway, provider: StandIn) -> None:
    """A preflight of another origin is answered without any of the headers that allow something."""
    answer = preflight(running, "/cors", origin)
    assert (answer.status, allowed(answer)) == (200, {})
    assert not provider.seen


def test_cors_of_an_actual_request(running: Gateway, provider: StandIn) -> None:
    """The answer to a request is marked for an allowed origin, in place of the upstream's own marks; else it is not."""
    provider.script = lambda visit: visit.reply(200, [("Access-Control-Allow-Origin", "https://upstream.example")])
    answer = ask(running.port, "GET", "/cors", {"Origin": "https://app.example"})
    assert allowed(answer) == {"allow-origin": "https://app.example", "expose-headers": "x-b"}
    assert allowed(ask(running.port, "GET", "/cors", {"Origin": "https://evil.example"})) == {}
    assert allowed(ask(running.port, "OPTIONS", "/cors")) == {"allow-origin": "https://upstream.example"}
    assert len(provider.seen) == 3


def test_cors_marks_errors(running: Gateway, provider: StandIn) -> None:
    """An error of the gateway is marked too, or a page could not read what went wrong."""
    provider.script = lambda visit: visit.close()
    answer = ask(running.port, "GET", "/cors", {"Origin": "https://app.example"})
    assert answer.status == 502
    assert allowed(answer)["allow-origin"] == "https://app.example"


def test_cors_for_any_origin(running: Gateway) -> None:
    """`*` allows every origin; with credentials, which forbid a literal `*`, what was asked for is named."""
    answer = preflight(running, "/cors-any", "https://any.example")
    assert allowed(answer) == {"allow-origin": "*", "allow-methods": "*", "allow-headers": "*"}
    answer = preflight(
        running, "/cors-credentials", "https://any.example", **{"Access-Control-Request-Headers": "x-one, x-two"}
    )
    assert allowed(answer) == {
        "allow-origin": "https://any.example",
        "allow-credentials": "true",
        "allow-methods": "POST",
        "allow-headers": "x-one, x-two",
    }


# --- backends ---


def test_weights(running: Gateway, provider: StandIn) -> None:
    """Backends are picked in proportion to their weights, and one with weight 0 never is."""
    provider.script = lambda visit: visit.reply(200)
    with Connection(running.port) as connection:
        for _ in range(400):
            assert connection.ask("GET", "/weights").status == 200, "weight 0 leads to a port where nobody listens"
    names = [seen["x-backend"] for seen in provider.seen]
    # 300 are expected; with 400 at 3 in 4, less than 250 or more than 350 is more than five standard deviations off.
    assert 250 < names.count("named") < 350
    assert names.count("named") + names.count("inner") == 400


def test_policies_on_a_backend(running: Gateway, provider: StandIn) -> None:
    """A credential on the backend replaces the route's; header changes of the backend come after the route's."""
    answer = ask(running.port, "GET", "/on-backend", {"Authorization": "Bearer sk-client"})
    seen = provider.one
    assert values(seen.headers, "authorization") == ["Bearer sk-backend"]
    assert values(seen.headers, "x-from") == ["backend"]
    assert values(seen.headers, "x-route") == ["route"]
    assert values(answer.headers, "x-back") == ["route"], "answers pass the backend's policies first, then the route's"


def test_policies_on_a_named_backend(running: Gateway, provider: StandIn) -> None:
    """A backend by reference brings its own policies, which go before the route's."""
    ask(running.port, "GET", "/on-named")
    assert provider.one["authorization"] == "Bearer sk-named"
    assert provider.one["x-backend"] == "named"
