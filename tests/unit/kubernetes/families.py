"""Golden families as inputs of other tests: change an object, translate, and look at what came of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.unit.kubernetes.manifests import objects
from torana.config.kubernetes.objects import Object, Options, Translation
from torana.config.kubernetes.translate import translate
from torana.model.backend import BackendRef

_GOLDEN = Path(__file__).parents[2] / "golden" / "kubernetes"


def family(name: str) -> list[Object]:
    """The objects of a golden family."""
    return objects((_GOLDEN / name / "full.yaml").read_text())


def changed(
    objs: list[Object], kind: str, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Translation:
    """All the objects with one of them changed, translated."""
    (one,) = (each for each in objs if (each.kind, each.name) == (kind, name))
    another = msgspec.structs.replace(one, body=change(one.body))
    return translate([another if each is one else each for each in objs], Options())


def status(made: Translation, kind: str, name: str) -> dict[str, Any]:
    """Of the one object of this kind and name."""
    (found,) = (each for each in made.statuses if (each.kind, each.name) == (kind, name))
    return found.status


def conditions(value: Any) -> Iterator[dict[str, Any]]:
    """All conditions of a status: its own, and those of its listeners, parents or ancestors."""
    if isinstance(value, dict):
        yield from value.get("conditions", ())
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, dict | list):
            yield from conditions(inner)


def told(made: Translation, kind: str, name: str) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {each["type"]: (each["status"], each["reason"]) for each in conditions(status(made, kind, name))}


def backends(made: Translation, route: str) -> tuple[BackendRef, ...]:
    """Of the one route of this name, over all ports."""
    (found,) = (
        each
        for bind in made.config.binds
        for listener in bind.listeners
        for each in listener.routes
        if each.name == route
    )
    return found.backends
