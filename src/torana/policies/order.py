"""The order in which a route's policies run, with the reason of each place; and the chains made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from torana.exchange import Exchange, LocalReply
from torana.http.message import Fields
from torana.model.policy import RoutePolicies
from torana.policies.buckets import Buckets
from torana.policies.buffer import Gathers, RequestBuffer
from torana.policies.cors import CorsPolicy
from torana.policies.csrf import CsrfPolicy
from torana.policies.delay import DelayPolicy
from torana.policies.direct_response import ConditionalResponsesPolicy, DirectResponsePolicy
from torana.policies.header_modifier import HeaderModifierPolicy
from torana.policies.rate_limit import RateLimitPolicy
from torana.policies.request_redirect import RequestRedirectPolicy
from torana.telemetry.record import UNPLACED, Placement

RequestPolicy: TypeAlias = Callable[[Exchange], LocalReply | None]
ResponsePolicy: TypeAlias = Callable[[Exchange, Fields], None]
Wait: TypeAlias = Callable[[Exchange, Gathers], Awaitable[None]]


class Place(IntEnum):
    """agentgateway's route phase. Answers pass through the same places from the last to the first."""

    CORS = 0  # a preflight carries no credentials and must never meet a policy that asks for some
    RATE_LIMIT = 1  # by the client's own headers, before anything is spent on a request that is refused
    BUFFER = 2  # what follows has a request that is whole; one that is refused for its rate never gets that far
    CSRF = 3  # by the headers a browser sent, before ours are set
    REQUEST_HEADERS = 4  # before anything that answers, so that what answers sees what the upstream would see
    REDIRECT = (
        5  # after the headers, before an answer of our own: a moved resource is moved, whatever it would have said
    )
    DELAY = 6  # a stand-in for a slow upstream: what is refused or moved never gets there, a direct response does
    DIRECT_RESPONSE = 7  # last: with it no backend is asked
    RESPONSE_HEADERS = 8  # nearest to the backend, so that CORS has the last word on its own fields


class Stage(NamedTuple):
    """A policy that has to be waited for, and the policies that run after it."""

    wait: Wait
    then: tuple[RequestPolicy, ...]


class Chains(NamedTuple):
    """What runs on a request, and on its answer. `stages` follow upon `before`; most routes have none."""

    before: tuple[RequestPolicy, ...]
    after: tuple[ResponsePolicy, ...]
    stages: tuple[Stage, ...] = ()


def compile_route(policies: RoutePolicies, placement: Placement = UNPLACED, buckets: Buckets | None = None) -> Chains:
    """The policies that are on, in order; the answer's chain in the opposite direction.

    `placement` and `buckets` are for the rate limits: whose they are, and what is left of them (None: all).
    """
    before: list[tuple[Place, RequestPolicy]] = []
    after: list[tuple[Place, ResponsePolicy]] = []
    if policies.cors is not None:
        cors = CorsPolicy(policies.cors)
        before.append((Place.CORS, cors.on_request))
        after.append((Place.CORS, cors.on_response))
    if policies.rate_limits:
        limits = RateLimitPolicy(policies.rate_limits, placement, buckets or Buckets.private())
        before.append((Place.RATE_LIMIT, limits.on_request))
        after.append((Place.RATE_LIMIT, limits.on_response))
    if policies.csrf is not None:
        before.append((Place.CSRF, CsrfPolicy(policies.csrf).on_request))
    if policies.request_headers is not None:
        before.append((Place.REQUEST_HEADERS, HeaderModifierPolicy(policies.request_headers).on_request))
    before += _answering(policies)
    if policies.response_headers is not None:
        after.append((Place.RESPONSE_HEADERS, HeaderModifierPolicy(policies.response_headers).on_response))
    waits = _waits(policies)
    edges = [*(place for place, _ in waits), max(Place) + 1]
    return Chains(
        _between(before, 0, edges[0]),
        tuple(policy for _, policy in sorted(after, key=lambda entry: -entry[0])),
        tuple(Stage(wait, _between(before, place, edges[number])) for number, (place, wait) in enumerate(waits, 1)),
    )


def _answering(policies: RoutePolicies) -> list[tuple[Place, RequestPolicy]]:
    """Those that answer instead of a backend."""
    answering: list[tuple[Place, RequestPolicy]] = []
    if policies.redirect is not None:
        answering.append((Place.REDIRECT, RequestRedirectPolicy(policies.redirect).on_request))
    if policies.conditional_responses:
        conditional = ConditionalResponsesPolicy(policies.conditional_responses)
        answering.append((Place.DIRECT_RESPONSE, conditional.on_request))
    if policies.direct_response is not None:
        answering.append((Place.DIRECT_RESPONSE, DirectResponsePolicy(policies.direct_response).on_request))
    return answering


def _waits(policies: RoutePolicies) -> list[tuple[Place, Wait]]:
    """Those that have to be waited for, in order."""
    waits: list[tuple[Place, Wait]] = []
    if policies.buffer is not None and policies.buffer.request is not None:
        waits.append((Place.BUFFER, RequestBuffer(policies.buffer.request).wait))
    if policies.delay is not None:
        waits.append((Place.DELAY, DelayPolicy(policies.delay).wait))
    return waits


def _between(policies: list[tuple[Place, RequestPolicy]], first: int, end: int) -> tuple[RequestPolicy, ...]:
    """Those with a place from `first` up to, and without, `end`; in order."""
    ordered = sorted(policies, key=lambda entry: entry[0])
    return tuple(policy for place, policy in ordered if first <= place < end)
