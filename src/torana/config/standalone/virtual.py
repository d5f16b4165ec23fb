"""The file's virtual models: names that stand for other models, each resolved to the backends it can lead to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from torana.config.standalone.decode import nearest
from torana.config.standalone.expression import check_conditions
from torana.config.standalone.schema import llm as schema
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.backend import Backend, BackendRef, alone
from torana.model.route import ModelRoute, ValueMatch
from torana.policies.expression import Sees


class Entry(NamedTuple):
    """A model that is one: its name, which may have a `*`, and the backend it leads to, None where that is wrong."""

    name: str
    path: Path
    public: bool
    matches: tuple[tuple[ValueMatch, ...], ...]
    backend: Backend | None


def virtual_models(
    written: tuple[schema.VirtualModel, ...], entries: Sequence[Entry], path: Path, findings: Findings
) -> list[ModelRoute]:
    virtual = _Virtual(written, entries, findings)
    return [route for index, model in enumerate(written) for route in virtual.routes(model, (*path, index))]


class _Virtual:
    def __init__(self, written: tuple[schema.VirtualModel, ...], entries: Sequence[Entry], findings: Findings) -> None:
        self._virtual = {model.name for model in written}
        self._entries = entries
        self._findings = findings
        self._names: dict[str, Path] = {entry.name: entry.path for entry in entries}

    def routes(self, model: schema.VirtualModel, path: Path) -> list[ModelRoute]:
        self._check_name(model.name, path)
        routing, here = model.routing, (*path, "routing")
        if routing.weighted is not None:
            refs = self._weighted(routing.weighted, (*here, "weighted", "targets"))
            return [ModelRoute(model.name, refs, virtual=True)]
        if routing.failover is not None:
            refs = self._failover(routing.failover, (*here, "failover", "targets"))
            return [ModelRoute(model.name, refs, virtual=True)]
        targets = routing.conditional.targets if routing.conditional is not None else ()
        return self._conditional(model.name, targets, (*here, "conditional", "targets"))

    def _check_name(self, name: str, path: Path) -> None:
        here = (*path, "name")
        if "*" in name:
            self._findings.error(here, f"{self._findings.quote(here, name)} has a `*`", "give it one exact name")
        other = self._names.setdefault(name, path)
        if other != path:
            what = f"{other[-2]}[{other[-1]}] has this name already"
            self._findings.error(here, what, "a name is that of a model or of a virtual one")

    # What it stands for

    def _weighted(self, written: schema.Weighted, path: Path) -> tuple[BackendRef, ...]:
        found = [(self._target(each.model, (*path, i)), each.weight) for i, each in enumerate(written.targets)]
        if not any(weight for _, weight in found):
            self._findings.error(path, "no target has a weight above 0", "give one a weight")
        return tuple(alone(backend, weight) for backend, weight in found if backend is not None)

    def _failover(self, written: schema.Failover, path: Path) -> tuple[BackendRef, ...]:
        groups: dict[int, list[Backend]] = {}
        for index, each in enumerate(written.targets):
            backend = self._target(each.model, (*path, index))
            if backend is not None:
                groups.setdefault(each.priority, []).append(backend)
        if not written.targets:
            self._findings.error(path, "lists no model", "give it some")
        return (BackendRef(tuple(tuple(groups[priority]) for priority in sorted(groups))),)

    def _conditional(self, name: str, targets: tuple[schema.ConditionalTarget, ...], path: Path) -> list[ModelRoute]:
        check_conditions([each.when for each in targets], path, self._findings, Sees.CALL, "when")
        found = [(self._target(each.model, (*path, index)), each.when) for index, each in enumerate(targets)]
        return [
            ModelRoute(name, (alone(backend),), condition=when, virtual=True)
            for backend, when in found
            if backend is not None
        ]

    # Its targets

    def _target(self, name: str, path: Path) -> Backend | None:
        """The backend of a model, asked for that model; None when there is none, which is reported."""
        here = (*path, "model")
        entries = [entry for entry in self._ordered() if _fits(entry.name, name)]
        entry = next((entry for entry in entries if () in entry.matches), None)
        if entry is None and entries:
            what = (
                f"{self._findings.quote(here, name)} has `matches`, which a virtual model's calls are not held against"
            )
            self._findings.error(here, what, "give `llm.models` one of that name without `matches`")
        elif entry is None:
            self._missing(name, here)
        if entry is None:
            return None
        if entry.backend is None or entry.backend.provider is None:
            return None
        provider = entry.backend.provider
        if "*" not in entry.name:
            return entry.backend
        # One of several behind a pattern: its health is its own, and so is its name.
        return replace(entry.backend, name=name, provider=replace(provider, model=provider.model or name))

    def _ordered(self) -> list[Entry]:
        """As calls are matched: exact names first, then patterns by how much of the name they spell out."""
        return sorted(self._entries, key=lambda entry: ("*" in entry.name, -len(entry.name)))

    def _missing(self, name: str, path: Path) -> None:
        quoted = self._findings.quote(path, name)
        if name in self._virtual:
            self._findings.error(path, f"{quoted} is a virtual model itself", "name one of `llm.models`")
        else:
            known = [entry.name for entry in self._entries if not self._findings.hides((*entry.path, "name"))]
            meant = None if self._findings.hides(path) else nearest(name, known)
            hint = f'did you mean "{meant}"?' if meant else "give `llm.models` one of that name"
            self._findings.error(path, f"{quoted} is no model", hint)


def _fits(pattern: str, name: str) -> bool:
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == name
    return len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail)
