"""Admission: what an API server checks before it stores an object, done for the objects of files.

Kind and version, metadata, structure with defaults, then the CEL rules; the values of Secrets on the way. An object is
refused for any fault, and the faults of all objects are told together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torana.config.kubernetes import rules, secrets
from torana.config.kubernetes.documents import Manifest
from torana.config.kubernetes.objects import Object
from torana.config.kubernetes.schemas import KnownKind, is_ours, known, metadata_schema
from torana.config.kubernetes.structural import check
from torana.config.problem import Problem, Severity

DEFAULT_NAMESPACE = "default"
_SHARED = frozenset({"apiVersion", "kind", "metadata", "status"})
"""What all kinds have: metadata is checked by a schema of its own, and a status is for the cluster to write."""


class Admission:
    """Takes Manifests one by one. `problems` are all that was found, `objects` those without a fault."""

    def __init__(self, namespace: str = DEFAULT_NAMESPACE, env: Mapping[str, str] | None = None) -> None:
        """`namespace` is that of objects which name none; `env` None leaves the variables of Secrets alone."""
        self._namespace = namespace
        self._env = env
        self._skipped: set[tuple[str, str]] = set()
        self.objects: list[Object] = []
        self.problems: list[Problem] = []

    def take(self, manifest: Manifest) -> None:
        kind = self._kind(manifest)
        if kind is None:
            return
        metadata, faults = check(manifest.body.get("metadata") or {}, metadata_schema(), ("metadata",))
        own = {name: part for name, part in manifest.body.items() if name not in _SHARED}
        value, own_faults = check(own, kind.schema)
        # Rules are evaluated only on what has the right structure, which they presume.
        faults += own_faults or rules.broken(value, kind.schema)
        problems = [manifest.problem(fault.path, fault.what, fault.hint) for fault in faults]
        if kind.kind == "Secret" and not problems:
            value, problems = secrets.stored(manifest, self._env)
        self.problems += problems
        if all(problem.severity is Severity.WARNING for problem in problems):
            self._admit(manifest, kind, {**manifest.body, **value}, metadata)

    def _kind(self, manifest: Manifest) -> KnownKind | None:
        """What the object is, when that is known and read here."""
        version, name = manifest.body.get("apiVersion"), manifest.body.get("kind")
        if not isinstance(version, str) or not version or not isinstance(name, str) or not name:
            hint = "an object has apiVersion, kind and metadata"
            self.problems.append(manifest.problem((), "apiVersion or kind is missing", hint))
            return None
        group, _, short = version.rpartition("/")
        kind = known(group, name)
        if kind is None:
            self._skip(manifest, group, name)
        elif short not in kind.versions:
            hint = f"it is served as {', '.join(f'{group}/{served}' if group else served for served in kind.versions)}"
            self.problems.append(manifest.problem(("apiVersion",), f'no version "{short}" of this kind', hint))
        else:
            return kind
        return None

    def _skip(self, manifest: Manifest, group: str, kind: str) -> None:
        """One warning a kind."""
        if (group, kind) not in self._skipped:
            self._skipped.add((group, kind))
            what = f"{kind} is not supported yet; it is passed over" if is_ours(group) else f"{kind} is passed over"
            self.problems.append(manifest.problem(("kind",), what, severity=Severity.WARNING))

    def _admit(self, manifest: Manifest, kind: KnownKind, body: dict[str, Any], metadata: dict[str, Any]) -> None:
        namespace = (metadata.get("namespace") or self._namespace) if kind.namespaced else ""
        given = {name: part for name, part in body.items() if part is not None}
        full = {**given, "metadata": {**metadata, "namespace": namespace}}
        self.objects.append(Object(body["apiVersion"], kind.kind, namespace, metadata["name"], full, manifest.place))
