"""Ports that cannot be opened, in the statuses of the Gateways that asked for them.

Translation knows nothing of the machine: whether a port is free turns out when a configuration is put into effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from torana.config.kubernetes.conditions import ACCEPTED, CONFLICTED, PROGRAMMED, RESOLVED, SOME_LISTENERS
from torana.config.kubernetes.objects import Key, Object, Status
from torana.config.kubernetes.store import GATEWAY_API

UNAVAILABLE: Final = "PortUnavailable"
"""Gateway API, ListenerReasonPortUnavailable: the port is already in use, or not to be had at all."""

Condition = dict[str, Any]

_BAD = {ACCEPTED: "False", RESOLVED: "False", CONFLICTED: "True"}


def told(statuses: Iterable[Status], objects: Iterable[Object], closed: Mapping[int, str]) -> tuple[Status, ...]:
    """The statuses with what is true of Gateways whose ports are `closed`, each for the reason given."""
    if not closed:
        return tuple(statuses)
    ports = {found.key: dict(_ports(found)) for found in objects if _is_gateway(found.group, found.kind)}
    return tuple(_told(status, ports, closed) for status in statuses)


def _told(status: Status, ports: Mapping[Key, Mapping[str, int]], closed: Mapping[int, str]) -> Status:
    group = status.api_version.rpartition("/")[0]
    own = ports.get(Key(group, status.kind, status.namespace, status.name), {})
    faults = {name: closed[port] for name, port in own.items() if port in closed}
    if not faults:
        return status

    def of_listener(entry: dict[str, Any]) -> dict[str, Any]:
        why = faults.get(entry["name"])
        if why is None or not _holds(entry, PROGRAMMED):
            return entry
        refused = {"status": "False", "reason": UNAVAILABLE, "message": why}
        return _changed(entry, lambda each: refused if each["type"] in (ACCEPTED, PROGRAMMED) else {})

    listeners = [of_listener(entry) for entry in status.status["listeners"]]
    if listeners == status.status["listeners"]:
        return status  # they do not serve for another reason, which is told
    words = SOME_LISTENERS + "; ".join(f"{name}: {why}" for name, why in _wrong(listeners))
    accepted = any(_holds(entry, ACCEPTED) for entry in listeners)
    verdicts = {
        ACCEPTED: {"reason": "ListenersNotValid", "message": words} | ({} if accepted else {"status": "False"}),
        PROGRAMMED: {}
        if any(_holds(entry, PROGRAMMED) for entry in listeners)
        else {"status": "False", "reason": "Invalid", "message": words},
    }
    whole = _changed(status.status, lambda each: verdicts.get(each["type"], {}))
    return msgspec.structs.replace(status, status={**whole, "listeners": listeners})


def _wrong(listeners: Iterable[Condition]) -> Iterable[tuple[str, str]]:
    """All listeners with what is wrong with each, closed ports among it."""
    for entry in listeners:
        bad = [each for each in entry["conditions"] if each["status"] == _BAD.get(each["type"])]
        if bad:
            yield entry["name"], bad[0]["message"]


def _changed(part: dict[str, Any], change: Callable[[Condition], Condition]) -> dict[str, Any]:
    return {**part, "conditions": [{**each, **change(each)} for each in part["conditions"]]}


def _holds(part: dict[str, Any], kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in part["conditions"])


def _is_gateway(group: str, kind: str) -> bool:
    return (group, kind) == (GATEWAY_API, "Gateway")


def _ports(gateway: Object) -> Iterable[tuple[str, int]]:
    listeners = gateway.spec.get("listeners")
    for listener in listeners if isinstance(listeners, list) else ():
        if isinstance(listener, dict):
            yield str(listener.get("name")), listener.get("port", 0)
