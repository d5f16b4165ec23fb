"""The file's policies as the model's, with what only their meaning can tell to be wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torana.config.duration import seconds
from torana.config.resolve import UnresolvableError, check_authority
from torana.config.standalone import traffic
from torana.config.standalone.expression import check_conditions
from torana.config.standalone.schema import policies as schema
from torana.config.syntax import changed_header_fault, header_name_fault, header_value_fault, path_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.policy import (
    Authority,
    AuthorityKind,
    Conditional,
    Cors,
    Csrf,
    DirectResponse,
    HeaderModifier,
    PathKind,
    PathRule,
    Redirect,
    RoutePolicies,
)

_REDIRECTS = (301, 302, 303, 307, 308)
"""Gateway API, HTTPRequestRedirectFilter, and 303 and 307 of RFC 9110, section 15.4."""

_LONGEST_AGE = 2**31  # RFC 9111, section 1.2.2: more seconds are as good as these

_ORIGIN = re.compile(r"null|[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@\s]+")


def route_policies(policies: schema.RoutePolicies, path: Path, findings: Findings) -> RoutePolicies:
    """What stays with the route; where requests go and with which credential is baked into its backends."""
    return RoutePolicies(
        cors=_cors(policies.cors, (*path, "cors"), findings) if policies.cors else None,
        request_headers=headers(policies.request_header_modifier, (*path, "requestHeaderModifier"), findings),
        redirect=redirect(policies.request_redirect, (*path, "requestRedirect"), findings),
        **_responses(policies.direct_response, (*path, "directResponse"), findings),
        response_headers=headers(policies.response_header_modifier, (*path, "responseHeaderModifier"), findings),
        csrf=_csrf(policies.csrf, (*path, "csrf"), findings) if policies.csrf else None,
        timeout=traffic.timeout(policies.timeout, (*path, "timeout"), findings) if policies.timeout else None,
        retry=traffic.retry(policies.retry, policies.timeout, (*path, "retry"), findings) if policies.retry else None,
        delay=traffic.delay(policies.delay, (*path, "delay"), findings) if policies.delay else None,
        buffer=traffic.buffer(policies.buffer) if policies.buffer else None,
        rate_limits=traffic.rate_limits(policies.local_rate_limit, (*path, "localRateLimit"), findings),
    )


# --- Headers, paths, answers ----------------------------------------------------------------------------------------


def headers(modifier: schema.HeaderModifier | None, path: Path, findings: Findings) -> HeaderModifier | None:
    if modifier is None:
        return None
    fault = changed_header_fault
    for index, name in enumerate(modifier.remove):
        findings.fault((*path, "remove", index), name, fault(name))
    return HeaderModifier(
        set=_pairs(modifier.set, (*path, "set"), fault, findings),
        add=_pairs(modifier.add, (*path, "add"), fault, findings),
        remove=modifier.remove,
    )


def _pairs(
    values: Mapping[str, str], path: Path, name_fault: Callable[[str], str | None], findings: Findings
) -> tuple[tuple[str, str], ...]:
    for name, value in values.items():
        if (fault := name_fault(name)) is not None:
            findings.error((*path, name), f"this name {fault}")
        if (fault := header_value_fault(value)) is not None:
            findings.error((*path, name), fault)
    return tuple(values.items())


def authority(rule: schema.AuthorityRule, path: Path, findings: Findings) -> Authority:
    match rule:
        case "auto":
            return Authority(AuthorityKind.AUTO)
        case "none":
            return Authority(AuthorityKind.NONE)
        case schema.Authority(full=str(text)):
            key, made = "full", Authority(AuthorityKind.FULL, text)
        case schema.Authority(host=str(text)):
            key, made = "host", Authority(AuthorityKind.HOST, text)
        case _:
            return Authority(AuthorityKind.PORT, str(rule.port))
    try:
        check_authority(made)
    except UnresolvableError as error:
        here = (*path, key)
        findings.error(here, f"{findings.quote(here, text)} {error.what}", error.hint)
    return made


def path_rule(rule: schema.RewritePath, path: Path, findings: Findings) -> PathRule:
    if rule.full is not None:
        findings.fault((*path, "full"), rule.full, path_fault(rule.full))
        return PathRule(PathKind.FULL, rule.full)
    prefix = rule.prefix or ""
    findings.fault((*path, "prefix"), prefix, path_fault(prefix))
    return PathRule(PathKind.PREFIX, prefix)


def redirect(policy: schema.RequestRedirect | None, path: Path, findings: Findings) -> Redirect | None:
    if policy is None:
        return None
    if policy.status not in _REDIRECTS:
        allowed = ", ".join(map(str, _REDIRECTS))
        findings.error((*path, "status"), "is not the status of a redirect", f"use one of {allowed}")
    return Redirect(
        scheme=policy.scheme,
        authority=authority(policy.authority, (*path, "authority"), findings) if policy.authority else None,
        path=path_rule(policy.path, (*path, "path"), findings) if policy.path else None,
        status=policy.status,
    )


def _responses(policy: schema.DirectResponse | None, path: Path, findings: Findings) -> dict[str, Any]:
    """The model's `direct_response`, or its `conditional_responses`."""
    if policy is None:
        return {}
    if policy.status is not None:
        return {"direct_response": _response(policy.status, policy, path, findings)}
    path, entries = (*path, "conditional"), policy.conditional or ()
    check_conditions([entry.condition for entry in entries], path, findings)
    responses = [_response(entry.status, entry, (*path, index), findings) for index, entry in enumerate(entries)]
    pairs = zip(entries, responses, strict=True)
    return {"conditional_responses": tuple(Conditional(entry.condition, response) for entry, response in pairs)}


def _response(status: int, answer: schema.Answer, path: Path, findings: Findings) -> DirectResponse:
    pairs = _pairs(answer.headers, (*path, "headers"), changed_header_fault, findings)
    return DirectResponse(status, answer.body, pairs)


def _csrf(policy: schema.Csrf, path: Path, findings: Findings) -> Csrf:
    """RFC 6454, section 6.2: an origin is a scheme, a host and a port, or the word `null`."""
    for index, origin in enumerate(policy.additional_origins):
        if not _ORIGIN.fullmatch(origin):
            here = (*path, "additionalOrigins", index)
            hint = "write it as browsers do, such as https://app.example.com"
            findings.error(here, f"{findings.quote(here, origin)} is no origin", hint)
    return Csrf(tuple(origin.lower() for origin in policy.additional_origins))


def _cors(policy: schema.Cors, path: Path, findings: Findings) -> Cors:
    if policy.allow_credentials and "*" in policy.allow_origins:
        what = "with allowCredentials, every web page may call this route as whoever is looking at it"
        findings.warning((*path, "allowOrigins"), what, "list the origins that may, or leave allowCredentials out")
    for key, fault, names in (
        ("allowMethods", header_value_fault, policy.allow_methods),
        ("allowHeaders", header_name_fault, policy.allow_headers),
        ("exposeHeaders", header_name_fault, policy.expose_headers),
    ):
        for index, name in enumerate(names):
            findings.fault((*path, key, index), name, fault(name))
    for index, origin in enumerate(policy.allow_origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            here = (*path, "allowOrigins", index)
            what = f"{findings.quote(here, origin)} is no origin, so that no page is allowed by it"
            findings.warning(here, what, "write it as browsers do, such as https://app.example.com")
    max_age = policy.max_age
    return Cors(
        allow_origins=policy.allow_origins,
        allow_methods=policy.allow_methods,
        allow_headers=policy.allow_headers,
        expose_headers=policy.expose_headers,
        allow_credentials=policy.allow_credentials,
        max_age=int(min(seconds(max_age), _LONGEST_AGE)) if isinstance(max_age, str) else max_age,
    )
