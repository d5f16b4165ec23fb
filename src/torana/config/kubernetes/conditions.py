"""Conditions: what a status says of one aspect (Kubernetes API conventions, typical status properties)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.config.kubernetes.objects import Object, Status

ACCEPTED: Final = "Accepted"
RESOLVED: Final = "ResolvedRefs"
PROGRAMMED: Final = "Programmed"
CONFLICTED: Final = "Conflicted"
SUPPORTED_VERSION: Final = "SupportedVersion"

SOME_LISTENERS: Final = "Some listeners are not accepted: "

UNSUPPORTED: Final = "UnsupportedValue"
"""A reason of listeners and of routes: a value that the implementation does not support."""

_LONGEST = 32768  # characters of a message, by the schema of metav1.Condition


class Fault(msgspec.Struct, frozen=True):
    """Why a condition does not hold: a reason of Gateway API, and words for people."""

    reason: str
    message: str


def condition(kind: str, reason: str, message: str, generation: int, status: str = "True") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message[:_LONGEST],
        "observedGeneration": generation,
    }


def judged(kind: str, fault: Fault | None, message: str, generation: int, reason: str = "") -> dict[str, Any]:
    """True with `reason`, which is mostly the type's own name, or False with the fault."""
    if fault is not None:
        return condition(kind, fault.reason, fault.message, generation, "False")
    return condition(kind, reason or kind, message, generation)


def status_of(obj: Object, content: dict[str, Any]) -> Status:
    return Status(obj.api_version, obj.kind, obj.namespace, obj.name, obj.generation, content)
