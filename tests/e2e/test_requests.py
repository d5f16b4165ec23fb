"""What an upstream gets of a request: its path, its model, its headers, its credential; and what comes back of them."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.routes import ai_route, bind, host_route
from tests.e2e.stand_in import StandIn, Visit, completion
from tests.e2e.wire import Connection, ask, post, render_request, values

HOST = "hostOverride: provider.example"
BODY: dict[str, object] = {"model": "asked", "messages": []}


class PathRule(NamedTuple):
    """A way to write a route, what the client asks for below `/name`, and the target that the upstream gets."""

    name: str
    backend: str
    policies: str
    asked: str
    sent: str


FULL = "urlRewrite: {path: {full: /other/path}}"

PATHS = [
    PathRule("kept", HOST, "", "/v1/chat/completions", "/kept/v1/chat/completions"),
    PathRule("kept-query", HOST, "", "/v1/chat/completions?a=1&a=%2F", "/kept-query/v1/chat/completions?a=1&a=%2F"),
    PathRule("kept-escapes", HOST, "", "/v1/chat%2Fcompletions", "/kept-escapes/v1/chat%2Fcompletions"),
    PathRule("full", HOST, FULL, "/v1/chat/completions", "/other/path"),
    PathRule("full-query", HOST, FULL, "/v1/chat/completions?a=b?c", "/other/path?a=b?c"),
    PathRule("prefix", HOST, "urlRewrite: {path: {prefix: /api}}", "/v1/embeddings?q", "/api/v1/embeddings?q"),
    PathRule("prefix-root", HOST, "urlRewrite: {path: {prefix: /}}", "/v1/chat/completions", "/v1/chat/completions"),
    PathRule("override", f"{HOST}, pathOverride: /exact", "", "/v1/chat/completions?dropped=1", "/exact"),
    PathRule("override-query", f'{HOST}, pathOverride: "/exact?own=1"', "", "/v1/chat/completions?a", "/exact?own=1"),
    PathRule("rewrite-override", f"{HOST}, pathOverride: /exact", FULL, "/v1/chat/completions?a", "/other/path?a"),
    PathRule("base", f"{HOST}, pathPrefix: /openai/v1", "", "/v1/completions?a=1", "/openai/v1/completions?a=1"),
    PathRule("base-slash", f"{HOST}, pathPrefix: /openai/v1/", "", "/chat/completions", "/openai/v1/chat/completions"),
    PathRule("rewrite-base", f"{HOST}, pathPrefix: /p", FULL, "/v1/embeddings", "/other/path"),
    PathRule("provider", "tokenize: false", "", "/v1/chat/completions?a=1", "/v1/chat/completions?a=1"),
    PathRule("provider-any", "tokenize: false", "", "/openai/v1/embeddings", "/v1/embeddings"),
    PathRule("provider-full", "tokenize: false", FULL, "/v1/chat/completions?a=1", "/other/path?a=1"),
    PathRule(
        "authority", "tokenize: false", "urlRewrite: {authority: {full: provider.example}}", "/v1/chat/completions",
        "/authority/v1/chat/completions",
    ),
]  # fmt: skip

KEYS = {
    "key": "backendAuth: {key: sk-configured}",
    "header": "backendAuth: {key: {value: sk-configured, location: {header: {name: X-Api-Key}}}}",
    "prefix": 'backendAuth: {key: {value: sk-configured, location: {header: {name: api-key, prefix: "Key "}}}}',
    "query": "backendAuth: {key: {value: sk configured, location: {queryParameter: {name: key}}}}",
    "cookie": "backendAuth: {key: {value: sk-configured, location: {cookie: {name: session}}}}",
    "passthrough": "backendAuth: {passthrough: {}}",
    "none": "",
}


@pytest.fixture(scope="module")
def provider(shared_stand_in: StartStandIn) -> StandIn:
    return shared_stand_in()


@pytest.fixture(scope="module")
def openai(shared_stand_in: StartStandIn) -> StandIn:
    return shared_stand_in("api.openai.com")


@pytest.fixture(scope="module")
def running(shared_gateway: StartGateway, provider: StandIn, openai: StandIn, trust: dict[str, str]) -> Gateway:
    text = bind(
        [
            *(ai_route(rule.name, rule.backend, rule.policies) for rule in PATHS),
            ai_route("model", HOST, provider="openAI: {model: configured}"),
            ai_route("no-model", HOST, provider="openAI: {}"),
            *(ai_route(f"auth-{name}", HOST, policies) for name, policies in KEYS.items()),
            host_route("plain", "provider.example:80"),
        ]
    )
    return shared_gateway(
        text, *provider.resolve("provider.example", 80), *openai.resolve("api.openai.com", 443), env=trust
    )


@pytest.fixture(autouse=True)
def _forget(provider: StandIn, openai: StandIn) -> None:
    provider.forget()
    openai.forget()


# --- the path ---


@pytest.mark.parametrize("rule", PATHS, ids=lambda rule: rule.name)
def test_path(rule: PathRule, running: Gateway, provider: StandIn, openai: StandIn) -> None:
    """The path is the one configured, with the query kept where that is the rule; else the client's, unchanged."""
    answer = post(running.port, f"/{rule.name}{rule.asked}", BODY)
    assert answer.status == 200, answer.text
    seen = (openai if rule.name.startswith("provider") else provider).one
    assert seen.line == f"POST {rule.sent} HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_method(method: str, running: Gateway, provider: StandIn) -> None:
    """The method goes on as it is, and a request without a body gets none and no Content-Length."""
    provider.script = lambda visit: visit.reply(200, [], b"" if method == "HEAD" else b"x")
    answer = ask(running.port, method, "/plain/path?q=1")
    assert answer.status == 200
    assert provider.one.line == f"{method} /plain/path?q=1 HTTP/1.1"
    assert provider.one.names == {"host"}


# --- the model, and the rest of the body ---

MODEL_SET = [
    # the model's value is swapped where it stands
    (b'{"model":"asked","messages":[]}', b'{"model":"configured","messages":[]}'),
    (b'{"messages":[],"model":"asked","n":1}', b'{"messages":[],"model":"configured","n":1}'),
    # an absent or empty one, or one that is no text, is set too
    (b'{"messages":[]}', b'{"messages":[],"model":"configured"}'),
    (b'{"model":"","messages":[]}', b'{"model":"configured","messages":[]}'),
    (b'{"model":null,"messages":[]}', b'{"model":"configured","messages":[]}'),
    (b'{"model":7}', b'{"model":"configured"}'),
    (b"{}", b'{"model":"configured"}'),
    # every other byte stays: spaces, escapes, numbers, order
    (
        b'{\n  "model" : "asked",\r\n\t"x": [1.0, 1e5, 12345678901234567890, "\\u00e9\\/"] }\n',
        b'{\n  "model" : "configured",\r\n\t"x": [1.0, 1e5, 12345678901234567890, "\\u00e9\\/"] }\n',
    ),
    (b'{"messages":[{"model":"inner"}],"model":"asked"}', b'{"messages":[{"model":"inner"}],"model":"configured"}'),
    ('{"model":"asked","x":"é ☃ 😀"}'.encode(), '{"model":"configured","x":"é ☃ 😀"}'.encode()),
    # nothing to change: nothing is changed
    (b'{ "model": "configured" , "n" : 1 }', b'{ "model": "configured" , "n" : 1 }'),
]


@pytest.mark.parametrize(("asked", "sent"), MODEL_SET)
def test_configured_model_wins(asked: bytes, sent: bytes, running: Gateway, provider: StandIn) -> None:
    """The configured model is in the body that goes on, whatever the client's was, and no other byte has changed."""
    answer = post(running.port, "/model/v1/chat/completions", asked)
    assert answer.status == 200, answer.text
    assert provider.one.body == sent


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b","messages":[]}',
        b'{ "model" : "configured" , "model" : "other" }',
        b'{"mod\\u0065l":"a","messages":[]}',
        b'{"model":"a","Model":"b"}',
    ],
)
def test_no_second_model(body: bytes, running: Gateway, provider: StandIn) -> None:
    """However a body repeats or hides its model, the upstream can read only the configured one."""
    assert post(running.port, "/model/v1/chat/completions", body).status == 200
    pairs: list[tuple[str, Any]] = json.loads(provider.one.body, object_pairs_hook=list)
    assert [value for name, value in pairs if name.lower() == "model"] == ["configured"]


@pytest.mark.parametrize("body", [b'{ "model" :"asked","messages":[] }', b'{"n":1.50,\n"model":"asked"}'])
def test_requests_model_stays(body: bytes, running: Gateway, provider: StandIn) -> None:
    """Without a configured model the request's goes on, and the body with it, byte for byte."""
    assert post(running.port, "/no-model/v1/chat/completions", body).status == 200
    assert provider.one.body == body


@pytest.mark.parametrize("body", [b"{}", b'{"model":""}', b'{"model":null}', b'{"messages":[]}'])
def test_no_model_at_all(body: bytes, running: Gateway, provider: StandIn) -> None:
    """Neither a configured model nor one in the request: 400 that says so, and the upstream is not asked."""
    answer = post(running.port, "/no-model/v1/chat/completions", body)
    assert answer.status == 400
    assert answer.error["code"] == "missing_model"
    assert answer.error["param"] == "model"
    assert "model" in answer.error["message"]
    assert not provider.seen


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b'"text"', b'{"model":"m"', b'{"a":\xff}', gzip.compress(b"{}", mtime=0)]
)
def test_bad_json(body: bytes, running: Gateway, provider: StandIn) -> None:
    """A body that is no JSON object is 400 in words that say what is wrong, and the upstream is not asked."""
    answer = post(running.port, "/model/v1/chat/completions", body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "invalid_request_body"
    assert answer.error["message"].startswith("The request body ")
    assert not provider.seen


def test_plain_backend_gets_any_body(running: Gateway, provider: StandIn) -> None:
    """A plain backend's bodies are nobody's business: any bytes, with any type, go on unread."""
    body = bytes(range(256)) * 10
    assert post(running.port, "/plain/upload", body, {"Content-Type": "application/octet-stream"}).status == 200
    assert provider.one.body == body
    assert provider.one["content-length"] == str(len(body))


# --- the credential ---


@pytest.mark.parametrize(
    ("name", "authorization", "header"),
    [
        ("key", "Bearer sk-configured", None),
        ("header", None, ("x-api-key", "sk-configured")),
        ("prefix", None, ("api-key", "Key sk-configured")),
        ("cookie", None, ("cookie", "session=sk-configured")),
        ("passthrough", "Bearer sk-client", None),
        ("none", "Bearer sk-client", None),
    ],
)
def test_credential(
    name: str, authorization: str | None, header: tuple[str, str] | None, running: Gateway, provider: StandIn
) -> None:
    """The configured key replaces the client's credential, wherever it goes; without one the client's passes."""
    headers = {"Authorization": "Bearer sk-client"}
    if header is not None and header[0] != "cookie":
        headers[header[0].upper()] = "sk-a-second-one"
    assert post(running.port, f"/auth-{name}/v1/chat/completions", BODY, headers).status == 200
    seen = provider.one
    assert values(seen.headers, "authorization") == ([authorization] if authorization else [])
    if header is not None:
        assert values(seen.headers, header[0]) == [header[1]]


def test_credential_in_the_query(running: Gateway, provider: StandIn) -> None:
    """A key for the query is added to the client's, and takes the place of one the client gave by that name."""
    target = "/auth-query/v1/chat/completions?a=1&key=mine&b=2"
    assert post(running.port, target, BODY, {"Authorization": "Bearer sk-client"}).status == 200
    assert provider.one.target == "/auth-query/v1/chat/completions?a=1&b=2&key=sk%20configured"
    assert provider.one["authorization"] is None


def test_no_credential_at_all(running: Gateway, provider: StandIn) -> None:
    """Neither a configured key nor one of the client: none is made up, and what the upstream says comes back."""
    provider.script = lambda visit: visit.reply(401, [("WWW-Authenticate", "Bearer")], b"who are you?")
    answer = post(running.port, "/auth-none/v1/chat/completions", BODY)
    assert provider.one["authorization"] is None
    assert (answer.status, answer.body, answer["www-authenticate"]) == (401, b"who are you?", "Bearer")


# --- other headers ---


def test_exact_headers_upstream(running: Gateway, provider: StandIn) -> None:
    """Unknown headers pass with their case, order and repetitions; hop-by-hop ones do not; and nothing is added."""
    with Connection(running.port) as connection:
        body = b'{"model":"configured"}'
        connection.send(
            b"POST /model/v1/chat/completions HTTP/1.1\r\n"
            b"Host: gateway.example\r\n"
            b"User-Agent: tester/1\r\n"
            b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
            b"tracestate: a=1\r\n"
            b"Connection: keep-alive, X-Hop, close-not\r\n"
            b"X-Hop: for the gateway only\r\n"
            b"Keep-Alive: timeout=5\r\n"
            b"Proxy-Connection: keep-alive\r\n"
            b"Proxy-Authenticate: Basic\r\n"
            b"TE: trailers\r\n"
            b"Trailer: X-Sum\r\n"
            b"Upgrade: websocket\r\n"
            b"X-One: 1\r\n"
            b"x-two: a\r\n"
            b"X-Two: b\r\n"
            b"OpenAI-Organization: org\r\n"
            b"X-Request-Id: mine\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert connection.answer().status == 200
    assert provider.one.headers == [
        ("host", "provider.example"),
        ("User-Agent", "tester/1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("X-One", "1"),
        ("x-two", "a"),
        ("X-Two", "b"),
        ("OpenAI-Organization", "org"),
        ("X-Request-Id", "mine"),
        ("Content-Type", "application/json"),
        ("content-length", str(len(body))),
    ]


def test_exact_headers_downstream(running: Gateway, provider: StandIn) -> None:
    """Of an answer, too, all but what was meant for the hop passes with its case and order, and nothing is added."""
    body = json.dumps(completion()).encode()

    def script(visit: Visit) -> None:
        visit.send(
            b"HTTP/1.1 201 Made To Order\r\n"
            b"Content-Type: application/json\r\n"
            b"X-RateLimit-Remaining: 7\r\n"
            b"Set-Cookie: a=1\r\n"
            b"set-cookie: b=2\r\n"
            b"x-request-id: theirs\r\n"
            b"Server: stand-in\r\n"
            b"Connection: keep-alive, X-Hop\r\n"
            b"X-Hop: for the gateway only\r\n"
            b"Keep-Alive: timeout=5\r\n"
            b"Upgrade: h2c\r\n"
            b"Trailer: X-Sum\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    provider.script = script
    answer = post(running.port, "/model/v1/chat/completions", BODY)
    assert (answer.status, answer.phrase) == (201, "Made To Order")
    assert answer.headers == [
        ("Content-Type", "application/json"),
        ("X-RateLimit-Remaining", "7"),
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-request-id", "theirs"),
        ("Server", "stand-in"),
        ("Content-Length", str(len(body))),
    ]
    assert answer.body == body


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("gzip", "gzip"),
        ("br", "identity"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.8, gzip;q=0.1"),
        ("identity", "identity"),
        (None, None),
    ],
)
def test_accept_encoding(asked: str | None, sent: str | None, running: Gateway, provider: StandIn) -> None:
    """Codings whose content the gateway cannot read are taken out of Accept-Encoding; none is put in."""
    headers = {} if asked is None else {"Accept-Encoding": asked}
    assert post(running.port, "/model/v1/chat/completions", BODY, headers).status == 200
    assert provider.one["accept-encoding"] == sent


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
def test_compressed_answer(coding: str, pack: Any, running: Gateway, provider: StandIn) -> None:
    """A compressed answer passes as it came, and its usage is in the log all the same."""
    packed = pack(json.dumps(completion(model=f"packed-{coding}")).encode())
    headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)]
    provider.script = lambda visit: visit.reply(200, headers, packed)
    answer = post(running.port, f"/model/v1/chat/completions?{coding}", BODY, {"Accept-Encoding": coding})
    assert answer.body == packed
    assert answer["content-encoding"] == coding
    line = running.wait_for_log(f"gen_ai.response.model=packed-{coding}")
    assert "gen_ai.usage.input_tokens=11 gen_ai.usage.output_tokens=7" in line


# --- the body on its way ---


def test_large_body(running: Gateway, provider: StandIn) -> None:
    """25 MiB pass through an AI backend, every byte of them."""
    filler = b"x" * (25 * 1024 * 1024)
    answer = post(running.port, "/model/v1/chat/completions", b'{"model":"asked","x":"' + filler + b'"}')
    assert answer.status == 200, answer.text
    assert provider.one.body == b'{"model":"configured","x":"' + filler + b'"}'


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_body_over_the_limit(framing: str, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A body over the limit is 413 with the limit in the text, however it is framed; one of just that size passes."""
    provider = stand_in()
    text = bind([ai_route("x", HOST)], top="frontendPolicies: {http: {maxBufferSize: 1000}}\n")
    running = gateway(text, *provider.resolve("provider.example", 80))

    def send(size: int) -> Any:
        body = b'{"model":"m","x":"' + b"y" * (size - 20) + b'"}'
        headers = {}
        if framing == "chunked":
            headers = {"Transfer-Encoding": "chunked"}
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return post(running.port, "/x/v1/chat/completions", body, headers)

    assert send(1000).status == 200
    answer = send(1001)
    assert answer.status == 413
    assert "1,000 bytes" in answer.error["message"]
    assert len(provider.seen) == 1


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_plain_backend_streams_the_body(framing: str, running: Gateway, provider: StandIn) -> None:
    """The first bytes of a body reach a plain backend before the client has sent the last, framed as they came."""
    arrived, sent = threading.Event(), threading.Event()

    def script(visit: Visit) -> None:
        first = visit.reader.some()
        arrived.set()
        assert sent.wait(10)
        visit.reader.held = first + visit.reader.held
        visit.read()
        visit.reply(200, [], b"got it")

    provider.early, provider.script = True, script
    with Connection(running.port) as connection:
        if framing == "chunked":
            connection.request("POST", "/plain/upload", {"Transfer-Encoding": "chunked"})
            connection.send(b"5\r\nhello\r\n")
            assert arrived.wait(10), "the first chunk reaches the upstream while the client has more to send"
            connection.send(b"6\r\n world\r\n0\r\n\r\n")
        else:
            connection.request("POST", "/plain/upload", {"Content-Length": "11"})
            connection.send(b"hello")
            assert arrived.wait(10), "the first bytes reach the upstream while the client has more to send"
            connection.send(b" world")
        sent.set()
        answer = connection.answer()
    assert answer.body == b"got it"
    assert provider.one.body == b"hello world"
    assert provider.one["content-length"] == (None if framing == "chunked" else "11")


def test_plain_backend_streams_the_answer(running: Gateway, provider: StandIn) -> None:
    """The first bytes of a plain backend's answer reach the client before the last have been sent."""
    received = threading.Event()

    def script(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")
        assert received.wait(10)
        visit.send(b" world")

    provider.script = script
    with Connection(running.port) as connection:
        connection.request("GET", "/plain/download")
        assert connection.start()["content-length"] == "11"
        assert connection.reader.exactly(5) == b"hello"
        received.set()
        assert connection.reader.exactly(6) == b" world"


@pytest.mark.parametrize("route", ["model", "plain"])
def test_expect_continue(route: str, running: Gateway, provider: StandIn) -> None:
    """A client that waits for `100 Continue` gets it, sends its body, and the upstream sees no Expect."""
    body = b'{"model":"configured"}'
    headers = {"Expect": "100-continue", "Content-Length": str(len(body))}
    with Connection(running.port) as connection:
        connection.request("POST", f"/{route}/v1/chat/completions", headers)
        assert connection.reader.head() == ("HTTP/1.1 100 Continue", [])
        connection.send(body)
        assert connection.answer().status == 200
    assert provider.one.body == body
    assert "expect" not in provider.one.names


def test_expect_continue_refused(running: Gateway, provider: StandIn) -> None:
    """A body that is too large is refused before a client that waits for `100 Continue` has sent it."""
    headers = {"Expect": "100-continue", "Content-Length": str(64 * 1024 * 1024)}
    with Connection(running.port) as connection:
        connection.request("POST", "/model/v1/chat/completions", headers)
        first, _ = connection.reader.head()
    assert first.startswith("HTTP/1.1 413 ")
    assert not provider.seen


def test_pipelined_requests(running: Gateway, provider: StandIn) -> None:
    """Requests sent without waiting are answered in their order."""
    provider.script = lambda visit: visit.reply(200, [], visit.seen.target.encode())
    with Connection(running.port) as connection:
        targets = [f"/plain/{number}" for number in range(5)]
        connection.send(b"".join(render_request(running.port, "GET", target) for target in targets))
        assert [connection.answer().text for _ in targets] == targets


def test_connections_are_reused(running: Gateway, provider: StandIn) -> None:
    """One upstream connection serves one request after the other, be they of one client or of several."""
    for _ in range(3):
        with Connection(running.port) as connection:
            for _ in range(3):
                assert connection.ask("GET", "/plain/x").status == 200
    assert len({seen.connection for seen in provider.seen}) == 1
