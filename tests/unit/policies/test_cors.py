"""Cross-origin rules, by the Fetch standard."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange, fields, shown
from torana.exchange import Exchange, LocalReply
from torana.model.policy import Cors, HeaderModifier, RoutePolicies
from torana.policies.cors import CorsPolicy
from torana.policies.order import compile_route

APP = "https://app.example"
RULES = Cors(
    allow_origins=(APP, "https://*.dev.example"),
    allow_methods=("GET", "POST"),
    allow_headers=("authorization", "x-a"),
    expose_headers=("x-b", "x-c"),
    max_age=600,
)
OPEN = Cors(allow_origins=("*",), allow_methods=("*",), allow_headers=("*",), expose_headers=("*",))
WITH_CREDENTIALS = Cors(("*",), ("*",), ("*",), ("x-b",), allow_credentials=True)


def preflight(origin: str = APP, method: str = "POST", headers: str | None = "x-a, x-z") -> Exchange:
    asked = [("Origin", origin), ("Access-Control-Request-Method", method)]
    if headers is not None:
        asked.append(("Access-Control-Request-Headers", headers))
    return exchange("/v1/x", *asked, method="OPTIONS")


def answered(rules: Cors, request: Exchange) -> tuple[LocalReply | None, list[str]]:
    """The policy's own reply, if any, and the allow fields of what the client gets."""
    policy = CorsPolicy(rules)
    reply = policy.on_request(request)
    got = reply.fields if reply else fields()
    policy.on_response(request, got)
    return reply, [line.removeprefix("access-control-") for line in shown(got)]


@pytest.mark.parametrize(
    ("rules", "request_", "lines"),
    [
        pytest.param(
            RULES,
            preflight(),
            ["allow-methods: GET, POST", "allow-headers: authorization, x-a", "max-age: 600", "vary: Origin",
             f"allow-origin: {APP}"],
            id="listed",
        ),
        pytest.param(
            OPEN,
            preflight("https://any.example"),
            ["allow-methods: *", "allow-headers: *", "allow-origin: *"],
            id="everything",
        ),
        pytest.param(
            WITH_CREDENTIALS,
            preflight(),
            ["allow-methods: POST", "allow-headers: x-a, x-z", "vary: Origin", f"allow-origin: {APP}",
             "allow-credentials: true"],
            id="everything with credentials",
        ),
        pytest.param(
            Cors((APP,), ("GET", "*"), ("x-a", "*"), allow_credentials=True),
            preflight(method="DELETE"),
            ["allow-methods: DELETE", "allow-headers: x-a, x-z", "vary: Origin", f"allow-origin: {APP}",
             "allow-credentials: true"],
            id="a * among others, with credentials",
        ),
        pytest.param(
            WITH_CREDENTIALS,
            preflight(headers=None),
            ["allow-methods: POST", "vary: Origin", f"allow-origin: {APP}", "allow-credentials: true"],
            id="no headers asked for",
        ),
        pytest.param(Cors((APP,)), preflight(), ["vary: Origin", f"allow-origin: {APP}"], id="only an origin"),
        pytest.param(Cors((APP,), max_age=0), preflight(), ["max-age: 0", "vary: Origin", f"allow-origin: {APP}"],
                     id="max-age 0 is an answer"),
        pytest.param(RULES, preflight("https://evil.example"), ["vary: Origin"], id="another origin"),
        pytest.param(Cors(), preflight(), ["vary: Origin"], id="nothing is allowed"),
    ],
)  # fmt: skip
def test_preflight(rules: Cors, request_: Exchange, lines: list[str]) -> None:
    """A preflight is answered 200 by the gateway; only for an allowed origin do fields say what is allowed."""
    reply, got = answered(rules, request_)
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"")
    assert got == lines
    assert request_.record.reason == "DirectResponse"


@pytest.mark.parametrize(
    "request_",
    [
        exchange(method="OPTIONS"),
        exchange("/", ("Origin", APP), method="OPTIONS"),
        exchange("/", ("Access-Control-Request-Method", "POST"), method="OPTIONS"),
        exchange("/", ("Origin", APP), ("Access-Control-Request-Method", "POST"), method="GET"),
    ],
)
def test_no_preflight(request_: Exchange) -> None:
    """A preflight is OPTIONS with Origin and Access-Control-Request-Method; all else is the backend's to answer."""
    assert CorsPolicy(RULES).on_request(request_) is None
    assert request_.record.reason == "Upstream"


@pytest.mark.parametrize(
    ("rules", "allowed", "refused"),
    [
        (
            RULES,
            [APP, "https://x.dev.example", "https://x.y.dev.example"],
            ["null", "", "http://app.example", f"{APP}:8443", "https://APP.example", "https://dev.example",
             "https://.dev.example", "https://xdev.example", "https://evil/.dev.example", "https://x.dev.example.evil",
             "http://x.dev.example", f"{APP}.evil", f"x{APP}"],
        ),
        (Cors(("http://localhost:*",)), ["http://localhost:3000"], ["http://localhost", "https://localhost:1"]),
        (Cors(("null",)), ["null"], [APP]),
        (OPEN, [APP, "null"], []),
        (Cors(("*", APP)), ["https://any.example"], []),
    ],
)  # fmt: skip
def test_origins(rules: Cors, allowed: list[str], refused: list[str]) -> None:
    """An origin is compared whole; a `*` in one stands for what has no slash; `*` alone is every origin."""
    policy = CorsPolicy(rules)

    def is_allowed(origin: str) -> bool:
        got = fields()
        request = exchange("/", ("Origin", origin))
        policy.on_request(request)
        policy.on_response(request, got)
        return any(lower == b"access-control-allow-origin" for lower, _, _ in got)

    assert [origin for origin in allowed if not is_allowed(origin)] == []
    assert [origin for origin in refused if is_allowed(origin)] == []


BACKENDS = fields(
    ("Content-Type", "text/plain"),
    ("Access-Control-Allow-Origin", "*"),
    ("access-control-allow-credentials", "true"),
    ("Access-Control-Expose-Headers", "all"),
    ("Vary", "Accept-Encoding"),
)
_KEPT = ["Content-Type: text/plain", "Vary: Accept-Encoding"]


@pytest.mark.parametrize(
    ("rules", "origin", "lines"),
    [
        (
            RULES,
            APP,
            [*_KEPT, "vary: Origin", f"access-control-allow-origin: {APP}", "access-control-expose-headers: x-b, x-c"],
        ),
        (RULES, "https://evil.example", [*_KEPT, "vary: Origin"]),
        (OPEN, APP, [*_KEPT, "access-control-allow-origin: *", "access-control-expose-headers: *"]),
        (
            WITH_CREDENTIALS,
            APP,
            [*_KEPT, "vary: Origin", f"access-control-allow-origin: {APP}", "access-control-allow-credentials: true",
             "access-control-expose-headers: x-b"],
        ),
    ],
)  # fmt: skip
def test_answers(rules: Cors, origin: str, lines: list[str]) -> None:
    """The gateway's rules stand in place of the backend's; an answer that depends on the origin says so in Vary."""
    request = exchange("/", ("Origin", origin), method="POST")
    got = [*BACKENDS]
    policy = CorsPolicy(rules)
    assert policy.on_request(request) is None
    policy.on_response(request, got)
    assert shown(got) == lines


@pytest.mark.parametrize("rules", [RULES, OPEN, WITH_CREDENTIALS])
def test_other_requests_are_left_alone(rules: Cors) -> None:
    """The answer to a request without Origin is the backend's own; but no cache may give it to a page of an origin."""
    request = exchange(method="POST")
    got = [*BACKENDS]
    policy = CorsPolicy(rules)
    assert policy.on_request(request) is None
    policy.on_response(request, got)
    assert shown(got) == [*shown(BACKENDS), "vary: Origin"]


def test_the_clients_origin_counts() -> None:
    """A rule that keeps Origin from the backend does not keep the page from reading the answer."""
    chains = compile_route(RoutePolicies(cors=RULES, request_headers=HeaderModifier(remove=("Origin",))))
    request = exchange("/", ("Origin", APP))
    for policy in chains.before:
        assert policy(request) is None
    assert request.fields == []
    got = fields()
    for after in chains.after:
        after(request, got)
    assert f"access-control-allow-origin: {APP}" in shown(got)


def test_an_allowed_origin_has_no_case() -> None:
    """Browsers write an origin in lower case; one that the configuration writes otherwise fits all the same."""
    rules = Cors(allow_origins=("https://App.Example", "HTTPS://*.Dev.example"))
    for origin in ("https://app.example", "https://a.dev.example"):
        _, told = answered(rules, exchange("/v1/x", ("Origin", origin)))
        assert f"allow-origin: {origin}" in told
