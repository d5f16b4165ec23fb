"""HTTPRoute filters: of a rule, and of a backendRef. A filter that cannot be applied is never passed over."""

from __future__ import annotations

from typing import Final

import msgspec

from torana.config.kubernetes.conditions import UNSUPPORTED, Fault
from torana.config.kubernetes.drafts import OfRoute
from torana.config.kubernetes.resources import route as schema
from torana.config.syntax import changed_header_fault, header_value_fault, host_fault, path_fault
from torana.model.policy import Authority, AuthorityKind, Cors, HeaderModifier, PathKind, PathRule, Redirect

INCOMPATIBLE: Final = "IncompatibleFilters"

_MEMBERS: Final = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
    "RequestMirror": "request_mirror",
}
_SEVERAL = "RequestMirror"  # the one that may be given more than once
_SCHEME_PORTS = {"http": 80, "https": 443}


class RuleTrouble(Exception):  # noqa: N818 - the rule's, told in its route's status; no error of the program
    """A rule that cannot be served as its author meant it."""

    def __init__(self, message: str, reason: str = UNSUPPORTED) -> None:
        super().__init__(message)
        self.fault = Fault(reason, message)


class Filters(msgspec.Struct, frozen=True):
    """One of each kind at most, but for mirrors; the redirect waits for the port of its listener."""

    request_headers: HeaderModifier | None = None
    response_headers: HeaderModifier | None = None
    cors: Cors | None = None
    redirect: schema.Redirect | None = None
    hostname: str | None = None
    path: PathRule | None = None
    mirrors: tuple[float, ...] = ()
    """The share of the requests that each gets, 0 to 1."""


def read(filters: tuple[schema.Filter, ...], matches: tuple[schema.Match, ...]) -> Filters:
    """Raises RuleTrouble."""
    given: dict[str, schema.Filter] = {}
    for each in filters:
        member = _MEMBERS.get(each.type)
        if member is None:
            raise RuleTrouble(f"filter {each.type} is not supported yet")
        if each.type in given and each.type != _SEVERAL:
            raise RuleTrouble(f"filter {each.type} is given twice", INCOMPATIBLE)
        if getattr(each, member) is None:
            raise RuleTrouble(f"filter {each.type} has no value of its type")
        given[each.type] = each
    if "RequestRedirect" in given and "URLRewrite" in given:
        raise RuleTrouble("RequestRedirect and URLRewrite exclude each other", INCOMPATIBLE)
    empty = schema.Filter(type="")
    rewrite = given.get("URLRewrite", empty).url_rewrite or schema.Rewrite()
    redirect = given.get("RequestRedirect", empty).request_redirect
    if redirect is not None:
        _check_host(redirect.hostname)
        _path(redirect.path, matches)
    _check_host(rewrite.hostname)
    return Filters(
        request_headers=_headers(given.get("RequestHeaderModifier", empty).request_header_modifier),
        response_headers=_headers(given.get("ResponseHeaderModifier", empty).response_header_modifier),
        cors=_cors(given.get("CORS", empty).cors),
        redirect=redirect,
        hostname=rewrite.hostname,
        path=_path(rewrite.path, matches),
        mirrors=tuple(_mirror(each.mirror) for each in filters if each.mirror is not None),
    )


def of_backend(rule: Filters, own: Filters, port: int) -> OfRoute:
    """What a backend gets from its rule and from the filters of its own reference, which come later and win."""
    if own.cors is not None:
        raise RuleTrouble("filter CORS is for rules, not for backendRefs")
    if own.mirrors:
        raise RuleTrouble("filter RequestMirror of a backendRef is not supported yet; give it to the rule")
    return OfRoute(
        hostname=own.hostname or rule.hostname,
        path=own.path or rule.path,
        request_headers=own.request_headers,
        response_headers=own.response_headers,
        redirect=redirect_at(own.redirect, port) if own.redirect is not None else None,
    )


def _mirror(mirror: schema.RequestMirror) -> float:
    """Of the requests, 0 to 1. Gateway API, HTTPRequestMirrorFilter: all of them when nothing is said."""
    fraction = mirror.fraction
    if fraction is None:
        return mirror.percent / 100 if mirror.percent is not None else 1.0
    if mirror.percent is not None:
        raise RuleTrouble("RequestMirror: only one of percent and fraction may be given")
    if fraction.numerator > fraction.denominator:
        raise RuleTrouble("RequestMirror: the numerator of its fraction is more than the denominator")
    return fraction.numerator / fraction.denominator


def redirect_at(redirect: schema.Redirect, listener_port: int) -> Redirect:
    """Gateway API, HTTPRequestRedirectFilter.port: the one given, else the given scheme's, else the listener's."""
    port = redirect.port or _SCHEME_PORTS.get(redirect.scheme or "", listener_port)
    if redirect.hostname is not None:
        authority = Authority(AuthorityKind.FULL, f"{redirect.hostname}:{port}")
    else:
        authority = Authority(AuthorityKind.PORT, str(port))
    return Redirect(redirect.scheme, authority, _rule_of(redirect.path), redirect.status_code)


def _cors(cors: schema.Cors | None) -> Cors | None:
    if cors is None:
        return None
    values = (*cors.allow_origins, *cors.allow_methods, *cors.allow_headers, *cors.expose_headers)
    if any(header_value_fault(value) is not None for value in values):
        raise RuleTrouble("filter CORS holds a character that a header cannot carry")
    return Cors(
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        expose_headers=cors.expose_headers,
        allow_credentials=cors.allow_credentials,
        max_age=cors.max_age,
    )


def _headers(modifier: schema.HeaderModifier | None) -> HeaderModifier | None:
    if modifier is None:
        return None
    fields = (*modifier.set, *modifier.add)
    for name in (*(field.name for field in fields), *modifier.remove):
        if (fault := changed_header_fault(name)) is not None:
            raise RuleTrouble(f'header "{name}" {fault}')
    for field in fields:
        if (fault := header_value_fault(field.value)) is not None:
            raise RuleTrouble(f'the value of header "{field.name}" {fault}')
    return HeaderModifier(
        set=tuple((field.name, field.value) for field in modifier.set),
        add=tuple((field.name, field.value) for field in modifier.add),
        remove=modifier.remove,
    )


def _check_host(hostname: str | None) -> None:
    if hostname is not None and host_fault(hostname) is not None:
        raise RuleTrouble(f'hostname "{hostname}" is no host name')


def _path(modifier: schema.PathModifier | None, matches: tuple[schema.Match, ...]) -> PathRule | None:
    rule = _rule_of(modifier)
    if rule is None or modifier is None:
        return None
    if rule.value and (fault := path_fault(rule.value)) is not None:
        raise RuleTrouble(f'path "{rule.value}" {fault}')
    prefixed = len(matches) == 1 and matches[0].path.type == "PathPrefix"
    if rule.kind is PathKind.PREFIX and matches and not prefixed:
        raise RuleTrouble("ReplacePrefixMatch needs a rule with exactly one PathPrefix match", INCOMPATIBLE)
    return rule


def _rule_of(modifier: schema.PathModifier | None) -> PathRule | None:
    """A replacement for a prefix may be empty, which is the same as `/`."""
    match modifier:
        case None:
            return None
        case schema.PathModifier(type="ReplaceFullPath", replace_full_path=str(path)):
            return PathRule(PathKind.FULL, path or "/")
        case schema.PathModifier(type="ReplacePrefixMatch", replace_prefix_match=str(path)):
            return PathRule(PathKind.PREFIX, path or "/")
        case _:
            raise RuleTrouble(f"path of type {modifier.type} has no value of its type")
