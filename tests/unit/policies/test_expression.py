"""Expressions: what is wrong with one is said before any request, and what has no value is not true."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.exchanges import exchange, fields
from torana.exchange import Exchange
from torana.http.message import Framing, ResponseHead
from torana.policies.cel import mentions
from torana.policies.expression import Expression, Sees, expression_fault


def _request() -> Exchange:
    made = exchange("/v1/chat?a=b", ("X-Tier", "gold"), ("Accept", "a"), ("accept", "b"), method="POST", scheme="https")
    made.record.peer = "10.0.0.7:4242"
    return made


def _head(status: int, *headers: tuple[str, str]) -> ResponseHead:
    return ResponseHead(status, b"", fields(*headers), Framing.NONE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("request.method", "POST"),
        ("request.uri", "https://gateway.example/v1/chat?a=b"),
        ("request.host", "gateway.example"),
        ("request.scheme", "https"),
        ("request.path", "/v1/chat"),
        ("request.pathAndQuery", "/v1/chat?a=b"),
        ("request.version", "HTTP/1.1"),
        ("request.headers['x-tier']", "gold"),
        ('request["headers"]["x-tier"]', "gold"),
        ("request.headers.accept", "a, b"),
        ("'x-tier' in request.headers && !('x-other' in request.headers)", True),
        ("'x-' + 'tier' in request.headers", True),
        ("has(request.headers.nothing)", False),
        ("request.headers.exists(name, name.startsWith('x-'))", True),
        ("request.headers['x-tier'].upperAscii().split('O')", ["G", "LD"]),
        ("source.address + ' ' + string(source.port)", "10.0.0.7 4242"),
        ("has(llm.requestModel) || has(backend.name)", False),
    ],
)
def test_a_request_is_seen_by_agentgateways_names(text: str, value: Any) -> None:
    """Each variable has the request's own value; headers are a map with lower-case names."""
    assert expression_fault(text) is None
    assert Expression(text, Sees.REQUEST).evaluate(_request()) == value


def test_an_address_of_ipv6() -> None:
    """An IPv6 address has brackets only where a port stands behind it."""
    request = _request()
    request.record.peer = "[2001:db8::7]:4242"
    text = "source.address + ' ' + string(source.port)"
    assert Expression(text, Sees.REQUEST).evaluate(request) == "2001:db8::7 4242"


def test_a_call_is_seen_once_it_is_read() -> None:
    """Model, provider and backend are there as soon as they are known."""
    request = _request()
    record = request.record
    record.protocol, record.model, record.streaming, record.provider, record.backend = "llm", "m", True, "openai", "up"
    text = "llm.requestModel + llm.provider + backend.name + string(llm.streaming ? 1 : 0)"
    assert Expression(text).evaluate(request) == "mopenaiup1"


def test_an_answer_is_seen_by_code_and_headers() -> None:
    """Status and fields of the answer are `response`."""
    condition = Expression("response.code == 200 && response.headers['x-error'] == 'yes'")
    assert condition.holds(_request(), _head(200, ("X-Error", "yes")))
    assert not condition.holds(_request(), _head(503, ("X-Error", "yes")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "something is missing in line 1, column 1"),
        ("request.method ==", "something is missing in line 1, column 18"),
        ("jwt.sub == 'a'", "no variable `jwt`"),
        ("request.body == ''", "no `request.body` here; `request` has method,"),
        ("request.headers['X-Tier'] == 'gold'", "write `x-tier`"),
        ("request.method.shout()", "no function `shout`"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, words: str) -> None:
    """A faulty expression is refused before any request, with what is wrong and what is there."""
    fault = expression_fault(text)
    assert fault is not None
    assert words in fault
    with pytest.raises(ValueError, match="`: "):
        Expression(text)


def test_a_request_has_no_answer_yet() -> None:
    """An expression on the request alone may not ask for the answer."""
    assert expression_fault("response.code == 200", Sees.REQUEST) == (
        "there is no variable `response` here, only request, source, llm, backend"
    )


@pytest.mark.parametrize(
    "text",
    [
        "request.headers.nothing == ''",
        "request.method + 1 == 2",
        "int(request.path) == 1",
        "1 / 0 == 1",
        "bool(request.path)",
        "request.path.substring(99) == ''",
    ],
)
def test_what_cannot_be_evaluated_is_not_true_and_told_once(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """A failure at run time counts as false; the log has it once, without the request's values."""
    condition = Expression(text)
    assert not condition.holds(_request())
    assert condition.evaluate(_request()) is None
    assert len(caplog.messages) == 1
    assert text in caplog.messages[0]
    assert "/v1/chat" not in caplog.messages[0]


def test_a_value_that_is_not_true_does_not_hold() -> None:
    """Only true is true: a text or a number is not."""
    assert not Expression("request.method").holds(_request())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("request.headers['a'] == request.headers.b", [("request", "headers", "a"), ("request", "headers", "b")]),
        ("'a' in request.headers", [("request", "headers", "a")]),
        ("'a' + 'b' in request.headers", [("request", "headers", None)]),
        ("request.headers[request.method]", [("request", "headers", None), ("request", "method", None)]),
        (r"request.headers['\x61']", [("request", "headers", None)]),
        ("request.headers.size() > 1", [("request", "headers", None)]),
        ("request", [("request", None, None)]),
        ("'request.path' == \"foo\" // bar", []),
        ("[1].map(x, x * 2)", []),
        ("[1u, 0xff, 1.5e3, 2e-1].size() > 1", []),
    ],
)
def test_only_what_is_mentioned_is_put_together(text: str, found: list[tuple[str, str | None, str | None]]) -> None:
    """What is read from a text is never less than what evaluating it may ask for."""
    assert [(one.root, one.member, one.key) for one in mentions(text)] == found
