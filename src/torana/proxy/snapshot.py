"""Snapshot: a Config compiled into what requests walk. Immutable; going live with a new one is one attribute store."""

from __future__ import annotations

import random
import ssl
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import msgspec

from torana.http.tls import server_context
from torana.model.backend import BackendRef
from torana.model.config import Bind, Config, Listener, Protocol, Settings
from torana.model.policy import Timeout
from torana.model.route import ModelRoute, Route
from torana.policies.attempt_headers import tell_attempts
from torana.policies.buffer import ResponseBuffer
from torana.policies.expression import Sees, compile_optional
from torana.policies.order import compile_route
from torana.policies.session_affinity import compile_affinity
from torana.proxy.balancer import Balancer
from torana.proxy.call import compile_operations
from torana.proxy.deadlines import shortest
from torana.proxy.models import ModelTable
from torana.proxy.router import CompiledListener, Hosts, RouteTable
from torana.proxy.runtime import Endpoint, Runtime
from torana.proxy.upstream import Upstream
from torana.telemetry.record import Placement


class CompiledMirror(NamedTuple):
    """Who gets a copy, and of which share of the requests (0 to 1)."""

    upstream: Upstream
    share: float


class CompiledRoute:
    """A route with its policies as flat tuples, and its backends by weight.

    `only` is the one upstream there is, where there is nothing to choose and nothing to repeat. `answer_limit` is for
    all attempts together, until an answer begins; that of each attempt is the upstream's. `shows_endpoints`: clients
    may know the addresses.
    """

    __slots__ = (
        "_bounds", "_refs", "after", "answer_limit", "before", "budget", "mirrors", "models", "only", "operations",
        "placement", "response_buffer", "retry", "retry_codes", "retry_condition", "retry_precondition", "route",
        "shares", "shows_endpoints", "stages", "timeout",
    )  # fmt: skip

    def __init__(self, route: Route, placement: Placement, runtime: Runtime, settings: Settings) -> None:
        self.route = route
        self.placement = placement
        chains = compile_route(route.policies, placement, runtime.buckets)
        self.before = chains.before
        self.stages = chains.stages
        self.shows_endpoints = settings.attempt_headers
        # Last, so that no rule on headers takes away what is there to find out about the rules.
        self.after = (*chains.after, tell_attempts) if settings.attempt_headers else chains.after
        self.timeout = timeout = route.policies.timeout
        self.answer_limit = None
        if timeout is not None:
            self.answer_limit = shortest(
                ("timeout.requestTimeout", timeout.request), ("timeout.totalTimeout", timeout.total)
            )
        self.retry = route.policies.retry
        self.retry_codes = frozenset(self.retry.codes if self.retry is not None else ())
        self.retry_precondition = self.retry_condition = None
        if self.retry is not None:
            self.retry_precondition = compile_optional(self.retry.precondition, Sees.REQUEST)
            self.retry_condition = compile_optional(self.retry.condition)
        buffer = route.policies.buffer
        self.response_buffer = ResponseBuffer(buffer.response) if buffer is not None and buffer.response else None
        self.mirrors = tuple(
            CompiledMirror(Upstream(mirror.backend, runtime), mirror.share) for mirror in route.mirrors
        )
        self.budget = runtime.budget(placement, self.retry)
        self._refs = [ref for ref in route.backends if ref.weight > 0]
        self.shares = tuple(_share(ref, timeout, runtime) for ref in self._refs)
        self._bounds = tuple(accumulate(ref.weight for ref in self._refs))
        lone = len(self.shares) == 1 and self.retry is None and (timeout is None or timeout.first_byte is None)
        self.operations = compile_operations(route.operations)
        self.models = None
        if route.models:
            within = [(model, self._model_route(model, runtime, settings)) for model in route.models]
            self.models = ModelTable(within)
        upstreams = [*self.upstreams]
        self.only = upstreams[0] if lone and len(upstreams) == 1 else None

    @property
    def upstreams(self) -> Iterator[Upstream]:
        """All that may be asked."""
        yield from (upstream for share in self.shares if share for group in share.groups for upstream in group)
        if self.models is not None:
            for route in self.models.routes:
                yield from route.upstreams

    def _model_route(self, model: ModelRoute, runtime: Runtime, settings: Settings) -> CompiledRoute:
        """The route of a model: what it does not say is this route's, whose own policies have run before."""
        outer = self.route.policies
        policies = msgspec.structs.replace(
            model.policies, timeout=model.policies.timeout or outer.timeout, retry=model.policies.retry or outer.retry
        )
        placement = Placement(self.placement.bind, self.placement.listener, f"{self.route.name}/{model.name}")
        inner = Route(model.name, policies=policies, backends=model.backends, mirrors=self.route.mirrors)
        compiled = CompiledRoute(inner, placement, runtime, msgspec.structs.replace(settings, attempt_headers=False))
        compiled.shows_endpoints = self.shows_endpoints
        compiled.after = (*compiled.after, *self.after)
        compiled.response_buffer = compiled.response_buffer or self.response_buffer
        return compiled

    def draw(self) -> Balancer | None:
        """A share by the weights; None when there is none, or the one drawn has no backend. `only` saves the call."""
        if not self.shares:
            return None
        return self.shares[bisect_right(self._bounds, random.randrange(self._bounds[-1]))]  # noqa: S311 - balancing

    def others(self, share: Balancer) -> list[Balancer]:
        """The shares beside `share` in a random order by weight (Efraimidis and Spirakis)."""
        drawn = [
            (random.random() ** (1 / ref.weight), number)  # noqa: S311 - balancing
            for number, ref in enumerate(self._refs)
        ]
        ordered = (self.shares[number] for _, number in sorted(drawn, reverse=True))
        return [other for other in ordered if other is not None and other is not share]


def _share(ref: BackendRef, timeout: Timeout | None, runtime: Runtime) -> Balancer | None:
    groups = [[Upstream(backend, runtime, timeout) for backend in group] for group in ref.groups if group]
    return Balancer(groups, compile_affinity(ref.affinity)) if groups else None


class CompiledBind:
    """A port: its listeners by hostname, and their certificates by SNI."""

    __slots__ = ("bind", "contexts", "listeners", "name", "tls")

    def __init__(self, bind: Bind, runtime: Runtime, settings: Settings) -> None:
        self.bind = bind
        self.name = f"bind/{bind.port}"
        self.listeners: Hosts[CompiledListener[CompiledRoute]] = Hosts()
        self.contexts: Hosts[ssl.SSLContext] = Hosts()
        self.tls = False
        for listener in bind.listeners:
            compiled = self._compile(listener, runtime, settings)
            self.listeners.add(listener.hostname, compiled)
            if listener.protocol is Protocol.HTTPS and listener.tls is not None:
                self.tls = True
                self.contexts.add(listener.hostname, server_context(listener.tls))

    def _compile(self, listener: Listener, runtime: Runtime, settings: Settings) -> CompiledListener[CompiledRoute]:
        routes = (
            (route, CompiledRoute(route, Placement(self.name, listener.name, route.name), runtime, settings))
            for route in listener.routes
        )
        return CompiledListener(listener, RouteTable(routes))

    def listener_for(self, host: bytes) -> CompiledListener[CompiledRoute] | None:
        found = self.listeners.find(host)
        return found[0] if found else None

    def context_for(self, server_name: str | None) -> ssl.SSLContext | None:
        """The certificate for a TLS client's server name; the first listener's for one that sends none."""
        found = self.contexts.find((server_name or "").encode())
        if found or server_name:
            return found[0] if found else None
        return next(self.contexts.values(), None)


class Snapshot:
    """Everything a request needs, by port. Raises ssl.SSLError for a certificate that cannot be used."""

    __slots__ = ("binds", "config", "endpoints")

    def __init__(self, config: Config, runtime: Runtime) -> None:
        self.config = config
        self.binds = {bind.port: CompiledBind(bind, runtime, config.settings) for bind in config.binds}
        self.endpoints: set[Endpoint] = {
            upstream.endpoint
            for bind in self.binds.values()
            for listener in bind.listeners.values()
            for route in listener.routes.compiled
            for upstream in (*route.upstreams, *(mirror.upstream for mirror in route.mirrors))
        }
