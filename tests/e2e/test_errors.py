"""Errors the gateway makes itself: the right status, in OpenAI's form, with words that teach and an id for the log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.faults import unaccepting
from tests.e2e.harness import Gateway
from tests.e2e.routes import ai_route, bind, host_route, route
from tests.e2e.stand_in import Script, StandIn, Visit
from tests.e2e.wire import Answer, Connection, ask, post

PATH = "/x/v1/chat/completions"


@pytest.fixture(scope="module")
def provider(shared_stand_in: StartStandIn) -> StandIn:
    return shared_stand_in()


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    with unaccepting() as port:
        yield port


@pytest.fixture(scope="module")
def running(shared_gateway: StartGateway, provider: StandIn) -> Gateway:
    host = "hostOverride: provider.example"
    text = bind(
        [
            ai_route("x", host),
            ai_route("request-timeout", host, "timeout: {requestTimeout: 200ms}"),
            ai_route("head-timeout", host, "timeout: {requestTimeout: 1500ms}"),
            ai_route("backend-timeout", host, "timeout: {requestTimeout: 10s, backendRequestTimeout: 150ms}"),
            host_route("plain-timeout", "provider.example:80", "timeout: {requestTimeout: 200ms}"),
            host_route("plain", "provider.example:80"),
            route("weightless", 'backends: [{host: "provider.example:80", weight: 0}]'),
            route("nothing", "backends: []"),
            host_route("exact", "provider.example:80", matches="{path: {exact: /only/this}, method: PUT}"),
        ],
        top="""
frontendPolicies:
  http: {maxBufferSize: 1000, http1MaxHeaders: 20, maxHeaderBytes: 8192, headerReadTimeout: 1s}
""",
    )
    return shared_gateway(text, *provider.resolve("provider.example", 80))


@pytest.fixture(autouse=True)
def _forget(provider: StandIn) -> None:
    provider.forget()


def raw(port: int, data: bytes) -> Answer:
    with Connection(port) as connection:
        connection.send(data)
        return connection.answer()


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: gateway.example", *headers, "", ""]).encode()


class Fault(NamedTuple):
    """What a client sends, and the error that it gets."""

    name: str
    sent: bytes
    status: int
    code: str
    says: tuple[str, ...]


FAULTS = [
    Fault("no-http", b"hello\r\n\r\n", 400, "bad_http_request", ("not valid HTTP/1.1",)),
    Fault("no-host", b"GET /x HTTP/1.1\r\n\r\n", 400, "bad_http_request", ("Host",)),
    Fault(
        "two-lengths", head(f"POST {PATH} HTTP/1.1", "Content-Length: 2", "Transfer-Encoding: chunked"), 400,
        "bad_http_request", ("not valid HTTP/1.1",),
    ),
    Fault(
        "bad-json", head(f"POST {PATH} HTTP/1.1", "Content-Length: 4") + b"oops", 400, "invalid_request_body",
        ("not valid JSON",),
    ),
    Fault(
        "no-route", head("GET /elsewhere?q=1 HTTP/1.1"), 404, "route_not_found",
        ("GET /elsewhere", "gateway.example", "listener0", "9 route(s)", "hostname, path, method, headers and query"),
    ),
    Fault("connect", head("CONNECT a.example:443 HTTP/1.1"), 405, "method_not_allowed", ("CONNECT",)),
    Fault("trace", head("TRACE / HTTP/1.1"), 405, "method_not_allowed", ("TRACE",)),
    Fault(
        "too-large", head(f"POST {PATH} HTTP/1.1", "Content-Length: 1001") + b"x" * 1001, 413,
        "request_body_too_large", ("1,000 bytes", "maxBufferSize"),
    ),
    Fault("long-target", head(f"GET /{'a' * 20000} HTTP/1.1"), 414, "uri_too_long", ("16,384 bytes",)),
    Fault("target-of-half-a-head", head(f"GET /{'a' * 10000} HTTP/1.1"), 414, "uri_too_long",
        ("8,192", "frontendPolicies.http.maxHeaderBytes"),
    ),
    Fault("expect", head(f"POST {PATH} HTTP/1.1", "Expect: miracles"), 417, "expectation_failed", ("100-continue",)),
    Fault(
        "many-headers", head("GET /x HTTP/1.1", *(f"X-{n}: 1" for n in range(21))), 431,
        "request_headers_too_large", ("20 fields", "frontendPolicies.http.http1MaxHeaders"),
    ),
    Fault(
        "long-header", head("GET /x HTTP/1.1", "X-Long: " + "a" * 9000), 431, "request_headers_too_large",
        ("8,192 bytes", "frontendPolicies.http.maxHeaderBytes"),
    ),
    Fault("weight-0", head("GET /weightless HTTP/1.1"), 500, "no_valid_backend", ("weightless", "weight above 0")),
    Fault("no-backend", head("GET /nothing HTTP/1.1"), 500, "no_valid_backend", ("nothing",)),
    Fault("version", head("GET /x HTTP/2.0"), 505, "http_version_not_supported", ("HTTP/1.1",)),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_errors_of_requests(fault: Fault, running: Gateway, provider: StandIn) -> None:
    """A request that cannot be served gets its status, an error object that says why, and no upstream is asked."""
    answer = raw(running.port, fault.sent)
    check(answer, fault.status, fault.code, *fault.says)
    assert answer.complete
    assert not provider.seen


def test_slow_head(running: Gateway) -> None:
    """A request whose head does not arrive in time is 408."""
    with Connection(running.port) as connection:
        connection.send(b"GET /x HTTP/1.1\r\nHost: ")
        check(connection.answer(), 408, "request_timeout", "head did not arrive in time: it was not", "1 seconds")


def test_slow_body(running: Gateway, provider: StandIn) -> None:
    """A request whose body stops arriving is 408."""
    with Connection(running.port) as connection:
        connection.send(head(f"POST {PATH} HTTP/1.1", "Content-Length: 10") + b"{")
        check(connection.answer(), 408, "request_timeout", "body did not arrive in time", "headerReadTimeout")
    assert not provider.seen


# --- the upstream's fault ---


def _garbage(visit: Visit) -> None:
    visit.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    visit.stall()


def _both_lengths(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


def _switches(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
    visit.stall()


def _half_a_head(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    visit.close()


def _endless_head(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(2000)) + b"\r\n")
    visit.stall()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (_garbage, "bad_upstream_answer"),
        (_both_lengths, "bad_upstream_answer"),
        (_switches, "bad_upstream_answer"),
        (_endless_head, "bad_upstream_answer"),
        (_half_a_head, "upstream_closed"),
        (Visit.close, "upstream_closed"),
        (Visit.reset, "upstream_closed"),
    ],
)
@pytest.mark.parametrize("path", [PATH, "/plain/x"])
def test_broken_answers(path: str, script: Script, code: str, running: Gateway, provider: StandIn) -> None:
    """An answer that is no HTTP, or none at all, is 502, and nothing of it reaches the client."""
    provider.script = script
    answer = post(running.port, path, {"model": "m"})
    check(answer, 502, code, "upstream")
    assert "SSH" not in answer.text


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/request-timeout/v1/chat/completions", "timeout.requestTimeout of 0.2 s"),
        ("/backend-timeout/v1/chat/completions", "timeout.backendRequestTimeout of 0.15 s"),
        ("/plain-timeout/x", "timeout.requestTimeout of 0.2 s"),
    ],
)
def test_timeouts(path: str, names: str, running: Gateway, provider: StandIn) -> None:
    """An upstream that does not answer in time is 504, which names the timeout and how long it was."""
    provider.script = Visit.stall
    check(post(running.port, path, {"model": "m"}), 504, "upstream_timeout", names)


def test_timeout_covers_the_body_of_the_request(running: Gateway) -> None:
    """The requestTimeout begins with the request: a client that never sends its body is answered 408."""
    with Connection(running.port) as client:
        client.send(b"POST /request-timeout/v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        check(client.answer(), 408, "request_timeout", "timeout.requestTimeout of 0.2 s")


def test_timeout_ends_with_the_head(running: Gateway, provider: StandIn) -> None:
    """A timeout holds until the answer's head: what follows may take as long as it likes."""

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event({"n": 1})
        assert not visit.reader.sock.recv(1), "the gateway must not leave before the client does"

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("POST", "/head-timeout/v1/chat/completions", None, b'{"stream": true}')
        connection.start()
        assert connection.reader.chunk()
        connection.sock.settimeout(1.8)
        with pytest.raises(TimeoutError):
            connection.reader.chunk()


def test_connect_timeout(gateway: StartGateway, silent: int) -> None:
    """A connection that is not made in time is 504, naming host, phase and how long was waited."""
    text = bind([ai_route("x", f'hostOverride: "127.0.0.1:{silent}"')])
    running = gateway(f"config:\n  backend: {{connectTimeout: 300ms}}\n{text}")
    answer = post(running.port, PATH, {})
    check(answer, 504, "upstream_connect_timeout", f"127.0.0.1:{silent}", "phase connect", "0.3 s")


# --- what all errors share ---


def check(answer: Answer, status: int, code: str, *says: str) -> None:
    assert answer.status == status, answer
    error = answer.error
    assert error["code"] == code
    assert error["type"] == ("api_error" if status >= 500 and status != 505 else "invalid_request_error")
    for part in says:
        assert part in error["message"], error["message"]
    assert answer["content-length"] == str(len(answer.body))


def test_request_id_of_the_client(running: Gateway) -> None:
    """An error carries the client's x-request-id, which finds its line in the log; one that is no id is replaced."""
    answer = ask(running.port, "GET", "/elsewhere", {"X-Request-Id": "my-id-7"})
    assert answer["x-request-id"] == "my-id-7"
    assert "http.status=404" in running.wait_for_log("request.id=my-id-7")
    made = ask(running.port, "GET", "/elsewhere", {"X-Request-Id": "bad id\t" + "x" * 200})["x-request-id"]
    assert made is not None
    assert re.fullmatch("[0-9a-f]{32}", made)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (head("GET /logged-404 HTTP/1.1"), "NotFound"),
        (head("GET /weightless/logged-500 HTTP/1.1"), "NoHealthyBackend"),
        (head("POST /x/logged-400/v1/chat/completions HTTP/1.1", "Content-Length: 1") + b"x", "InvalidRequest"),
    ],
)
def test_errors_are_logged(sent: bytes, reason: str, running: Gateway) -> None:
    """An error's line in the log has its reason, and the id that the answer carried."""
    answer = raw(running.port, sent)
    line = running.request_line(sent.split(b" ")[1].decode())
    assert f"reason={reason}" in line
    assert f"request.id={answer['x-request-id']}" in line


def test_head_request(running: Gateway) -> None:
    """The error of a HEAD request is its head alone, and the connection serves the next."""
    with Connection(running.port) as connection:
        answer = connection.ask("HEAD", "/elsewhere")
        assert answer.status == 404
        assert int(answer["content-length"] or 0) > 0
        assert connection.ask("GET", "/elsewhere").status == 404


@pytest.mark.parametrize("next_one", [200, 404])
def test_connection_survives_an_error(next_one: int, running: Gateway, provider: StandIn) -> None:
    """After an error that did not spoil the framing, the same connection serves the next request."""
    targets: dict[int, Callable[[Connection], Answer]] = {
        200: lambda connection: connection.ask("GET", "/plain/x"),
        404: lambda connection: connection.ask("GET", "/elsewhere"),
    }
    provider.script = lambda visit: visit.reply(200)
    with Connection(running.port) as connection:
        assert connection.ask("POST", PATH, None, b"no json").status == 400
        assert targets[next_one](connection).status == next_one
