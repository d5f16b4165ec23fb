"""`torana status`: what a cluster would write into the `.status` of manifests, as a table like kubectl's or whole.

The exit code is for CI: 1 when anything is told as an error, or one of the conditions Accepted, ResolvedRefs and
Programmed is not true, or a route belongs to no Gateway here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import click
import msgspec
import yaml

from torana.cli.serve import give_up
from torana.config.kubernetes.manifests import Examined, Manifests, Reading
from torana.config.kubernetes.objects import Key, Object, Status
from torana.config.kubernetes.schemas import GATEWAY_API
from torana.config.problem import ConfigError, Severity

_WATCHED = ("Accepted", "ResolvedRefs", "Programmed")
_KINDS = ("GatewayClass", "Gateway", "HTTPRoute", "BackendTLSPolicy", "Backend", "AgentgatewayBackend")
"""Those that have a status of ours."""
_PARTS = ("listeners", "parents", "ancestors")
"""The lists of a status whose entries have conditions of their own."""
_NO_PARENT = "no Gateway here takes it; write the one it names, or give --implicit-gateway 8080"


class Output(Enum):
    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


class Row(msgspec.Struct, frozen=True):
    """One object; `conditions` are those of _WATCHED, `-` where it has none.

    `message` says what is wrong, or, of what `is_others`, whose it is.
    """

    key: Key
    conditions: tuple[str, ...]
    message: str = ""
    is_others: bool = False

    @property
    def is_good(self) -> bool:
        fits = all(condition in ("True", "-") for condition in self.conditions)
        return fits and (self.is_others or not self.message)


def status(reading: Reading, output: Output) -> None:
    """Exit 1 when anything is not as it should be."""
    try:
        examined = Manifests(reading).examine()
    except ConfigError as error:
        give_up(error)
    for warning in examined.warnings:
        click.echo(str(warning), err=True)
    rows = list(_rows(examined))
    match output:
        case Output.TABLE:
            click.echo("\n".join(_table(rows)))
            places = ", ".join(bind.places for bind in examined.translation.config.binds)
            click.echo(f"listens on {places}" if places else "listens nowhere: there is no Gateway", err=True)
        case Output.YAML:
            click.echo(yaml.safe_dump(_list(examined.translation.statuses), sort_keys=False, width=120), nl=False)
        case Output.JSON:
            listed = msgspec.json.encode(_list(examined.translation.statuses))
            click.echo(msgspec.json.format(listed, indent=2).decode())
    # A policy that no Gateway leads to has no condition to say what is wrong with it.
    errors = any(problem.severity is Severity.ERROR for problem in examined.warnings)
    sys.exit(1 if errors or not all(row.is_good for row in rows) else 0)


def _rows(examined: Examined) -> Iterator[Row]:
    """In the order of the files; what was supplied by ourselves comes last."""
    statuses = {_key(status): status for status in examined.translation.statuses}
    objects = {found.key: found for found in examined.objects}
    written = [found.key for found in examined.objects if found.kind in _KINDS]
    for key in dict.fromkeys([*written, *statuses]):
        found = statuses.get(key)
        conditions = list(_conditions(found.status)) if found is not None else []
        wrong = next((each for each in conditions if each["type"] in _WATCHED and each["status"] != "True"), None)
        message = f"{wrong['reason']}: {wrong.get('message', '')}".rstrip(": ") if wrong else ""
        if key.kind == "HTTPRoute" and not conditions:
            message = _parents(objects[key], objects) or _NO_PARENT
        is_others = key.kind == "Gateway" and found is None
        if is_others:
            message = _owner(objects[key], objects)
        yield Row(key, tuple(_worst(conditions, kind) for kind in _WATCHED), " ".join(message.split()), is_others)


def _parents(route: Object, objects: Mapping[Key, Object]) -> str:
    """Those of its Gateways that are here, and others'."""
    refs = (ref for ref in route.spec.get("parentRefs", ()))
    keys = (Key(GATEWAY_API, "Gateway", ref.get("namespace") or route.namespace, ref.get("name", "")) for ref in refs)
    return "; ".join(f"{key} {_owner(objects[key], objects)}" for key in dict.fromkeys(keys) if key in objects)


def _owner(gateway: Object, objects: Mapping[Key, Object]) -> str:
    name = gateway.spec.get("gatewayClassName")
    described = objects.get(Key(GATEWAY_API, "GatewayClass", "", str(name)))
    if described is None:
        return f'has class "{name}", which is not ours; --class-name {name} would make it so'
    controller = described.spec.get("controllerName")
    return f'has class "{name}" of controller {controller}; --controller-name {controller} would make it ours'


def _key(status: Status) -> Key:
    group, _, _ = status.api_version.rpartition("/")
    return Key(group, status.kind, status.namespace, status.name)


def _conditions(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of the object itself, and of its listeners, or its parents or ancestors."""
    yield from status.get("conditions", ())
    for part in _PARTS:
        for entry in status.get(part, ()):
            yield from entry.get("conditions", ())


def _worst(conditions: Iterable[dict[str, Any]], kind: str) -> str:
    found = [condition["status"] for condition in conditions if condition["type"] == kind]
    return next((each for each in found if each != "True"), found[0] if found else "-")


def _table(rows: list[Row]) -> Iterator[str]:
    head = ("KIND", "NAMESPACE", "NAME", "ACCEPTED", "RESOLVEDREFS", "PROGRAMMED", "MESSAGE")
    lines = [head, *((row.key.kind, row.key.namespace, row.key.name, *row.conditions, row.message) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        yield "   ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()


def _list(statuses: Iterable[Status]) -> dict[str, Any]:
    """As `kubectl get -o yaml` lists objects, with nothing in them but what a status says of them."""
    items = []
    for each in statuses:
        metadata = {"name": each.name, **({"namespace": each.namespace} if each.namespace else {})}
        object_ = {"apiVersion": each.api_version, "kind": each.kind, "metadata": metadata, "status": each.status}
        items.append(msgspec.to_builtins(object_))
    return {"apiVersion": "v1", "kind": "List", "items": items}
