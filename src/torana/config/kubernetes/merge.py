"""How a wanted status is put into the one that is there: what others wrote stays, and times change with conditions."""

from __future__ import annotations

from typing import Any

from torana.config.kubernetes.api import Json

# One entry a parent and controller; several controllers share the list, and the Gateway API bounds its length
# (RouteStatus, PolicyStatus: no one may add to a list that is full).
_ENTRIES = {"parents": 32, "ancestors": 16}

_REFS = ("parentRef", "ancestorRef")
_GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}  # the defaults of ParentReference


def merged(present: Json, wanted: Json, controllers: tuple[str, ...], now: str) -> Json:
    """The whole status as it ought to be; equal to `present` when there is nothing to write.

    `wanted` has only what is ours, without lastTransitionTime, which is `now` for conditions whose status changed. Of a
    list of conditions others' types stay; of parents and ancestors the entries of controllers not among `controllers`,
    and as many of ours as there is room for.
    """
    result = dict(present)
    for member, value in wanted.items():
        former = present.get(member)
        if member == "conditions":
            ours = {condition["type"] for condition in value}
            others = [condition for condition in former or [] if condition.get("type") not in ours]
            result[member] = _in_former_order(former or [], [*others, *_conditions(former, value, now)], "type")
        elif member in _ENTRIES:
            others = [entry for entry in former or [] if entry.get("controllerName") not in controllers]
            mine = [entry for entry in former or [] if entry.get("controllerName") in controllers]
            entries = [_entry(mine, _defaulted(entry), now) for entry in value]
            if former is not None or entries:
                result[member] = [*others, *entries[: _room(member, others)]]
        elif member == "listeners":
            names = {entry.get("name"): entry for entry in former or []}
            result[member] = [_with_times(names.get(entry.get("name")), entry, now) for entry in value]
        elif value or former is not None:  # nothing where there is nothing is no difference
            result[member] = value
    return _unordered_same(present, result)


def left_out(present: Json, wanted: Json, controllers: tuple[str, ...]) -> int:
    """How many of the wanted entries there is no room for."""
    count = 0
    for member in _ENTRIES.keys() & wanted.keys():
        others = [entry for entry in present.get(member) or [] if entry.get("controllerName") not in controllers]
        count += max(0, len(wanted[member]) - _room(member, others))
    return count


def _room(member: str, others: list[Json]) -> int:
    return max(0, _ENTRIES[member] - len(others))


def _entry(mine: list[Json], entry: Json, now: str) -> Json:
    return _with_times(next((former for former in mine if _ref(former) == _ref(entry)), None), entry, now)


def _defaulted(entry: Json) -> Json:
    """As the API server stores it: else what comes back would never be what was wanted."""
    return {member: {**_GATEWAY, **value} if member in _REFS else value for member, value in entry.items()}


def _with_times(former: Json | None, entry: Json, now: str) -> Json:
    if "conditions" not in entry:
        return entry
    return {**entry, "conditions": _conditions((former or {}).get("conditions"), entry["conditions"], now)}


def _conditions(former: list[Json] | None, wanted: list[Json], now: str) -> list[Json]:
    """API conventions: lastTransitionTime is when the condition went from one status to another."""
    before = {condition.get("type"): condition for condition in former or []}
    result = []
    for condition in wanted:
        last = before.get(condition["type"], {})
        same = last.get("status") == condition["status"] and last.get("lastTransitionTime")
        result.append({**condition, "lastTransitionTime": last["lastTransitionTime"] if same else now})
    return result


def _in_former_order(former: list[Json], entries: list[Json], key: str) -> list[Json]:
    places = {entry.get(key): number for number, entry in enumerate(former)}
    return sorted(entries, key=lambda entry: places.get(entry.get(key), len(places)))


def _unordered_same(present: Json, result: Json) -> Json:
    """Two controllers that each put their entries last would write for ever: another order alone is no difference."""
    for member in _ENTRIES:
        before, after = present.get(member), result.get(member)
        if before and after and len(before) == len(after) and all(entry in before for entry in after):
            result[member] = before
    return result


def _ref(entry: Json) -> Any:
    return next((entry[member] for member in _REFS if member in entry), None)
