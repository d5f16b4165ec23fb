"""The file's policies as the model's, with what only their meaning can tell to be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torana.config.duration import seconds
from torana.config.resolve import UnresolvableError, check_authority
from torana.config.standalone.files import Files
from torana.config.standalone.schema import policies as schema
from torana.config.syntax import changed_header_fault, header_name_fault, header_value_fault, host_fault, path_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.policy import (
    Authority,
    AuthorityKind,
    BackendAuth,
    BackendTls,
    Cors,
    CredentialPlace,
    DirectResponse,
    HeaderModifier,
    PathKind,
    PathRule,
    Redirect,
    RoutePolicies,
    Timeout,
)
from torana.model.secret import Secret

_REDIRECTS = (301, 302, 303, 307, 308)
"""Gateway API, HTTPRequestRedirectFilter, and 303 and 307 of RFC 9110, section 15.4."""

_BEARER = "Bearer "


def route_policies(policies: schema.RoutePolicies, path: Path, findings: Findings) -> RoutePolicies:
    """What stays with the route; where requests go and with which credential is baked into its backends."""
    return RoutePolicies(
        cors=_cors(policies.cors, (*path, "cors"), findings) if policies.cors else None,
        request_headers=headers(policies.request_header_modifier, (*path, "requestHeaderModifier"), findings),
        redirect=redirect(policies.request_redirect, (*path, "requestRedirect"), findings),
        direct_response=_direct_response(policies.direct_response, (*path, "directResponse"), findings),
        response_headers=headers(policies.response_header_modifier, (*path, "responseHeaderModifier"), findings),
        timeout=_timeout(policies.timeout) if policies.timeout else None,
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


def _direct_response(policy: schema.DirectResponse | None, path: Path, findings: Findings) -> DirectResponse | None:
    if policy is None:
        return None
    pairs = _pairs(policy.headers, (*path, "headers"), changed_header_fault, findings)
    return DirectResponse(policy.status, policy.body, pairs)


def _timeout(policy: schema.Timeout) -> Timeout:
    """Gateway API, HTTPRouteTimeouts: a duration of zero is no timeout."""
    return Timeout(request=_bound(policy.request_timeout), backend_request=_bound(policy.backend_request_timeout))


def _bound(text: str | None) -> float | None:
    return (seconds(text) or None) if text is not None else None


def _cors(policy: schema.Cors, path: Path, findings: Findings) -> Cors:
    if policy.allow_credentials and "*" in policy.allow_origins:
        what = "with allowCredentials, every web page may call this route as whoever is looking at it"
        findings.warning((*path, "allowOrigins"), what, "list the origins that may, or leave allowCredentials out")
    max_age = policy.max_age
    return Cors(
        allow_origins=policy.allow_origins,
        allow_methods=policy.allow_methods,
        allow_headers=policy.allow_headers,
        expose_headers=policy.expose_headers,
        allow_credentials=policy.allow_credentials,
        max_age=int(seconds(max_age)) if isinstance(max_age, str) else max_age,
    )


# --- Towards a backend ----------------------------------------------------------------------------------------------


def backend_tls(policy: schema.BackendTls, path: Path, findings: Findings, files: Files) -> BackendTls:
    for given, other in (("cert", "key"), ("key", "cert")):
        if getattr(policy, given) is not None and getattr(policy, other) is None:
            findings.error((*path, given), f"a client certificate needs `{other}` as well")
    cert = files.certificates(policy.cert, (*path, "cert")) if policy.cert is not None else None
    key = files.key(policy.key, (*path, "key"), cert) if policy.key is not None else None
    # HTTP/1.1 is what is always offered, so `alpn` says nothing more: rules that differ only in it share a pool.
    if policy.alpn is not None and "http/1.1" not in policy.alpn:
        hint = "add http/1.1 to the list, or leave alpn out"
        findings.error((*path, "alpn"), "HTTP/2 to a backend is not supported yet", hint)
    if policy.hostname is not None:
        findings.fault((*path, "hostname"), policy.hostname, host_fault(policy.hostname))
    if policy.insecure or policy.insecure_host:
        which = "insecureHost" if policy.insecure_host else "insecure"
        findings.warning((*path, which), "who answers is not checked: anyone on the way can read what is sent")
    return BackendTls(
        hostname=policy.hostname,
        roots=files.certificates(policy.root, (*path, "root")) if policy.root is not None else None,
        cert=cert,
        key=Secret(key) if key is not None else None,
        insecure=policy.insecure and not policy.insecure_host,
        insecure_host=policy.insecure_host,
        subject_alt_names=policy.subject_alt_names,
    )


def backend_auth(policy: schema.BackendAuth, path: Path, findings: Findings, files: Files) -> BackendAuth | None:
    """None is passthrough: the client's own credential goes on."""
    if policy.key is None:
        return None
    path = (*path, "key")
    if isinstance(policy.key, str):
        return BackendAuth(_bearer(policy.key, path, findings))
    location = policy.key.location
    if location is None:
        return BackendAuth(_bearer(_key_text(policy.key, path, files), path, findings))
    if policy.key.value is None:
        findings.error((*path, "location"), "needs the key as `value`", "write value: {file: ...} in place of file")
    secret = _secret(_key_text(policy.key, path, files), path, findings)
    return _located(secret, location, (*path, "location"), findings)


def _located(secret: Secret, location: schema.KeyLocation, path: Path, findings: Findings) -> BackendAuth:
    if location.header is not None:
        name, prefix = location.header.name, location.header.prefix
        findings.fault((*path, "header", "name"), name, changed_header_fault(name))
        findings.fault((*path, "header", "prefix"), prefix, header_value_fault(prefix))
        return BackendAuth(secret, CredentialPlace.HEADER, name.lower(), prefix)
    if location.query_parameter is not None:
        return BackendAuth(secret, CredentialPlace.QUERY, location.query_parameter.name, "")
    name = location.cookie.name if location.cookie is not None else ""
    # RFC 6265, section 4.1.1: a cookie's name is a token, as a header's is.
    if header_name_fault(name) is not None:
        findings.error(
            (*path, "cookie", "name"), f"{findings.quote((*path, 'cookie', 'name'), name)} is no cookie name"
        )
    return BackendAuth(secret, CredentialPlace.COOKIE, name, "")


def _key_text(key: schema.Key, path: Path, files: Files) -> str | None:
    match key:
        case schema.Key(file=str(file)):
            text = files.text(file, (*path, "file"))
        case schema.Key(value=schema.KeyFile(file=file)):
            text = files.text(file, (*path, "value", "file"))
        case _:
            return key.value if isinstance(key.value, str) else None
    return text.strip() if text is not None else None


def _bearer(text: str | None, path: Path, findings: Findings) -> Secret:
    if text is not None and text.startswith(_BEARER):
        findings.warning(path, "the key begins with `Bearer `, which is put before it anyway", "give the key alone")
    return _secret(text, path, findings)


def _secret(text: str | None, path: Path, findings: Findings) -> Secret:
    if text is None:  # its file could not be read, and that is reported
        return Secret("")
    if not text:
        findings.error(path, "the key is empty", "is its variable or file empty?")
    elif (fault := header_value_fault(text)) is not None or text.strip() != text:
        findings.error(path, f"the key {fault or 'begins or ends with white space'}", "give the key alone, on one line")
    return Secret(text)
