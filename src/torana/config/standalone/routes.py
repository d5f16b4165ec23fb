"""The file's routes as the model's: matches, policies, and backends with everything of the route baked in."""

from __future__ import annotations

from collections.abc import Sequence

from torana.config.standalone.backends import Backends, OfRoute, Used
from torana.config.standalone.policies import authority, path_rule, route_policies
from torana.config.standalone.schema import listeners as schema
from torana.config.standalone.schema import policies
from torana.config.standalone.schema.traffic import ConditionalRateLimits
from torana.config.syntax import header_name_fault, hostname_fault, method_fault, path_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path, Scalar
from torana.model import pattern
from torana.model.backend import BackendRef, Mirror
from torana.model.policy import RoutePolicies
from torana.model.route import OperationRule, PathMatch, PathMatchKind, Route, RouteMatch, ValueMatch

_PSEUDO_HEADERS = (":method", ":path", ":authority", ":scheme")


def route(written: schema.Route, path: Path, index: int, backends: Backends, findings: Findings) -> Route:
    name = written.name or f"route{index}"
    matches = tuple(_match(match, (*path, "matches", i), findings) for i, match in enumerate(written.matches))
    of_route = _of_route(written, name, (*path, "policies"), findings)
    used = [backends.translate(ref, (*path, "backends", i), i, of_route) for i, ref in enumerate(written.backends)]
    refs = [each.ref if each is not None else None for each in used]
    _check_reachable(written, path, findings)
    _check_counted(written, refs, (*path, "policies", "localRateLimit"), findings)
    return Route(
        name=name,
        hostnames=hostnames(written.hostnames, (*path, "hostnames"), findings),
        matches=matches or (RouteMatch(),),
        policies=route_policies(written.policies, (*path, "policies"), findings)
        if written.policies
        else RoutePolicies(),
        backends=tuple(ref for ref in refs if ref is not None),
        operations=_operations(used, path, findings),
        mirrors=_mirrors(written.policies, (*path, "policies", "requestMirror"), of_route, backends),
    )


def hostnames(names: tuple[str, ...], path: Path, findings: Findings) -> tuple[str, ...]:
    for index, name in enumerate(names):
        hostname((*path, index), name, findings)
    return tuple(name.lower() for name in names)


def hostname(path: Path, name: str, findings: Findings) -> str:
    """Host names are compared without case (RFC 9110, section 4.2.3)."""
    if name == "*":
        findings.error(path, "`*` alone is no host name", "leave it out to take every host")
    else:
        findings.fault(path, name, hostname_fault(name))
    return name.lower()


def _operations(used: Sequence[Used | None], path: Path, findings: Findings) -> tuple[OperationRule, ...]:
    """What a request is has to be known before its backend is chosen."""
    told = list(dict.fromkeys(each.operations for each in used if each is not None and each.ref.groups))
    if len(told) > 1:
        hint = "put `ai.routes` into the policies of the route"
        findings.error((*path, "backends"), "differ in `ai.routes`, which has to hold for all of a route", hint)
    return told[0] if told else ()


# --- Policies -------------------------------------------------------------------------------------------------------


def _of_route(written: schema.Route, name: str, path: Path, findings: Findings) -> OfRoute:
    rewrite = written.policies.url_rewrite if written.policies else None
    host = target = None
    if rewrite is not None:
        here = (*path, "urlRewrite")
        host = authority(rewrite.authority, (*here, "authority"), findings) if rewrite.authority else None
        target = path_rule(rewrite.path, (*here, "path"), findings) if rewrite.path else None
        _check_prefix(rewrite.path, (*here, "path"), written, findings)
    redirect = written.policies.request_redirect if written.policies else None
    if redirect is not None:
        _check_prefix(redirect.path, (*path, "requestRedirect", "path"), written, findings)
    return OfRoute(name, written.policies, path, host, target)


def _check_prefix(rule: policies.RewritePath | None, path: Path, written: schema.Route, findings: Findings) -> None:
    """Gateway API, HTTPPathModifier: a prefix is replaced only where one was matched. No match at all is prefix `/`."""
    if rule is None or rule.prefix is None:
        return
    kinds = (match.path for match in written.matches)
    if any(kind is not None and kind.path_prefix is None for kind in kinds):
        findings.error((*path, "prefix"), "needs a `pathPrefix` in every match of this route", "or use `full`")


def _mirrors(
    given: policies.RoutePolicies | None, path: Path, route: OfRoute, backends: Backends
) -> tuple[Mirror, ...]:
    written = given.request_mirror if given is not None else None
    if written is None:
        return ()
    if isinstance(written, tuple):
        entries = [(each, (*path, index)) for index, each in enumerate(written)]
    else:
        entries = [(written, path)]
    found = [(backends.mirror(each.backend, (*here, "backend"), route), each.percentage) for each, here in entries]
    return tuple(Mirror(backend, share) for backend, share in found if backend is not None)


def _check_counted(written: schema.Route, refs: Sequence[BackendRef | None], path: Path, findings: Findings) -> None:
    """Tokens are told by language models only."""
    given = written.policies.local_rate_limit if written.policies is not None else None
    limits = given.conditional if isinstance(given, ConditionalRateLimits) else given or ()
    if not any(limit.type == "tokens" for limit in limits):
        return
    reached = [backend for ref in refs if ref is not None for backend in ref.backends]
    if reached and not any(backend.provider for backend in reached):
        hint = "use type: requests, or an `ai` backend"
        findings.warning(path, "a limit of tokens counts nothing here: no backend serves a language model", hint)


def _check_reachable(written: schema.Route, path: Path, findings: Findings) -> None:
    given = written.policies
    answer = given.direct_response if given is not None else None
    redirected = given is not None and given.request_redirect is not None
    answers = redirected or (answer is not None and _always(answer))
    if not written.backends and not answers:
        findings.warning(path, "this route has no backend: its requests are answered 500", "give it `backends`")
    elif written.backends and not any(ref.weight for ref in written.backends):
        findings.warning(
            (*path, "backends"), "every weight is 0: requests are answered 500", "give one a weight above 0"
        )


def _always(answer: policies.DirectResponse) -> bool:
    return answer.conditional is None or any(entry.condition is None for entry in answer.conditional)


# --- Matches --------------------------------------------------------------------------------------------------------


def _match(match: schema.RouteMatch, path: Path, findings: Findings) -> RouteMatch:
    if match.method is not None:
        findings.fault((*path, "method"), match.method, method_fault(match.method))
    return RouteMatch(
        path=_path_match(match.path, (*path, "path"), findings) if match.path else PathMatch(),
        method=match.method,
        headers=tuple(header_match(header, (*path, "headers", i), findings) for i, header in enumerate(match.headers)),
        query=tuple(_value_match(query, (*path, "query", i), findings) for i, query in enumerate(match.query)),
    )


def _path_match(match: schema.PathMatch, path: Path, findings: Findings) -> PathMatch:
    if match.regex is not None:
        _check_regex(match.regex, (*path, "regex"), findings)
        return PathMatch(PathMatchKind.REGEX, match.regex)
    if match.exact is not None:
        findings.fault((*path, "exact"), match.exact, path_fault(match.exact))
        return PathMatch(PathMatchKind.EXACT, match.exact)
    prefix = match.path_prefix or ""
    findings.fault((*path, "pathPrefix"), prefix, path_fault(prefix))
    return PathMatch(PathMatchKind.PREFIX, prefix)


def header_match(match: schema.HeaderMatch, path: Path, findings: Findings) -> ValueMatch:
    if match.name not in _PSEUDO_HEADERS:
        findings.fault((*path, "name"), match.name, header_name_fault(match.name))
    return _value_match(match, path, findings)


def _value_match(match: schema.HeaderMatch | schema.QueryMatch, path: Path, findings: Findings) -> ValueMatch:
    if match.value.regex is not None:
        _check_regex(match.value.regex, (*path, "value", "regex"), findings)
        return ValueMatch(match.name, match.value.regex, regex=True)
    return ValueMatch(match.name, match.value.exact or "")


def _check_regex(text: str, path: Path, findings: Findings) -> None:
    """Points into the expression, when it stands in the file as it was read (without escapes and line folding)."""
    try:
        pattern.check(text)
    except pattern.PatternError as error:
        node = findings.node(path)
        offset = node.start
        if isinstance(node, Scalar) and not findings.hides(path):
            quote = 0 if node.plain else 1
            source = findings.document.source.text
            if source.startswith(text, offset + quote):
                offset += quote + (error.position or 0)
        reason = error.reason if findings.hides(path) else str(error)
        findings.error(path, f"{findings.quote(path, text)} is no regular expression: {reason}", offset=offset)
