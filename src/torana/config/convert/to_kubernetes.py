"""`torana export --to kubernetes`: Gateway, HTTPRoutes, AgentgatewayBackends, and Secrets without what is secret.

The value of every Secret is a variable, filled in by envsubst, a shell's heredoc or `torana kubernetes --expand-env`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from msgspec import structs

from torana.config.convert.emit import emit
from torana.config.convert.kubernetes_backends import AGENTGATEWAY, KIND, Backends, full_authority
from torana.config.convert.kubernetes_names import Names, gateway_duration, label, precise_hostname
from torana.config.convert.original import Original
from torana.config.convert.places import HTTP, HTTPS
from torana.config.convert.plain_routes import plain_routes
from torana.config.convert.report import Converted, Fidelity
from torana.config.kubernetes.objects import CLASS_NAME
from torana.config.kubernetes.schemas import GATEWAY_API
from torana.config.standalone.expand import references
from torana.model.backend import Backend, Mirror
from torana.model.config import Bind, Listener, Protocol
from torana.model.policy import (
    Authority,
    AuthorityKind,
    Cors,
    HeaderModifier,
    PathKind,
    PathRule,
    Redirect,
    RoutePolicies,
)
from torana.model.route import ModelRoute, PathMatchKind, Route, RouteMatch, ValueMatch

_GATEWAY: Final = "torana"
_API: Final = f"{GATEWAY_API}/v1"
_TYPES: Final = {
    PathMatchKind.EXACT: "Exact",
    PathMatchKind.PREFIX: "PathPrefix",
    PathMatchKind.REGEX: "RegularExpression",
}
_PORTS: Final = {"http": HTTP, "https": HTTPS}


def to_kubernetes(original: Original) -> Converted:
    documents = _Export(original).documents()
    texts = [emit(original.restored(each)) for each in documents]
    for document, text in zip(documents, texts, strict=True):
        if document["kind"] != "Secret" and any(references(text)):
            what = "has variables, which `--expand-env` fills in in Secrets alone: use envsubst"
            subject = f"{document['kind']} {document['metadata']['name']}"
            original.report.add(Fidelity.APPROXIMATE, subject, what)
    return Converted("---\n".join(texts), original.report)


class _Here(NamedTuple):
    """The listener that a route is on."""

    listener: str
    port: int
    protocol: Protocol

    @property
    def scheme(self) -> str:
        return self.protocol.value.lower()


class _Export:
    def __init__(self, original: Original) -> None:
        self._original = original
        self._report = original.report
        self._backends = Backends(original)
        self._names = Names()

    def documents(self) -> list[dict[str, Any]]:
        self._original.tell_settings()
        listeners: list[dict[str, Any]] = []
        routes: list[dict[str, Any]] = []
        names = Names()
        for bind in self._original.config.binds:
            for listener in bind.listeners:
                name = names.fresh(f"{self._original.plain(listener.name)}-{bind.port}")
                listeners.append(self._listener(bind, listener, name))
                routes += [
                    self._route(each, _Here(name, bind.port, listener.protocol))
                    for each in plain_routes(listener, self._report, self._left)
                ]
        gateway = {
            "apiVersion": _API,
            "kind": "Gateway",
            "metadata": {"name": _GATEWAY},
            "spec": {"gatewayClassName": CLASS_NAME, "listeners": listeners},
        }
        return [gateway, *routes, *self._backends.documents()]

    def _listener(self, bind: Bind, listener: Listener, name: str) -> dict[str, Any]:
        tls = None
        if listener.tls is not None:
            secret = f"{name}-tls"
            what = f"make it: kubectl create secret tls {secret} --cert FILE --key FILE"
            self._report.add(Fidelity.MANUAL, f"listener {listener.name}: tls", what)
            tls = {"certificateRefs": [{"name": secret}]}
        return {
            "name": name,
            "port": bind.port,
            "protocol": listener.protocol.value,
            "hostname": self._original.plain(listener.hostname) if listener.hostname is not None else None,
            "tls": tls,
        }

    # Routes

    def _left(self, model: ModelRoute) -> str:
        """Its backends are written, for what its user will choose by."""
        names = [self._backends.ref(each, self._original.plain(model.name)) for each in model.backends]
        return f"{KIND} {', '.join(names)} is for it: give it an HTTPRoute, by path or header, or an AgentgatewayModel"

    def _route(self, route: Route, here: _Here) -> dict[str, Any]:
        if route.policies.redirect is not None:
            route = structs.replace(route, backends=())  # none is ever asked, and beside a redirect none may stand
        subject = f"route {self._original.plain(route.name)}"
        before = len(self._report.findings)
        filters = self._filters(route, here, subject)
        rule = {
            "filters": filters or None,
            "timeouts": self._timeouts(route.policies, subject),
            "retry": self._retry(route.policies, subject),
            "backendRefs": [
                {
                    "group": AGENTGATEWAY,
                    "kind": KIND,
                    "name": self._backends.ref(each, self._original.plain(route.name)),
                    "weight": each.weight if len(route.backends) > 1 or each.weight != 1 else None,
                    "filters": self._own_filters([backend for group in each.groups for backend in group], subject),
                }
                for each in route.backends
            ]
            or None,
        }
        self._lost(route.policies, subject)
        matches = [self._match(each) for each in route.matches]
        # Gateway API, HTTPPathModifier: a rule that replaces a prefix has one match.
        alone = "ReplacePrefixMatch" in {path["type"] for path in _paths(filters)}
        rules = [{"matches": each, **rule} for each in ([[match] for match in matches] if alone else [matches])]
        if len(self._report.findings) == before:
            self._report.add(Fidelity.EXACT, subject)
        return {
            "apiVersion": _API,
            "kind": "HTTPRoute",
            "metadata": {"name": self._names.fresh(label(self._original.plain(route.name)))},
            "spec": {
                "parentRefs": [{"name": _GATEWAY, "sectionName": here.listener}],
                "hostnames": [self._original.plain(each) for each in route.hostnames] or None,
                "rules": rules,
            },
        }

    def _match(self, match: RouteMatch) -> dict[str, Any]:
        pseudo = [each.name for each in match.headers if each.name.startswith(":")]
        for name in pseudo:
            self._report.add(
                Fidelity.MANUAL, f"match of {name}", "headers that are parts of the request are no headers here"
            )
        headers = [self._value(each) for each in match.headers if not each.name.startswith(":")]
        return {
            "path": {"type": _TYPES[match.path.kind], "value": self._original.plain(match.path.value)},
            "method": match.method,
            "headers": headers or None,
            "queryParams": [self._value(each) for each in match.query] or None,
        }

    def _value(self, match: ValueMatch) -> dict[str, Any]:
        kind = "RegularExpression" if match.regex else None
        return {"type": kind, "name": self._original.plain(match.name), "value": self._original.plain(match.value)}

    # Filters

    def _filters(self, route: Route, here: _Here, subject: str) -> list[dict[str, Any]]:
        given = route.policies
        everyone = [backend for ref in route.backends for backend in ref.backends]
        made = [
            _filter("RequestHeaderModifier", self._headers(given.request_headers)),
            _filter("ResponseHeaderModifier", self._headers(given.response_headers)),
            _filter("RequestRedirect", self._redirect(given.redirect, here, subject)),
            _filter("URLRewrite", self._rewrite(everyone, subject)),
            _filter("CORS", self._cors(given.cors)),
            *(_filter("RequestMirror", self._mirror(each, subject)) for each in route.mirrors),
        ]
        return [each for each in made if each is not None]

    def _own_filters(self, backends: list[Backend], subject: str) -> list[dict[str, Any]] | None:
        """What a backend does to headers stands at its reference."""
        if not backends:
            return None
        first = backends[0]
        if any(
            (each.request_headers, each.response_headers) != (first.request_headers, first.response_headers)
            for each in backends
        ):
            what = "providers of one backend change headers each in its own way: left to the first's"
            self._report.add(Fidelity.MANUAL, f"{subject}: headers", what)
        if any(each.redirect is not None for each in backends):
            self._report.add(
                Fidelity.MANUAL, f"{subject}: requestRedirect", "of a backend is left out: give it to the rule"
            )
        made = [
            _filter("RequestHeaderModifier", self._headers(first.request_headers)),
            _filter("ResponseHeaderModifier", self._headers(first.response_headers)),
        ]
        return [each for each in made if each is not None] or None

    def _headers(self, given: HeaderModifier | None) -> dict[str, Any] | None:
        if given is None:
            return None
        plain = self._original.plain
        return {
            "set": [{"name": plain(name), "value": plain(value)} for name, value in given.set] or None,
            "add": [{"name": plain(name), "value": plain(value)} for name, value in given.add] or None,
            "remove": [plain(name) for name in given.remove] or None,
        }

    def _rewrite(self, backends: list[Backend], subject: str) -> dict[str, Any] | None:
        if not backends:
            return None
        first = backends[0]
        if any(each.authority != first.authority for each in backends):
            self._report.add(
                Fidelity.MANUAL, f"{subject}: Host", "its backends get different ones, and a rule gives one"
            )
        paths = {each.path for each in backends if each.path.kind in (PathKind.FULL, PathKind.PREFIX)}
        if len(paths) > 1:
            self._report.add(
                Fidelity.MANUAL, f"{subject}: path", "its backends get different ones, and a rule gives one"
            )
        path = next(iter(paths), None)
        tree = {"hostname": self._hostname(first, subject), "path": self._path(path) if path is not None else None}
        return tree if any(value is not None for value in tree.values()) else None

    def _hostname(self, backend: Backend, subject: str) -> str | None:
        authority = backend.authority
        if authority.kind is AuthorityKind.FULL and (host := precise_hostname(authority.value)) is not None:
            return self._original.plain(host)
        if authority.kind is not AuthorityKind.AUTO and authority != full_authority(backend):
            self._report.add(
                Fidelity.MANUAL, f"{subject}: Host", "a rule gives a host name alone: left to the address's"
            )
        return None

    def _path(self, path: PathRule) -> dict[str, Any]:
        value = self._original.plain(path.value)
        if path.kind is PathKind.PREFIX:
            return {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}
        return {"type": "ReplaceFullPath", "replaceFullPath": value}

    def _redirect(self, given: Redirect | None, here: _Here, subject: str) -> dict[str, Any] | None:
        if given is None:
            return None
        scheme = given.scheme or here.scheme
        where = given.authority or Authority()
        host, port = "", ""
        match where.kind:
            case AuthorityKind.FULL:
                host, port = _split(where.value)
                port = port or str(_PORTS[scheme])
            case AuthorityKind.PORT:
                port = where.value
            case kind:
                host = where.value if kind is AuthorityKind.HOST else ""
                if scheme == here.scheme:  # the request's port belongs to no other scheme
                    port = str(here.port)
                    what = "goes to the listener's own port, whatever the request's"
                    self._report.add(Fidelity.APPROXIMATE, f"{subject}: requestRedirect", what)
        hostname = precise_hostname(host)
        if host and hostname is None:
            # Without it, clients would be sent to the host that they come from.
            what = (
                "is left out: its host is no name in small letters, digits, dots and dashes, as an HTTPRoute wants it"
            )
            self._report.add(Fidelity.MANUAL, f"{subject}: requestRedirect", what)
            return None
        return {
            "scheme": given.scheme,
            "hostname": self._original.plain(hostname) if hostname else None,
            "port": int(port) if port.isdecimal() else None,
            "path": self._path(given.path) if given.path is not None else None,
            "statusCode": given.status,
        }

    def _cors(self, given: Cors | None) -> dict[str, Any] | None:
        if given is None:
            return None
        return {
            "allowOrigins": [self._original.plain(each) for each in given.allow_origins] or None,
            "allowMethods": list(given.allow_methods) or None,
            "allowHeaders": list(given.allow_headers) or None,
            "exposeHeaders": list(given.expose_headers) or None,
            "allowCredentials": given.allow_credentials or None,
            "maxAge": given.max_age or None,
        }

    def _mirror(self, mirror: Mirror, subject: str) -> dict[str, Any]:
        share = round(mirror.share * 100)
        if abs(share - mirror.share * 100) > 1e-9:
            self._report.add(Fidelity.APPROXIMATE, f"{subject}: requestMirror", "percentages are whole numbers")
        if mirror.backend.request_headers is not None or mirror.backend.response_headers is not None:
            self._report.add(Fidelity.MANUAL, f"{subject}: requestMirror", "a copy's headers cannot be changed here")
        name = self._backends.lone(mirror.backend)
        ref = {"group": AGENTGATEWAY, "kind": KIND, "name": name}
        return {"percent": share if share != 100 else None, "backendRef": ref}

    # What keeps it flowing

    def _timeouts(self, given: RoutePolicies, subject: str) -> dict[str, Any] | None:
        timeout = given.timeout
        if timeout is None:
            return None
        if (timeout.first_byte, timeout.stream_idle, timeout.total) != (None, None, None):
            what = "firstByteTimeout, streamIdleTimeout and totalTimeout are Torana's own"
            self._report.add(Fidelity.UNSUPPORTED, f"{subject}: timeout", what)
        each = timeout.backend_request
        if each is not None and each > (timeout.request or each):
            each = None  # it has no effect, and the Gateway API refuses it
        made = {
            "request": gateway_duration(timeout.request) if timeout.request is not None else None,
            "backendRequest": gateway_duration(each) if each is not None else None,
        }
        return made if any(made.values()) else None

    def _retry(self, given: RoutePolicies, subject: str) -> dict[str, Any] | None:
        retry = given.retry
        if retry is None:
            return None
        if retry.precondition is not None or retry.condition is not None:
            self._report.add(Fidelity.UNSUPPORTED, f"{subject}: retry", "has no conditions here")
        return {
            "attempts": retry.attempts,
            "backoff": gateway_duration(retry.backoff),
            "codes": list(retry.codes) or None,
        }

    def _lost(self, given: RoutePolicies, subject: str) -> None:
        lost = {
            "directResponse": given.direct_response or given.conditional_responses,
            "csrf": given.csrf,
            "delay": given.delay,
            "buffer": given.buffer,
            "localRateLimit": given.rate_limits,
        }
        for name, value in lost.items():
            if value:
                what = "is left out: an HTTPRoute has no such filter; agentgateway has an AgentgatewayPolicy"
                self._report.add(Fidelity.MANUAL, f"{subject}: {name}", what)


def _paths(filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in filters:
        path = (each.get("urlRewrite") or each.get("requestRedirect") or {}).get("path")
        if path is not None:
            yield path


def _split(authority: str) -> tuple[str, str]:
    """`host[:port]`; an IPv6 address has colons of its own, and brackets around it."""
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and not authority.endswith("]") else (authority, "")


def _filter(kind: str, value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Gateway API, HTTPRouteFilter: the type, and the member of that name."""
    member = "urlRewrite" if kind == "URLRewrite" else "cors" if kind == "CORS" else kind[:1].lower() + kind[1:]
    return {"type": kind, member: value} if value is not None else None
