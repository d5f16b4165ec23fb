"""The policies that answer instead of a backend: directResponse and requestRedirect."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange, shown
from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.model.policy import Authority, AuthorityKind, Conditional, DirectResponse, PathKind, PathRule, Redirect
from torana.policies.direct_response import ConditionalResponsesPolicy, DirectResponsePolicy
from torana.policies.request_redirect import RequestRedirectPolicy


@pytest.mark.parametrize(
    ("direct", "lines", "body"),
    [
        (DirectResponse(200, "é"), ["content-type: text/plain; charset=utf-8"], "é"),
        (DirectResponse(503), [], ""),
        (DirectResponse(200, "{}", (("Content-Type", "application/json"),)), ["Content-Type: application/json"], "{}"),
        (
            DirectResponse(429, "slow", (("Retry-After", "1"), ("retry-after", "2"))),
            ["Retry-After: 1", "retry-after: 2", "content-type: text/plain; charset=utf-8"],
            "slow",
        ),
        (DirectResponse(204, "", (("x-a", ""),)), ["x-a: "], ""),
        (DirectResponse(204, "not sent"), [], ""),
        (DirectResponse(304, "not sent"), [], ""),
    ],
)
def test_direct_response(direct: DirectResponse, lines: list[str], body: str) -> None:
    """Status, headers and body as configured; a body without a type is plain text."""
    request = exchange(method="POST")
    reply = DirectResponsePolicy(direct).on_request(request)
    assert (reply.status, shown(reply.fields), reply.body.decode()) == (direct.status, lines, body)


@pytest.mark.parametrize(
    ("tier", "status"), [("gold", None), ("free", 403), ("none", 402)], ids=["none holds", "the first", "the second"]
)
def test_the_first_condition_that_holds_answers(tier: str, status: int | None) -> None:
    """Of conditional replies the first whose condition holds is given; where none holds, the request goes on."""
    policy = ConditionalResponsesPolicy(
        (
            Conditional("request.headers['x-tier'] == 'free'", DirectResponse(403)),
            Conditional("request.headers['x-tier'] != 'gold'", DirectResponse(402)),
        )
    )
    reply = policy.on_request(exchange("/", ("X-Tier", tier)))
    assert (reply.status if reply is not None else None) == status


def test_a_reply_without_a_condition_is_for_the_rest() -> None:
    """A conditional reply that has no condition is always given, when none before it was."""
    policy = ConditionalResponsesPolicy(
        (
            Conditional("request.method == 'POST'", DirectResponse(403)),
            Conditional(None, DirectResponse(410)),
        )
    )
    reply = policy.on_request(exchange())
    assert reply is not None
    assert reply.status == 410


def test_a_reply_is_nobody_elses() -> None:
    """Response policies may change the fields of a reply without changing the next one."""
    policy = DirectResponsePolicy(DirectResponse(200, "x"))
    policy.on_request(exchange()).fields.clear()
    assert len(policy.on_request(exchange()).fields) == 1


def located(redirect: Redirect, request: Exchange) -> str:
    reply = RequestRedirectPolicy(redirect).on_request(request)
    ((lower, _, location),) = reply.fields
    assert (reply.status, lower, reply.body) == (redirect.status, b"location", b"")
    return location.decode()


FULL, HOST, PORT = AuthorityKind.FULL, AuthorityKind.HOST, AuthorityKind.PORT


@pytest.mark.parametrize(
    ("host", "scheme", "redirect", "location"),
    [
        # nothing given: the request's own, less a default port
        ("a.example", "http", Redirect(), "http://a.example"),
        ("a.example:8080", "http", Redirect(), "http://a.example:8080"),
        ("a.example:80", "http", Redirect(), "http://a.example"),
        ("a.example:443", "http", Redirect(), "http://a.example:443"),
        ("a.example:443", "https", Redirect(), "https://a.example"),
        # a scheme: the port belonged to the old one
        ("a.example:8080", "http", Redirect(scheme="https"), "https://a.example"),
        ("a.example", "http", Redirect(scheme="https"), "https://a.example"),
        ("a.example:8443", "https", Redirect(scheme="http"), "http://a.example"),
        ("[::1]:8080", "http", Redirect(scheme="https"), "https://[::1]"),
        ("[::1]", "http", Redirect(scheme="https"), "https://[::1]"),
        ("[::80]", "http", Redirect(), "http://[::80]"),
        # a host: the port of the request stays while the scheme does
        ("a.example:8080", "http", Redirect(authority=Authority(HOST, "b.example")), "http://b.example:8080"),
        ("a.example", "http", Redirect(authority=Authority(HOST, "b.example")), "http://b.example"),
        ("a.example:8080", "http", Redirect("https", Authority(HOST, "b.example")), "https://b.example"),
        # a port: it is the configuration's, whatever the scheme
        ("a.example:8080", "http", Redirect(authority=Authority(PORT, "81")), "http://a.example:81"),
        ("a.example:8080", "http", Redirect("https", Authority(PORT, "8443")), "https://a.example:8443"),
        ("a.example:8080", "http", Redirect("https", Authority(PORT, "443")), "https://a.example"),
        ("a.example:8080", "http", Redirect("https", Authority(PORT, "80")), "https://a.example:80"),
        ("[::1]:8080", "http", Redirect(authority=Authority(PORT, "81")), "http://[::1]:81"),
        # both
        ("a.example:8080", "http", Redirect(authority=Authority(FULL, "b.example:81")), "http://b.example:81"),
        ("a.example:8080", "http", Redirect(authority=Authority(FULL, "b.example")), "http://b.example"),
        ("a.example:8080", "http", Redirect("https", Authority(FULL, "b.example:443")), "https://b.example"),
        ("a.example:8080", "http", Redirect("https", Authority(FULL, "b.example:8443")), "https://b.example:8443"),
        # the words that leave it to the backend: there is none
        ("a.example:8080", "http", Redirect(authority=Authority(AuthorityKind.AUTO)), "http://a.example:8080"),
        ("a.example:8080", "http", Redirect("https", Authority(AuthorityKind.AUTO)), "https://a.example"),
        ("a.example:8080", "http", Redirect(authority=Authority(AuthorityKind.NONE)), "http://a.example:8080"),
        ("a.example:8080", "http", Redirect("https", Authority(AuthorityKind.NONE)), "https://a.example"),
    ],
)
def test_scheme_and_authority(host: str, scheme: str, redirect: Redirect, location: str) -> None:
    """What is not given is the request's; a port is written only where it is not the scheme's default."""
    assert located(redirect, exchange("/p?q=1", host=host, scheme=scheme)) == location + "/p?q=1"


@pytest.mark.parametrize(
    ("rule", "target", "prefix", "location"),
    [
        (None, "/a%20b//c?x=1", None, "/a%20b//c?x=1"),
        (None, "/a?", None, "/a?"),
        (PathRule(PathKind.FULL, "/new"), "/a", None, "/new"),
        (PathRule(PathKind.FULL, "/new"), "/a?x=1", None, "/new?x=1"),
        (PathRule(PathKind.PREFIX, "/new"), "/a/b?x=1", 2, "/new/b?x=1"),
        (PathRule(PathKind.PREFIX, "/new"), "/a/", 2, "/new/"),
        (PathRule(PathKind.PREFIX, "/"), "/a//evil.example", 2, "/evil.example"),
        (PathRule(PathKind.PREFIX, "/"), "/a", 2, "/"),
    ],
)
def test_path(rule: PathRule | None, target: str, prefix: int | None, location: str) -> None:
    """A path is replaced whole or by its matched prefix; the query goes with it."""
    assert located(Redirect(path=rule), exchange(target, prefix=prefix)) == "http://gateway.example" + location


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_status(status: int) -> None:
    """The status is the configured one."""
    assert located(Redirect(scheme="https", status=status), exchange()) == "https://gateway.example/"


def test_a_prefix_needs_a_prefix() -> None:
    """A redirect cannot swap a prefix that was not matched: the request fails, by configuration."""
    policy = RequestRedirectPolicy(Redirect(path=PathRule(PathKind.PREFIX, "/x")))
    with pytest.raises(GatewayError) as caught:
        policy.on_request(exchange("/a"))
    assert caught.value.reason is Reason.FILTER_FAILED
