"""The order of a route's policies."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange, fields, shown
from torana.exchange import Exchange, LocalReply
from torana.model.policy import (
    BodyBuffer,
    Buffer,
    Conditional,
    Cors,
    Csrf,
    Delay,
    DirectResponse,
    HeaderModifier,
    Redirect,
    RoutePolicies,
)
from torana.policies.order import Chains, RequestPolicy, compile_route

CORS = Cors(allow_origins=("*",))
HEADERS = HeaderModifier(set=(("x-set", "1"),))
ORIGIN = ("Origin", "https://a.example")


def run(chains: Chains, request: Exchange) -> LocalReply | None:
    return next((reply for policy in chains.before if (reply := policy(request)) is not None), None)


def test_what_is_off_is_absent() -> None:
    """A route without policies has none to run, and a timeout is none of them."""
    assert compile_route(RoutePolicies()) == Chains((), ())


@pytest.mark.parametrize(
    ("policies", "before", "after"),
    [
        (RoutePolicies(cors=CORS), 1, 1),
        (RoutePolicies(request_headers=HEADERS), 1, 0),
        (RoutePolicies(response_headers=HEADERS), 0, 1),
        (RoutePolicies(redirect=Redirect()), 1, 0),
        (RoutePolicies(direct_response=DirectResponse(200)), 1, 0),
        (RoutePolicies(CORS, HEADERS, Redirect(), DirectResponse(200), HEADERS), 4, 2),
    ],
)
def test_each_has_its_side(policies: RoutePolicies, before: int, after: int) -> None:
    """A policy runs on requests, on answers, or on both."""
    chains = compile_route(policies)
    assert (len(chains.before), len(chains.after)) == (before, after)


@pytest.mark.parametrize(
    ("policies", "status"),
    [
        (RoutePolicies(cors=CORS, redirect=Redirect(), direct_response=DirectResponse(201)), 200),
        (RoutePolicies(redirect=Redirect(), direct_response=DirectResponse(201)), 302),
        (RoutePolicies(request_headers=HEADERS, direct_response=DirectResponse(201)), 201),
    ],
)
def test_who_answers_first(policies: RoutePolicies, status: int) -> None:
    """A preflight is answered before anything else, a redirect goes before an answer of our own."""
    preflight = exchange("/", ORIGIN, ("Access-Control-Request-Method", "POST"), method="OPTIONS")
    reply = run(compile_route(policies), preflight)
    assert reply is not None
    assert reply.status == status


def test_header_rules_come_before_answers() -> None:
    """What answers a request sees the headers that the backend would have seen."""
    request = exchange()
    policies = RoutePolicies(
        request_headers=HeaderModifier(set=(("host", "new.example"),)), redirect=Redirect(scheme="https")
    )
    reply = run(compile_route(policies), request)
    assert reply is not None
    assert shown(reply.fields) == ["location: https://new.example/"]


def test_answers_go_back_the_other_way() -> None:
    """Response headers are changed first, so that the cross-origin rules have the last word on their own."""
    rules = HeaderModifier(set=(("Access-Control-Allow-Origin", "https://other.example"), ("x-a", "1")))
    chains = compile_route(RoutePolicies(cors=CORS, response_headers=rules))
    request = exchange("/", ORIGIN)
    run(chains, request)
    answer = fields()
    for policy in chains.after:
        policy(request, answer)
    assert shown(answer) == ["x-a: 1", "access-control-allow-origin: *"]


def test_who_is_waited_for_stands_between_the_others() -> None:
    """A request is gathered before its origin is looked at, and delayed before it is answered, not before it is moved.

    The policies before and after each wait stay in order.
    """
    policies = RoutePolicies(
        cors=CORS,
        request_headers=HEADERS,
        redirect=Redirect(),
        direct_response=DirectResponse(200),
        csrf=Csrf(),
        delay=Delay(1.0),
        buffer=Buffer(BodyBuffer(1)),
        conditional_responses=(Conditional(None, DirectResponse(200)),),
    )
    chains = compile_route(policies)
    names = [[policy.__self__.__class__.__name__ for policy in chain] for chain in _chains(chains)]  # type: ignore[attr-defined]
    assert names == [
        ["CorsPolicy"],
        ["CsrfPolicy", "HeaderModifierPolicy", "RequestRedirectPolicy"],
        ["ConditionalResponsesPolicy", "DirectResponsePolicy"],
    ]
    waits = [stage.wait.__self__.__class__.__name__ for stage in chains.stages]  # type: ignore[attr-defined]
    assert waits == ["RequestBuffer", "DelayPolicy"]


def test_a_buffer_for_answers_alone_is_no_wait() -> None:
    """Requests are not waited for where only answers are gathered."""
    assert compile_route(RoutePolicies(buffer=Buffer(response=BodyBuffer(1)))).stages == ()


def _chains(chains: Chains) -> list[tuple[RequestPolicy, ...]]:
    return [chains.before, *(stage.then for stage in chains.stages)]
