"""The order in which a route's policies run, with the reason of each place; and the chains made from it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from torana.exchange import Exchange, LocalReply
from torana.http.message import Fields
from torana.model.policy import RoutePolicies
from torana.policies.buckets import Buckets
from torana.policies.cors import CorsPolicy
from torana.policies.direct_response import DirectResponsePolicy
from torana.policies.header_modifier import HeaderModifierPolicy
from torana.policies.rate_limit import RateLimitPolicy
from torana.policies.request_redirect import RequestRedirectPolicy
from torana.telemetry.record import UNPLACED, Placement

RequestPolicy: TypeAlias = Callable[[Exchange], LocalReply | None]
ResponsePolicy: TypeAlias = Callable[[Exchange, Fields], None]


class Place(IntEnum):
    """agentgateway's route phase. Answers pass through the same places from the last to the first."""

    CORS = 0  # a preflight carries no credentials and must never meet a policy that asks for some
    RATE_LIMIT = 1  # by the client's own headers, before anything is spent on a request that is refused
    REQUEST_HEADERS = 2  # before anything that answers, so that what answers sees what the upstream would see
    REDIRECT = (
        3  # after the headers, before an answer of our own: a moved resource is moved, whatever it would have said
    )
    DIRECT_RESPONSE = 4  # last: with it no backend is asked
    RESPONSE_HEADERS = 5  # nearest to the backend, so that CORS has the last word on its own fields


class Chains(NamedTuple):
    before: tuple[RequestPolicy, ...]
    after: tuple[ResponsePolicy, ...]


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
    if policies.request_headers is not None:
        before.append((Place.REQUEST_HEADERS, HeaderModifierPolicy(policies.request_headers).on_request))
    if policies.redirect is not None:
        before.append((Place.REDIRECT, RequestRedirectPolicy(policies.redirect).on_request))
    if policies.direct_response is not None:
        before.append((Place.DIRECT_RESPONSE, DirectResponsePolicy(policies.direct_response).on_request))
    if policies.response_headers is not None:
        after.append((Place.RESPONSE_HEADERS, HeaderModifierPolicy(policies.response_headers).on_response))
    return Chains(
        tuple(policy for _, policy in sorted(before, key=lambda entry: entry[0])),
        tuple(policy for _, policy in sorted(after, key=lambda entry: -entry[0])),
    )
