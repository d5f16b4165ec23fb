"""How backends are reached, from the file's words to the model's: TLS, credentials, and the connections themselves."""

from __future__ import annotations

from torana.config.duration import seconds
from torana.config.resolve import credential
from torana.config.standalone.files import Files
from torana.config.standalone.schema import connection as schema
from torana.config.syntax import changed_header_fault, header_name_fault, header_value_fault, host_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.backend import Connecting, ProviderKind
from torana.model.policy import (
    LONGEST_KEEPALIVE,
    MOST_PROBES,
    BackendAuth,
    BackendTls,
    CredentialPlace,
    Keepalive,
)
from torana.model.secret import Secret

_BEARER = "Bearer "


def connecting(policy: schema.BackendTcp, path: Path, findings: Findings) -> Connecting:
    """Without a tunnel, which is a policy of its own."""
    given = policy.keepalives
    return Connecting(
        timeout=_connect_timeout(policy.connect_timeout, (*path, "connectTimeout"), findings),
        keepalive=_keepalive(given, (*path, "keepalives"), findings) if given is not None else Keepalive(),
    )


def _connect_timeout(given: str | schema.Time | None, path: Path, findings: Findings) -> float | None:
    if given is None:
        return None
    timeout = seconds(given) if isinstance(given, str) else given.secs + given.nanos / 1e9
    if not timeout:
        findings.error(path, "leaves no time to connect", "give a duration above 0, or leave it out")
    return timeout


def _keepalive(given: schema.Keepalives, path: Path, findings: Findings) -> Keepalive | None:
    if not given.enabled:
        return None
    for name, text in (("time", given.time), ("interval", given.interval)):
        if not 1 <= seconds(text) <= LONGEST_KEEPALIVE:
            hint = f"give it from 1s to {LONGEST_KEEPALIVE}s, which is about 9 hours"
            findings.error((*path, name), "is more or less than a system counts", hint)
    if given.retries > MOST_PROBES:
        findings.error((*path, "retries"), "is more than a system counts", f"give it up to {MOST_PROBES}")
    return Keepalive(idle=seconds(given.time), interval=seconds(given.interval), probes=given.retries)


# --- TLS ------------------------------------------------------------------------------------------------------------


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


# --- Credentials ----------------------------------------------------------------------------------------------------


def backend_auth(
    policy: schema.BackendAuth, path: Path, kind: ProviderKind | None, findings: Findings, files: Files
) -> BackendAuth | None:
    """None is passthrough: the client's own credential goes on. `kind` says where a key goes that has no location."""
    if policy.key is None:
        return None
    path = (*path, "key")
    if isinstance(policy.key, str):
        return credential(kind, secret_of(policy.key, path, findings, files))
    location = policy.key.location
    if location is None:
        return credential(kind, _bearer(_key_text(policy.key, path, files), path, findings))
    if policy.key.value is None:
        findings.error((*path, "location"), "needs the key as `value`", "write value: {file: ...} in place of file")
    secret = _secret(_key_text(policy.key, path, files), path, findings)
    return _located(secret, location, (*path, "location"), findings)


def secret_of(key: str | schema.KeyFile, path: Path, findings: Findings, files: Files) -> Secret:
    """A key that goes where its provider wants it."""
    text = key if isinstance(key, str) else _key_text(schema.Key(file=key.file), path, files)
    return _bearer(text, path, findings)


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
