"""Snapshot: a Config compiled into what requests walk. Immutable; going live with a new one is one attribute store."""

from __future__ import annotations

import random
import ssl
from bisect import bisect_right
from itertools import accumulate

from torana.http.tls import server_context
from torana.model.config import Bind, Config, Listener, Protocol
from torana.model.route import Route
from torana.policies.order import compile_route
from torana.proxy.router import CompiledListener, Hosts, RouteTable
from torana.proxy.runtime import Endpoint, Runtime
from torana.proxy.upstream import Upstream
from torana.telemetry.record import Placement


class CompiledRoute:
    """A route with its policies as flat tuples and its backends by weight."""

    __slots__ = ("_bounds", "after", "before", "only", "placement", "route", "timeout", "upstreams")

    def __init__(self, route: Route, placement: Placement, runtime: Runtime) -> None:
        self.route = route
        self.placement = placement
        chains = compile_route(route.policies)
        self.before = chains.before
        self.after = chains.after
        self.timeout = route.policies.timeout
        refs = [ref for ref in route.backends if ref.weight > 0]
        self.upstreams = tuple(None if ref.backend is None else Upstream(ref.backend, runtime) for ref in refs)
        self.only = self.upstreams[0] if len(self.upstreams) == 1 else None
        self._bounds = tuple(accumulate(ref.weight for ref in refs))

    def pick(self) -> Upstream | None:
        """An upstream at random, in proportion to the weights; None when there is none, or its share has no backend.

        `only` saves the call.
        """
        if not self.upstreams:
            return None
        return self.upstreams[bisect_right(self._bounds, random.randrange(self._bounds[-1]))]  # noqa: S311 - balancing


class CompiledBind:
    """A port: its listeners by hostname, and their certificates by SNI."""

    __slots__ = ("bind", "contexts", "listeners", "name", "tls")

    def __init__(self, bind: Bind, runtime: Runtime) -> None:
        self.bind = bind
        self.name = f"bind/{bind.port}"
        self.listeners: Hosts[CompiledListener[CompiledRoute]] = Hosts()
        self.contexts: Hosts[ssl.SSLContext] = Hosts()
        self.tls = False
        for listener in bind.listeners:
            compiled = self._compile(listener, runtime)
            self.listeners.add(listener.hostname, compiled)
            if listener.protocol is Protocol.HTTPS and listener.tls is not None:
                self.tls = True
                self.contexts.add(listener.hostname, server_context(listener.tls))

    def _compile(self, listener: Listener, runtime: Runtime) -> CompiledListener[CompiledRoute]:
        routes = (
            (route, CompiledRoute(route, Placement(self.name, listener.name, route.name), runtime))
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
        self.binds = {bind.port: CompiledBind(bind, runtime) for bind in config.binds}
        self.endpoints: set[Endpoint] = {
            upstream.endpoint
            for bind in self.binds.values()
            for listener in bind.listeners.values()
            for route in listener.routes.compiled
            for upstream in route.upstreams
            if upstream is not None
        }
