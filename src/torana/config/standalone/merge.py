"""The policies of all places merged for one backend: a more specific place replaces a policy as a whole."""

from __future__ import annotations

from typing import Any, NamedTuple

from torana.config.standalone.connection import backend_auth, backend_tls, connecting
from torana.config.standalone.files import Files
from torana.config.standalone.policies import headers, redirect
from torana.config.standalone.schema.record import Record
from torana.config.standalone.shape import keys
from torana.config.standalone.traffic import bound, health
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.backend import Connecting, ProviderKind
from torana.model.policy import BackendAuth, BackendTls, HeaderModifier, Health, Redirect


class Place(NamedTuple):
    """Policies, and where they stand."""

    policies: Record | None
    path: Path


class Given(NamedTuple):
    """A policy, and where it was given."""

    policy: Any
    path: Path


class Merged(NamedTuple):
    """The policies that hold for one backend. `tunnel` names a place upstream, so it is not resolved yet."""

    tls: BackendTls | None
    auth: BackendAuth | None
    request_headers: HeaderModifier | None
    response_headers: HeaderModifier | None
    redirect: Redirect | None
    health: Health | None
    request_timeout: float | None
    connecting: Connecting | None
    tunnel: Given | None
    ai: Given | None


def first(places: tuple[Place, ...], key: str) -> Given | None:
    """The policy of this key in the most specific place that has it."""
    for place in places:
        known = keys(type(place.policies)).get(key) if place.policies is not None else None
        policy = getattr(place.policies, known.field) if known is not None else None
        if policy is not None:
            return Given(policy, (*place.path, key))
    return None


def merge(
    places: tuple[Place, ...], route: Place | None, kind: ProviderKind | None, findings: Findings, files: Files
) -> Merged:
    """`places` has the more specific ones first. What a backend needs to be reached and asked may come from the route.

    `kind` is what kind of provider the backend is.
    """
    everywhere = places if route is None else (*places, route)
    tls, auth = first(everywhere, "backendTLS"), first(everywhere, "backendAuth")
    request = first(places, "requestHeaderModifier")
    response = first(places, "responseHeaderModifier")
    answer = first(places, "requestRedirect")
    well, http, tcp = first(places, "health"), first(places, "http"), first(places, "tcp")
    return Merged(
        tls=backend_tls(tls.policy, tls.path, findings, files) if tls else None,
        auth=backend_auth(auth.policy, auth.path, kind, findings, files) if auth else None,
        request_headers=headers(request.policy, request.path, findings) if request else None,
        response_headers=headers(response.policy, response.path, findings) if response else None,
        redirect=redirect(answer.policy, answer.path, findings) if answer else None,
        health=health(well.policy, well.path, findings) if well else None,
        request_timeout=bound(http.policy.request_timeout) if http else None,
        connecting=connecting(tcp.policy, tcp.path, findings) if tcp else None,
        tunnel=first(everywhere, "backendTunnel"),
        ai=first(everywhere, "ai"),
    )
