"""Putting a wanted status into the one that is there."""

from __future__ import annotations

from typing import Any

import pytest

from torana.config.kubernetes.merge import left_out, merged

OURS, THEIRS = "torana.dev/gateway-controller", "example.com/controller"
THEN, NOW = "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z"


def condition(kind: str = "Accepted", status: str = "True", time: str | None = None, generation: int = 1) -> Any:
    made = {"type": kind, "status": status, "reason": kind, "message": "", "observedGeneration": generation}
    return made if time is None else made | {"lastTransitionTime": time}


def entry(controller: str, *conditions: Any, name: str = "gateway") -> Any:
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    return {"parentRef": ref, "controllerName": controller, "conditions": list(conditions)}


def put(present: Any, wanted: Any) -> Any:
    return merged(present, wanted, (OURS,), NOW)


def test_time_of_a_turn() -> None:
    """A condition's time is that of its last change of status; a new generation or reason alone does not move it."""
    present = {"conditions": [condition(time=THEN)]}
    assert put(present, {"conditions": [condition(generation=2)]}) == {
        "conditions": [condition(time=THEN, generation=2)]
    }
    assert put(present, {"conditions": [condition(status="False")]}) == {
        "conditions": [condition(status="False", time=NOW)]
    }


def test_the_same_is_no_difference() -> None:
    """What was written is equal to what is wanted, however often it is asked."""
    wanted = {
        "conditions": [condition()],
        "listeners": [{"name": "http", "attachedRoutes": 1, "conditions": [condition("Programmed")]}],
        "parents": [entry(OURS, condition()), entry(OURS, condition(), name="other")],
    }
    once = put({}, wanted)
    assert merged(once, wanted, (OURS,), "2027-01-01T00:00:00Z") == once


def test_others_stay() -> None:
    """Entries of other controllers and conditions of types that are not ours stay as they are."""
    theirs = entry(THEIRS, condition(status="False", time=THEN))
    foreign = condition("Attached", time=THEN)
    result = put(
        {"parents": [theirs, entry(OURS, condition(time=THEN), name="gone")], "conditions": [foreign], "note": 1},
        {"parents": [entry(OURS, condition())], "conditions": [condition()]},
    )
    assert result["parents"] == [theirs, entry(OURS, condition(time=NOW))]
    assert result["conditions"] == [foreign, condition(time=NOW)]
    assert result["note"] == 1


def test_another_order_is_no_difference() -> None:
    """Two controllers that each put their entries last do not write for ever."""
    present = {"parents": [entry(OURS, condition(time=THEN)), entry(THEIRS, condition(time=THEN))]}
    assert put(present, {"parents": [entry(OURS, condition())]}) == present


def test_defaults_of_a_reference() -> None:
    """A reference without group and kind is what the API server makes of it."""
    bare = {"parentRef": {"name": "gateway"}, "controllerName": OURS, "conditions": [condition()]}
    present = {"parents": [entry(OURS, condition(time=THEN))]}
    assert put(present, {"parents": [bare]}) == present


def test_withdrawn() -> None:
    """Wanting no entries takes ours away, and makes no empty list where there was none."""
    theirs = entry(THEIRS, condition(time=THEN))
    assert put({"parents": [theirs, entry(OURS, condition(time=THEN))]}, {"parents": []}) == {"parents": [theirs]}
    assert put({}, {"parents": []}) == {}


@pytest.mark.parametrize(("member", "ref", "most"), [("parents", "parentRef", 32), ("ancestors", "ancestorRef", 16)])
def test_a_full_list(member: str, ref: str, most: int) -> None:
    """Of a list that is full of others' entries nothing is taken away and nothing is added; into room left ours go."""

    def entries(controller: str, count: int) -> list[Any]:
        return [
            {ref: {"name": f"g{number}"}, "controllerName": controller, "conditions": [condition(time=THEN)]}
            for number in range(count)
        ]

    theirs, wanted = entries(THEIRS, most), {member: entries(OURS, 2)}
    assert put({member: theirs}, wanted) == {member: theirs}
    assert left_out({member: theirs}, wanted, (OURS,)) == 2
    result = put({member: theirs[1:]}, wanted)
    assert result[member][:-1] == theirs[1:]
    assert result[member][-1]["controllerName"] == OURS
    assert put(result, wanted) == result
    assert left_out(result, wanted, (OURS,)) == 1
    assert left_out({}, wanted, (OURS,)) == 0
