"""What a reload changed, in a few words for the log: `+1 route, ~1 backend, -2 listeners`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import msgspec

from torana.model.backend import BackendRef
from torana.model.config import Config


class _Thing(NamedTuple):
    """Something with a name, without what is counted by itself inside it."""

    kind: str
    key: Hashable
    content: object


def describe(old: Config, new: Config) -> str:
    """`+` is new, `~` changed, `-` gone; `no change` when the two are equal, `another order` when only that differs."""
    before, after = _index(old), _index(new)
    counts: Counter[tuple[str, str]] = Counter()
    for key in dict.fromkeys((*before, *after)):
        if key not in before:
            counts["+", key[0]] += 1
        elif key not in after:
            counts["-", key[0]] += 1
        elif before[key] != after[key]:
            counts["~", key[0]] += 1
    words = [
        f"{sign}{count} {kind}{'s' if count > 1 else ''}"
        for sign in "+~-"
        for (s, kind), count in counts.items()
        if s == sign
    ]
    words += [f"~{name}" for name in ("limits", "settings") if getattr(old, name) != getattr(new, name)]
    if not words and old != new:
        return "another order"
    return ", ".join(words) or "no change"


def _index(config: Config) -> dict[tuple[str, Hashable, int], object]:
    """By kind, name, and a number that tells things of one name apart."""
    seen: Counter[tuple[str, Hashable]] = Counter()
    index: dict[tuple[str, Hashable, int], object] = {}
    for thing in _things(config):
        index[thing.kind, thing.key, seen[thing.kind, thing.key]] = thing.content
        seen[thing.kind, thing.key] += 1
    return index


def _things(config: Config) -> Iterator[_Thing]:
    for bind in config.binds:
        for listener in bind.listeners:
            here = (bind.port, listener.name)
            yield _Thing("listener", here, msgspec.structs.replace(listener, routes=()))
            for route in listener.routes:
                shares = tuple((_name(ref), ref.weight) for ref in route.backends)
                bare = msgspec.structs.replace(route, backends=(), models=())
                yield _Thing("route", (*here, route.name), (bare, shares))
                for model in route.models:
                    yield _Thing("model", (*here, route.name, model.name), model)
                for ref in route.backends:
                    for backend in ref.backends:
                        yield _Thing("backend", (*here, route.name, backend.name), backend)


def _name(ref: BackendRef) -> str:
    return " > ".join(", ".join(backend.name for backend in group) for group in ref.groups) or "(missing)"
