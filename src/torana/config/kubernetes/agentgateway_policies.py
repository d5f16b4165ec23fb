"""The policies of an AgentgatewayBackend: whom it trusts and how it is asked, and when it is left alone for a while."""

from __future__ import annotations

from torana.config.kubernetes import durations
from torana.config.kubernetes.conditions import Fault
from torana.config.kubernetes.contents import TOKEN_KEY, authorities, bare_token, certificate, token
from torana.config.kubernetes.drafts import glued, header_credential
from torana.config.kubernetes.objects import Key
from torana.config.kubernetes.resources import agentgateway as schema
from torana.config.kubernetes.resources.record import LocalReference
from torana.config.kubernetes.store import Store
from torana.config.resolve import credential
from torana.config.syntax import header_name_fault, header_value_fault, host_fault
from torana.model.backend import ProviderKind
from torana.model.policy import (
    LONGEST_KEEPALIVE,
    BackendAuth,
    BackendTls,
    CredentialPlace,
    Eviction,
    Health,
    Keepalive,
)
from torana.model.secret import Secret
from torana.policies.expression import expression_fault


class Trouble(Exception):  # noqa: N818 - the backend's, told in its status; no error of the program
    """A backend that cannot be used; its text is for the status."""


def auth(
    written: schema.Auth | None, kind: ProviderKind | None, store: Store, namespace: str, warnings: list[str]
) -> BackendAuth | None:
    """None: the client's own credential goes on. A key without a location goes where its provider wants it.

    Raises Trouble.
    """
    if written is None:
        return None
    given = [each for each in (written.key, written.secret_ref, written.passthrough) if each is not None]
    if len(given) > 1:
        raise Trouble("policies.auth: at most one of key, secretRef and passthrough may be set")
    if not given:
        if written.location is not None:
            raise Trouble("policies.auth: location needs one of key, secretRef and passthrough")
        return None
    if written.passthrough is not None:
        if written.location is not None:
            warnings.append("policies.auth.location has no effect with passthrough yet")
        return None
    found = _token(written, store, namespace)
    if written.location is None:
        return credential(kind, found)
    return _placed(found, written.location, warnings)


def _token(written: schema.Auth, store: Store, namespace: str) -> Secret:
    ref = written.secret_ref
    if ref is None:
        made = bare_token(written.key or "")
        if not made.reveal() or header_value_fault(made.reveal()) is not None:
            raise Trouble("policies.auth.key is empty, or has characters that no header can carry")
        return made
    if ref.group or ref.kind not in {"", "Secret"}:
        raise Trouble(f'policies.auth.secretRef: kind "{ref.group}/{ref.kind}" is not supported; use a Secret')
    found = token(store, namespace, ref.name, ref.key or TOKEN_KEY)
    if isinstance(found, Fault):
        raise Trouble(found.message)
    return found


def _placed(found: Secret, location: schema.Location, warnings: list[str]) -> BackendAuth:
    """A header without a prefix holds the token alone; only the default place says `Bearer`."""
    places = [each for each in (location.header, location.query_parameter, location.cookie) if each is not None]
    if len(places) != 1:
        raise Trouble("policies.auth.location: exactly one of header, queryParameter and cookie must be set")
    if location.header is not None:
        if (remark := glued(location.header.prefix)) is not None:
            warnings.append(remark)
        made = header_credential(found, location.header.name, location.header.prefix or "")
        if isinstance(made, str):
            raise Trouble(f"policies.auth.location: {made}")
        return made
    if location.query_parameter is not None:
        return BackendAuth(found, CredentialPlace.QUERY, location.query_parameter.name, "")
    name = location.cookie.name if location.cookie is not None else ""
    if header_name_fault(name) is not None:  # RFC 6265, section 4.1.1: a cookie's name is a token
        raise Trouble(f'policies.auth.location: "{name}" is no cookie name')
    return BackendAuth(found, CredentialPlace.COOKIE, name, "")


def tls(written: schema.Tls, store: Store, namespace: str, warnings: list[str]) -> BackendTls:
    """`{}` trusts the system's authorities. Raises Trouble."""
    if written.sni is not None and host_fault(written.sni) is not None:
        raise Trouble(f'policies.tls.sni "{written.sni}" is no host name')
    if written.alpn_protocols and "http/1.1" not in written.alpn_protocols:
        raise Trouble("policies.tls.alpnProtocols: HTTP/2 to a backend is not supported yet; add http/1.1")
    if written.insecure_skip_verify is not None:
        warnings.append(f"insecureSkipVerify {written.insecure_skip_verify}: who answers is not checked")
    client = _client(written.mtls_certificate_ref, store, namespace)
    return BackendTls(
        hostname=written.sni.lower() if written.sni is not None else None,
        roots=_roots(written.ca_certificate_refs, store, namespace),
        cert=client[0] if client is not None else None,
        key=client[1] if client is not None else None,
        insecure=written.insecure_skip_verify == "All",
        insecure_host=written.insecure_skip_verify == "Hostname",
        subject_alt_names=written.verify_subject_alt_names,
    )


def _roots(refs: tuple[LocalReference, ...], store: Store, namespace: str) -> str | None:
    if not refs:
        return None
    if len(refs) > 1:
        raise Trouble("policies.tls.caCertificateRefs: at most one is supported")
    found = authorities(store, Key(refs[0].group, refs[0].kind or "ConfigMap", namespace, refs[0].name))
    if isinstance(found, Fault):
        raise Trouble(found.message)
    return found.strip() + "\n"


def _client(refs: tuple[LocalReference, ...], store: Store, namespace: str) -> tuple[str, Secret] | None:
    if not refs:
        return None
    if len(refs) > 1:
        raise Trouble("policies.tls.mtlsCertificateRef: at most one is supported")
    found = certificate(store, namespace, refs[0].name)
    if isinstance(found, Fault):
        raise Trouble(found.message)
    return found.cert, found.key


# --- Health and connections -----------------------------------------------------------------------------------------


def health(written: schema.Health | None) -> Health | None:
    """Raises Trouble."""
    if written is None:
        return None
    unhealthy = written.unhealthy_condition
    if unhealthy is not None and (fault := expression_fault(unhealthy)) is not None:
        raise Trouble(f'policies.health.unhealthyCondition "{unhealthy}": {fault}')
    return Health(unhealthy, _eviction(written.eviction) if written.eviction is not None else Eviction())


def _eviction(written: schema.Eviction) -> Eviction:
    """Half-open: what comes back without a health of its own comes back well, for one request has shown that it is."""
    usual = Eviction()
    length = _seconds("health.eviction.duration", written.duration) or 0.0
    if length < 1:
        raise Trouble("policies.health.eviction.duration must be at least 1 second")
    failures = written.consecutive_failures
    if failures is None and written.health_threshold is None:
        failures = usual.consecutive_failures
    restored = written.restore_health
    return Eviction(
        consecutive_failures=max(1, failures) if failures is not None else None,
        health_threshold=written.health_threshold / 100 if written.health_threshold is not None else None,
        duration=length,
        max_duration=max(usual.max_duration, length),
        restore_health=restored / 100 if restored is not None else usual.restore_health,
    )


def request_timeout(written: schema.Http | None) -> float | None:
    """Raises Trouble."""
    if written is None:
        return None
    if written.version == "HTTP2":
        raise Trouble("policies.http.version: HTTP/2 to a backend is not supported yet; use HTTP1")
    return _seconds("http.requestTimeout", written.request_timeout)


def connect_timeout(written: schema.Tcp | None) -> float | None:
    """Raises Trouble."""
    return _seconds("tcp.connectTimeout", written.connect_timeout) if written is not None else None


def keepalive(written: schema.Tcp | None) -> Keepalive:
    """Raises Trouble."""
    if written is None or written.keepalive is None:
        return Keepalive()
    given = written.keepalive
    idle, interval = _seconds("tcp.keepalive.time", given.time), _seconds("tcp.keepalive.interval", given.interval)
    if idle is None or interval is None or min(idle, interval) < 1 or max(idle, interval) > LONGEST_KEEPALIVE:
        raise Trouble(f"policies.tcp.keepalive: time and interval must be 1 to {LONGEST_KEEPALIVE} seconds")
    return Keepalive(idle, interval, given.retries)


def _seconds(field: str, text: str | None) -> float | None:
    """A duration of zero is none."""
    if text is None:
        return None
    try:
        return durations.seconds(f"policies.{field}", text) or None
    except ValueError as error:
        raise Trouble(str(error)) from error
