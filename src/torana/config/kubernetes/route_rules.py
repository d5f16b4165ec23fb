"""HTTPRoute rules as the model's routes. A rule that is wrong keeps its matches and answers 500."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import msgspec

from torana.config.kubernetes import durations, filters
from torana.config.kubernetes.backends import Backends
from torana.config.kubernetes.conditions import UNSUPPORTED, Fault
from torana.config.kubernetes.decode import unknown
from torana.config.kubernetes.drafts import Groups, finish, finished
from torana.config.kubernetes.filters import Filters, RuleTrouble, of_backend, redirect_at
from torana.config.kubernetes.objects import Object
from torana.config.kubernetes.resources import route as schema
from torana.config.syntax import header_name_fault, method_fault, path_fault
from torana.model import pattern
from torana.model.backend import BackendRef, Mirror
from torana.model.policy import DirectResponse, Retry, RoutePolicies, Timeout
from torana.model.route import PathMatch, PathMatchKind, Route, RouteMatch, ValueMatch

_KINDS: Final = {
    "Exact": PathMatchKind.EXACT,
    "PathPrefix": PathMatchKind.PREFIX,
    "RegularExpression": PathMatchKind.REGEX,
}
_FORBIDDEN = re.compile(r"//|/\.\.?(?:/|$)|%2f", re.IGNORECASE)
"""Gateway API, HTTPPathMatch: no empty or dot segments and no escaped slash; they would never match as meant."""

_TUNING: Final = frozenset({"timeouts", "retry", "sessionPersistence"})
"""The parts of a rule whose unknown fields are told and passed over."""

_NO_ENDPOINT = DirectResponse(
    503,
    '{"error":{"message":"The service behind this route has no ready endpoint.","type":"server_error",'
    '"param":null,"code":"no_endpoint"}}',
    (("content-type", "application/json"),),
)


class Ref(msgspec.Struct, frozen=True):
    """A backendRef that was followed; `own` are the filters of this reference alone."""

    weight: int
    groups: Groups
    own: Filters = Filters()
    fault: Fault | None = None


class MirrorRef(msgspec.Struct, frozen=True):
    """The backendRef of a rule's RequestMirror that was followed. Without groups nothing is copied."""

    groups: Groups = ()
    fault: Fault | None = None


class Rule(msgspec.Struct, frozen=True):
    """A rule that was read, and what is wrong with it. `matches` None: not even which requests it takes is known.

    `remarks` are for the status of a rule that serves.
    """

    name: str
    matches: tuple[RouteMatch, ...] | None
    filters: Filters = Filters()
    timeout: Timeout | None = None
    retry: Retry | None = None
    refs: tuple[Ref, ...] = ()
    mirrors: tuple[MirrorRef, ...] = ()
    fault: Fault | None = None
    remarks: tuple[str, ...] = ()

    @property
    def reference_faults(self) -> list[Fault]:
        faults = (*(ref.fault for ref in self.refs), *(mirror.fault for mirror in self.mirrors))
        return [fault for fault in faults if fault is not None]

    def at(self, port: int, hostnames: tuple[str, ...]) -> Route | None:
        """The route at a listener's port."""
        if self.matches is None:
            return None
        if self.fault is not None:
            return Route(self.name, hostnames, self.matches, backends=(BackendRef(()),))
        backends = tuple(
            BackendRef(finished(ref.groups, of_backend(self.filters, ref.own, port)), ref.weight) for ref in self.refs
        )
        return Route(self.name, hostnames, self.matches, self._policies(port), backends, tuple(self._mirrors(port)))

    def _mirrors(self, port: int) -> Iterator[Mirror]:
        """Gateway API, HTTPRequestMirrorFilter.backendRef: one endpoint, however many there are; the first one."""
        for share, mirror in zip(self.filters.mirrors, self.mirrors, strict=True):
            draft = next(chain.from_iterable(mirror.groups), None)
            backend = finish(draft, of_backend(self.filters, Filters(), port)) if draft is not None else None
            if backend is not None and share:
                yield Mirror(backend, share)

    def _policies(self, port: int) -> RoutePolicies:
        chosen = [ref for ref in self.refs if ref.weight]
        empty = bool(chosen) and all(ref.groups and not any(ref.groups) for ref in chosen)
        redirect = self.filters.redirect
        return RoutePolicies(
            cors=self.filters.cors,
            request_headers=self.filters.request_headers,
            redirect=redirect_at(redirect, port) if redirect is not None else None,
            # Gateway API, HTTPBackendRef: a Service without ready endpoints is 503, where anything missing is 500.
            direct_response=_NO_ENDPOINT if empty else None,
            response_headers=self.filters.response_headers,
            timeout=self.timeout,
            retry=self.retry,
        )


def read(obj: Object, route: schema.HTTPRoute, backends: Backends) -> Iterator[Rule]:
    for index, rule in enumerate(route.rules or (schema.Rule(),)):
        name = f"{obj.namespace}/{obj.name}/{rule.name or index}"
        made = _rule(name, rule, obj.namespace, backends)
        strange = _strange(obj, index)
        yield (
            made
            if made.fault is not None or not strange
            else msgspec.structs.replace(made, fault=Fault(UNSUPPORTED, strange))
        )


def _strange(obj: Object, index: int) -> str:
    """What nobody here knows of a rule, without which it might take or send on more than its author means."""
    rules = obj.spec.get("rules") or ()
    if index >= len(rules):
        return ""
    rule = {name: part for name, part in rules[index].items() if name not in _TUNING}
    return unknown(schema.Rule, rule, f"spec.rules[{index}]")


def _rule(name: str, rule: schema.Rule, namespace: str, backends: Backends) -> Rule:
    """References are followed even where the rule is wrong: what is wrong with them is told as well."""
    refs = tuple(_ref(ref, namespace, backends) for ref in rule.backend_refs)
    mirrors = tuple(_mirrored(rule.filters, namespace, backends))
    matches = None
    try:
        matches = tuple(_match(match) for match in rule.matches) or (RouteMatch(),)
        own = filters.read(rule.filters, rule.matches)
        refs = tuple(
            msgspec.structs.replace(made, own=_own(ref, own, rule.matches))
            for ref, made in zip(rule.backend_refs, refs, strict=True)
        )
        timeout, retry = _timeout(rule.timeouts), _retry(rule.retry)
        return Rule(name, matches, own, timeout, retry, refs, mirrors, remarks=tuple(_remarks(rule)))
    except RuleTrouble as trouble:
        return Rule(name, matches, refs=refs, mirrors=mirrors, fault=trouble.fault)


def _remarks(rule: schema.Rule) -> Iterator[str]:
    """What only balances does not stop a rule from serving.

    GEP-1619 has the gateway name an endpoint to the client, in a cookie or a header of the answer. To go by the hash of
    what the client sends of its own is session affinity, which it tells apart from persistence.
    """
    if rule.session_persistence is not None:
        yield "sessionPersistence is not supported yet, and has no effect"


def _ref(ref: schema.BackendRef, namespace: str, backends: Backends) -> Ref:
    found = backends.find(ref, namespace, ref.port)
    if isinstance(found, Fault):
        return Ref(ref.weight, (), fault=found)
    return Ref(ref.weight, found)


def _mirrored(given: Iterable[schema.Filter], namespace: str, backends: Backends) -> Iterator[MirrorRef]:
    """Gateway API: a mirror that leads nowhere is dropped and told; the rule goes on serving."""
    for each in given:
        if each.mirror is not None:
            ref = each.mirror.backend_ref
            found = backends.find(ref, namespace, ref.port)
            yield MirrorRef(fault=found) if isinstance(found, Fault) else MirrorRef(found)


def _own(ref: schema.BackendRef, rule: Filters, matches: tuple[schema.Match, ...]) -> Filters:
    own = filters.read(ref.filters, matches)
    of_backend(rule, own, 0)  # the port does not matter to what may be wrong with it
    return own


def _timeout(timeouts: schema.Timeouts) -> Timeout | None:
    """Gateway API, HTTPRouteTimeouts: a duration of zero is no timeout."""
    request, attempt = _bound("request", timeouts.request), _bound("backendRequest", timeouts.backend_request)
    if request is not None and attempt is not None and attempt > request:
        raise RuleTrouble("timeouts.backendRequest is longer than timeouts.request")
    return Timeout(request, attempt) if request is not None or attempt is not None else None


def _bound(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    return _seconds(f"timeouts.{name}", text) or None


def _retry(retry: schema.Retry | None) -> Retry | None:
    """GEP-1731. What is left out is ours to choose: once more, after the shortest of pauses."""
    if retry is None or retry.attempts == 0:
        return None
    usual = Retry()
    return Retry(
        attempts=retry.attempts or usual.attempts,
        backoff=_seconds("retry.backoff", retry.backoff) if retry.backoff is not None else usual.backoff,
        codes=retry.codes,
    )


def _seconds(field: str, text: str) -> float:
    try:
        return durations.seconds(field, text)
    except ValueError as error:
        raise RuleTrouble(str(error)) from error


# --- Matches --------------------------------------------------------------------------------------------------------


def _match(match: schema.Match) -> RouteMatch:
    """Gateway API, HTTPRouteMatch: of several entries with one name only the first counts."""
    if match.method is not None and (fault := method_fault(match.method)) is not None:
        raise RuleTrouble(f'method "{match.method}" {fault}')
    headers: dict[str, ValueMatch] = {}
    for header in match.headers:
        if (fault := header_name_fault(header.name)) is not None:
            raise RuleTrouble(f'header "{header.name}" {fault}')
        headers.setdefault(header.name.lower(), _value_match(header))
    query: dict[str, ValueMatch] = {}
    for parameter in match.query_params:
        query.setdefault(parameter.name, _value_match(parameter))
    return RouteMatch(_path_match(match.path), match.method, tuple(headers.values()), tuple(query.values()))


def _path_match(match: schema.PathMatch) -> PathMatch:
    if match.type == "RegularExpression":
        _check_regex(match.value)
        return PathMatch(PathMatchKind.REGEX, match.value)
    fault = path_fault(match.value)
    if fault is None and _FORBIDDEN.search(match.value):
        fault = "holds an empty or dot segment, or an escaped slash"
    if fault is not None:
        raise RuleTrouble(f'path "{match.value}" {fault}')
    if match.type == "PathPrefix":
        return PathMatch(PathMatchKind.PREFIX, match.value.rstrip("/") or "/")
    return PathMatch(_KINDS[match.type], match.value)


def _value_match(match: schema.ValueMatch) -> ValueMatch:
    regex = match.type == "RegularExpression"
    if regex:
        _check_regex(match.value)
    return ValueMatch(match.name, match.value, regex)


def _check_regex(text: str) -> None:
    try:
        pattern.check(text)
    except pattern.PatternError as error:
        raise RuleTrouble(f'"{text}" is no regular expression: {error}') from error
