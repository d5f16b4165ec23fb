"""Gateway API: BackendTLSPolicy, v1 and v1alpha3, which have the same fields (apis/v1/backendtlspolicy_types.go)."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from torana.config.kubernetes.resources.record import LocalReference, NotYet, Record, Text


class TargetRef(Record, frozen=True, kw_only=True):
    """Always in the policy's own namespace."""

    group: str
    kind: Text
    name: Text
    section_name: str | None = None


class SubjectAltName(Record, frozen=True, kw_only=True):
    type: Literal["Hostname", "URI"]
    hostname: str | None = None
    uri: str | None = None


class Validation(Record, frozen=True, kw_only=True):
    hostname: Text
    ca_certificate_refs: tuple[LocalReference, ...] = msgspec.field(default=(), name="caCertificateRefs")
    well_known_ca_certificates: str | None = msgspec.field(default=None, name="wellKnownCACertificates")
    subject_alt_names: tuple[SubjectAltName, ...] = ()


class BackendTLSPolicy(Record, frozen=True, kw_only=True):
    fails_closed: ClassVar[bool] = True

    target_refs: tuple[TargetRef, ...]
    validation: Validation
    options: NotYet = None
