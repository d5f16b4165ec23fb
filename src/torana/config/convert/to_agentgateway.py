"""`torana export --to agentgateway`: `llm` as it is, all else as `binds`; without what is Torana's own."""

from __future__ import annotations

from typing import Any

from torana.config.convert.agentgateway_backends import FORMATS, Backends
from torana.config.convert.agentgateway_file import file_for_agentgateway
from torana.config.convert.agentgateway_policies import (
    authority_tree,
    cors,
    direct_response,
    header_modifier,
    limits,
    path_tree,
    redirect,
    retry,
    span,
    timeout,
)
from torana.config.convert.emit import emit
from torana.config.convert.original import Original
from torana.config.convert.report import Converted, Fidelity
from torana.model.config import Listener, Protocol
from torana.model.policy import AuthorityKind, PathKind, RoutePolicies
from torana.model.route import Route, RouteMatch, ValueMatch


def to_agentgateway(original: Original) -> Converted:
    """A file with `llm` stays what it is, since `binds` cannot choose by model; all else becomes `binds`."""
    text = original.llm_file
    if text is not None:
        return Converted(file_for_agentgateway(text, original.report.where, original.report), original.report)
    return Converted(emit(original.restored(_Export(original).tree())), original.report)


class _Export:
    def __init__(self, original: Original) -> None:
        self._original = original
        self._report = original.report
        self._backends = Backends(original)

    def tree(self) -> dict[str, Any]:
        config = self._original.config
        self._original.tell_settings()
        binds = [
            {"port": bind.port, "listeners": [self._listener(each, index) for index, each in enumerate(bind.listeners)]}
            for bind in config.binds
        ]
        return {"binds": binds, "backends": self._backends.named or None}

    def _listener(self, listener: Listener, index: int) -> dict[str, Any]:
        text = self._original.text
        tree: dict[str, Any] = {
            "name": text(listener.name) if listener.name != f"listener{index}" else None,
            "hostname": text(listener.hostname) if listener.hostname is not None else None,
            "protocol": listener.protocol.value if listener.protocol is Protocol.HTTPS else None,
        }
        if listener.tls is not None:
            tls = listener.tls
            tree["tls"] = {
                "cert": self._backends.file(tls.cert, f"{listener.name}: tls.cert"),
                "key": self._backends.file(tls.key.reveal(), f"{listener.name}: tls.key"),
                "root": self._backends.file(tls.client_roots, f"{listener.name}: tls.root"),
                "minTLSVersion": tls.min_version.value if tls.min_version else None,
                "maxTLSVersion": tls.max_version.value if tls.max_version else None,
            }
        return {**tree, "routes": [self._route(route, number) for number, route in enumerate(listener.routes)]}

    def _route(self, route: Route, number: int) -> dict[str, Any]:
        before = len(self._report.findings)
        matches = [self._match(each) for each in route.matches] if route.matches != (RouteMatch(),) else None
        tree = {
            "name": self._original.text(route.name) if route.name != f"route{number}" else None,
            "hostnames": [self._original.text(each) for each in route.hostnames] or None,
            "matches": matches,
            "policies": self._policies(route),
            "backends": [self._with_operations(self._backends.ref(each), route) for each in route.backends] or None,
        }
        everyone = [backend for ref in route.backends for backend in ref.backends if backend.provider is not None]
        if not route.operations and any(each.path.kind not in (PathKind.FULL, PathKind.OVERRIDE) for each in everyone):
            what = "every path is a chat completion there, where none is said: here it tells by itself what it is"
            self._report.add(
                Fidelity.APPROXIMATE, f"route {self._original.plain(route.name)}: policies.ai.routes", what
            )
        if len(self._report.findings) == before:
            self._report.add(Fidelity.EXACT, f"route {self._original.plain(route.name)}")
        return tree

    def _with_operations(self, ref: dict[str, Any], route: Route) -> dict[str, Any]:
        """`ai.routes` at each provider: a provider's own `ai` takes the place of its route's."""
        if not route.operations or "ai" not in ref:
            return ref
        text = self._original.text
        routes = {text(rule.suffix): FORMATS.get(rule.operation, rule.operation) for rule in route.operations}
        for each in [each for group in ref["ai"].get("groups", ()) for each in group["providers"]] or [ref["ai"]]:
            policies = each["policies"] or {}
            each["policies"] = {**policies, "ai": {**(policies.get("ai") or {}), "routes": routes}}
        return ref

    def _match(self, match: RouteMatch) -> dict[str, Any]:
        return {
            "path": {match.path.kind.value: self._original.text(match.path.value)},
            "method": match.method,
            "headers": [self._value(each) for each in match.headers] or None,
            "query": [self._value(each) for each in match.query] or None,
        }

    def _value(self, match: ValueMatch) -> dict[str, Any]:
        kind = "regex" if match.regex else "exact"
        return {"name": self._original.text(match.name), "value": {kind: self._original.text(match.value)}}

    def _policies(self, route: Route) -> dict[str, Any] | None:
        given: RoutePolicies = route.policies
        text, name = self._original.text, f"route {self._original.plain(route.name)}"
        made = {
            "urlRewrite": self._rewrite(route),
            "cors": cors(given.cors, text),
            "requestHeaderModifier": header_modifier(given.request_headers, text),
            "responseHeaderModifier": header_modifier(given.response_headers, text),
            "requestRedirect": redirect(given.redirect, text),
            "directResponse": direct_response(given.direct_response, given.conditional_responses, text),
            "timeout": timeout(given.timeout, name, self._report),
            "retry": retry(given.retry, name, self._report, text),
            "csrf": {"additionalOrigins": [text(each) for each in given.csrf.additional_origins]}
            if given.csrf
            else None,
            "delay": {"duration": text(given.delay.expression or span(given.delay.seconds))} if given.delay else None,
            "localRateLimit": limits(given.rate_limits, name, self._report) or None,
            "requestMirror": [
                {"backend": self._backends.place(each.backend), "percentage": each.share} for each in route.mirrors
            ]
            or None,
        }
        if given.buffer is not None:
            made["buffer"] = {
                key: {"maxBytes": each.max_bytes, "failureMode": "failOpen" if each.fail_open else None}
                for key, each in (("request", given.buffer.request), ("response", given.buffer.response))
                if each is not None
            }
        return made if any(value is not None for value in made.values()) else None

    def _rewrite(self, route: Route) -> dict[str, Any] | None:
        """Host and path are the backends' in the model and the route's in the file: they have to be alike."""
        everyone = [backend for ref in route.backends for backend in ref.backends]
        if not everyone:
            return None
        first = everyone[0]
        name = f"route {self._original.plain(route.name)}: urlRewrite"
        if any(each.authority != first.authority for each in everyone):
            self._report.add(Fidelity.MANUAL, name, "its backends get different Hosts, and a route gives one")
        rewrites = {each.path for each in everyone if each.path.kind in (PathKind.FULL, PathKind.PREFIX)}
        if len(rewrites) > 1:
            self._report.add(Fidelity.MANUAL, name, "its backends get different paths, and a route gives one")
        path = next(iter(rewrites), None)
        authority = first.authority if first.authority.kind is not AuthorityKind.AUTO else None
        tree = {
            "authority": authority_tree(authority, self._original.text) if authority is not None else None,
            "path": path_tree(path, self._original.text) if path is not None else None,
        }
        return tree if any(value is not None for value in tree.values()) else None
