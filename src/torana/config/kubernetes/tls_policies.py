"""BackendTLSPolicies: which backends are reached over TLS, by whose authority, and which policy wins a conflict.

A policy that cannot be used fails closed: its target is not reached at all, never in plaintext and never with other
authorities than those asked for (Gateway API, BackendTLSPolicy).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from torana.config.kubernetes import conditions
from torana.config.kubernetes.conditions import Fault, judged, status_of
from torana.config.kubernetes.contents import INVALID_CA, authorities
from torana.config.kubernetes.decode import decode_some
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.objects import Key, Object, Status
from torana.config.kubernetes.resources import tls_policy as schema
from torana.config.kubernetes.sections import section_names
from torana.config.kubernetes.store import GATEWAY_API, Store
from torana.config.syntax import host_fault
from torana.model.policy import BackendTls

KIND: Final = "BackendTLSPolicy"
_MOST_ANCESTORS = 16  # BackendTLSPolicy's status.ancestors
_VALID = "Configuration is valid"


class Section(msgspec.Struct, frozen=True):
    """A backend, or a named part of it: a Service's port, a provider. `name` None is the whole."""

    backend: Key
    name: str | None = None


class Ruling(msgspec.Struct, frozen=True):
    """What a policy says, for all its targets. `tls` None: nothing usable. The faults are of its two conditions."""

    policy: Object
    tls: BackendTls | None
    accepted: Fault | None = None
    resolved: Fault | None = None


_UNREAD: Final = Ruling(Object(f"{GATEWAY_API}/v1", KIND, "", "", {}), None)


class TlsPolicies:
    def __init__(self, store: Store, findings: Findings) -> None:
        self._store = store
        self._findings = findings
        self._winners: dict[Section, Ruling] = {}
        self._rulings: list[tuple[Ruling, tuple[Section, ...]]] = []
        for obj in store.all(GATEWAY_API, KIND):
            self._add(obj)

    def ruling(self, backend: Key, section: str | None) -> Ruling | None:
        """Of the policy that holds for a backend; one for the named part comes before one for the whole.

        When policies may not be read there may be one for every backend, and what it asks for is not known.
        """
        if self._store.is_unread(GATEWAY_API, KIND):
            return _UNREAD
        named = self._winners.get(Section(backend, section)) if section is not None else None
        return named or self._winners.get(Section(backend))

    def _add(self, obj: Object) -> None:
        policy = self._store.read(schema.BackendTLSPolicy, obj)
        if policy is None:
            self._fail_unread(obj)
            return
        ruling = self._judge(obj, policy)
        self._hold(ruling, policy.target_refs)
        for fault in (ruling.accepted, ruling.resolved):
            if fault is not None:
                self._findings.error(obj, fault.message)

    def _fail_unread(self, obj: Object) -> None:
        """What its author wanted is not known; that it was TLS is."""
        ruling = Ruling(obj, None, Fault("Invalid", self._store.why(obj)))
        self._hold(ruling, decode_some(schema.TargetRef, obj, "targetRefs"))

    def _hold(self, ruling: Ruling, refs: Iterable[schema.TargetRef]) -> None:
        """The oldest policy comes first, and wins."""
        namespace = ruling.policy.namespace
        sections = tuple(Section(Key(ref.group, ref.kind, namespace, ref.name), ref.section_name) for ref in refs)
        self._rulings.append((ruling, sections))
        for section in sections:
            self._winners.setdefault(section, ruling)

    def _judge(self, obj: Object, policy: schema.BackendTLSPolicy) -> Ruling:
        rules = policy.validation
        if host_fault(rules.hostname) is not None:
            return Ruling(obj, None, Fault("Invalid", f'spec.validation.hostname "{rules.hostname}" is no host name'))
        names = tuple(_name(each) for each in rules.subject_alt_names)
        if not all(names):
            return Ruling(obj, None, Fault("Invalid", "each of spec.validation.subjectAltNames needs its own value"))
        if bool(rules.ca_certificate_refs) == (rules.well_known_ca_certificates is not None):
            what = "spec.validation needs exactly one of caCertificateRefs and wellKnownCACertificates"
            return Ruling(obj, None, Fault("Invalid", what))
        tls = BackendTls(hostname=rules.hostname.lower(), subject_alt_names=names)
        if rules.well_known_ca_certificates == "System":
            return Ruling(obj, tls)
        if rules.well_known_ca_certificates is not None:
            what = f'wellKnownCACertificates "{rules.well_known_ca_certificates}" is not known; use System'
            return Ruling(obj, None, Fault("Invalid", what))
        return self._with_roots(obj, policy, tls)

    def _with_roots(self, obj: Object, policy: schema.BackendTLSPolicy, tls: BackendTls) -> Ruling:
        """Some bad references are told; when all are bad, nothing is left to trust."""
        roots: list[str] = []
        resolved: Fault | None = None
        for ref in policy.validation.ca_certificate_refs:
            found = authorities(self._store, Key(ref.group, ref.kind, obj.namespace, ref.name))
            if isinstance(found, Fault):
                resolved = resolved or found
            else:
                roots.append(found.strip() + "\n")
        if not roots:
            resolved = resolved or Fault(INVALID_CA, "no CA certificate")
            return Ruling(obj, None, Fault("NoValidCACertificate", resolved.message), resolved)
        return Ruling(obj, msgspec.structs.replace(tls, roots="".join(roots)), None, resolved)

    # Status

    def statuses(self, ancestors: dict[Key, set[Key]], controller: str) -> Iterable[Status]:
        """`ancestors`: the Gateways whose routes lead to a backend, by the backend."""
        for ruling, sections in self._rulings:
            gateways = sorted({gateway for section in sections for gateway in ancestors.get(section.backend, ())})
            lost = [section for section in sections if self._winners[section].policy is not ruling.policy]
            missing = [words for section in sections if (words := self._absence(section)) is not None]
            for words in missing:
                self._findings.warning(ruling.policy, words)
            accepted = self._accepted(ruling, lost, missing)
            if lost:
                self._findings.warning(ruling.policy, accepted.message if accepted else "")
            generation = ruling.policy.generation
            content = [
                judged(conditions.ACCEPTED, accepted, _VALID, generation),
                judged(conditions.RESOLVED, ruling.resolved, _VALID, generation),
            ]
            entries = [_ancestor(gateway, controller, content) for gateway in gateways[:_MOST_ANCESTORS]]
            yield status_of(ruling.policy, {"ancestors": entries})

    def _absence(self, section: Section) -> str | None:
        """Words for a target, or a part of one, that is not there: it would else stay in plaintext unseen."""
        obj = self._store.get(section.backend)
        if obj is None:
            return f"target {section.backend} not found"
        names = section_names(obj, self._store) if section.name is not None else None
        if names is None or section.name in names:
            return None
        part = "port" if obj.kind == "Service" else "provider"
        return f'target {section.backend} has no {part} named "{section.name}"'

    def _accepted(self, ruling: Ruling, lost: list[Section], missing: list[str]) -> Fault | None:
        if lost:
            winner = self._winners[lost[0]].policy
            what = f"policy {winner.namespace}/{winner.name} matches the same target but with higher priority"
            return Fault("Conflicted", what)
        if ruling.accepted is not None:
            return ruling.accepted
        return Fault("TargetNotFound", missing[0]) if missing else None


def _name(alternative: schema.SubjectAltName) -> str:
    """Host names are compared in lower case, URIs as they are written; empty when it is missing."""
    if alternative.type == "Hostname":
        return (alternative.hostname or "").lower()
    return alternative.uri or ""


def _ancestor(gateway: Key, controller: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    ref = {"group": gateway.group, "kind": gateway.kind, "namespace": gateway.namespace, "name": gateway.name}
    return {"ancestorRef": ref, "controllerName": controller, "conditions": content}
