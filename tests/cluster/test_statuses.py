"""Statuses and the lease of those who write them, on a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.cluster.bed import LESSER_USER, Bed
from tests.cluster.test_watch import watched, watching
from tests.cluster.waits import PATIENCE, soon
from torana.config.kubernetes.api import Api
from torana.config.kubernetes.kinds import LEASE
from torana.config.kubernetes.leader import Leader
from torana.config.kubernetes.objects import Key, Status
from torana.config.kubernetes.status_writer import StatusWriter
from torana.config.kubernetes.watcher import Kept, Name, Watcher

OURS = "torana.dev/gateway-controller"
THEIRS = "example.com/controller"
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: one, namespace: %s}
spec: {parentRefs: [{name: gateway}]}
"""


def entry(controller: str, status: str = "True", time: str | None = None) -> dict[str, Any]:
    """An entry of `parents`."""
    condition: dict[str, Any] = {
        "type": "Accepted",
        "status": status,
        "reason": "Accepted",
        "message": "",
        "observedGeneration": 1,
    }
    if time is not None:
        condition["lastTransitionTime"] = time
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway"}
    return {"parentRef": ref, "controllerName": controller, "conditions": [condition]}


def wanted(namespace: str, status: str = "True") -> Status:
    content = {"parents": [entry(OURS, status)]}
    return Status("gateway.networking.k8s.io/v1", "HTTPRoute", namespace, "one", 1, content)


@asynccontextmanager
async def writing(api: Api, watcher: Watcher) -> AsyncIterator[StatusWriter]:
    def look(key: Key) -> Kept | None:
        return watcher.objects.get(Name(key.namespace, key.name))

    def members(kind: str) -> Iterable[Kept]:
        return watcher.objects.values() if kind == watcher.kind else ()

    writer = StatusWriter(api, (OURS,), look, members)
    writer.leads = True
    watcher._changed = lambda _: writer.wake()
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def read(bed: Bed, namespace: str) -> dict[str, Any]:
    return await asyncio.to_thread(bed.read, "httproute", "one", namespace)


async def set_parents(bed: Bed, namespace: str, *entries: dict[str, Any]) -> None:
    """As another controller would."""
    patch = json.dumps({"status": {"parents": list(entries)}})
    await asyncio.to_thread(
        bed.kubectl, "patch", "httproute", "one", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch
    )


async def test_written_once(bed: Bed, api: Api, namespace: str) -> None:
    """A status is written with a time, and never again while nothing changes; others' entries stay as they are."""
    theirs = entry(THEIRS, time="2020-01-01T00:00:00Z")
    await asyncio.to_thread(bed.apply, ROUTE % namespace)
    await set_parents(bed, namespace, theirs)
    async with watching(api, watched("HTTPRoute")) as (watcher, _), writing(api, watcher) as writer:
        await soon(lambda: watcher.objects.get(Name(namespace, "one")), "the route")
        writer.want([wanted(namespace)])
        name = Name(namespace, "one")
        await soon(lambda: len(watcher.objects[name].status.get("parents", [])) == 2, "our entry")
        first = await read(bed, namespace)
        assert first["status"]["parents"][0] == theirs
        time = first["status"]["parents"][1]["conditions"][0]["lastTransitionTime"]
        writer.want([wanted(namespace)])
        await asyncio.sleep(1.5)
        assert (await read(bed, namespace))["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

        writer.want([wanted(namespace, "False")])
        await soon(lambda: "False" in str(watcher.objects[name].status), "the change")
        turned = await read(bed, namespace)
        assert turned["status"]["parents"][1]["conditions"][0]["lastTransitionTime"] > time
        assert turned["status"]["parents"][0] == theirs


async def test_put_right(bed: Bed, api: Api, namespace: str) -> None:
    """An entry of ours that another has removed is written again; one on an object that is not ours any more goes."""
    await asyncio.to_thread(bed.apply, ROUTE % namespace)
    async with watching(api, watched("HTTPRoute")) as (watcher, _), writing(api, watcher) as writer:
        name = Name(namespace, "one")
        await soon(lambda: watcher.objects.get(name), "the route")
        writer.want([wanted(namespace)])
        await soon(lambda: watcher.objects[name].status.get("parents"), "our entry")
        version = watcher.objects[name].version
        await set_parents(bed, namespace)
        await soon(lambda: watcher.objects[name].version != version, "the removal to be seen")
        await soon(lambda: watcher.objects[name].status.get("parents"), "our entry again")
        writer.want([])
        await soon(lambda: watcher.objects[name].status.get("parents") == [], "our entry to go")


async def test_conflict(bed: Bed, api: Api, namespace: str) -> None:
    """A write on an old version is refused with 409 and repeated on what is there, which keeps the other's change."""
    await asyncio.to_thread(bed.apply, ROUTE % namespace)
    async with watching(api, watched("HTTPRoute")) as (watcher, _):
        await soon(lambda: watcher.objects.get(Name(namespace, "one")), "the route")
    theirs = entry(THEIRS, time="2020-01-01T00:00:00Z")
    await set_parents(bed, namespace, theirs)
    async with writing(api, watcher) as writer:  # its copy is from before
        writer.want([wanted(namespace)])
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while len(found := (await read(bed, namespace))["status"]["parents"]) < 2:
            assert asyncio.get_running_loop().time() < deadline, found
        assert found[0] == theirs


async def test_only_the_leader_writes(bed: Bed, api: Api, namespace: str) -> None:
    """Who does not hold the lease writes nothing."""
    await asyncio.to_thread(bed.apply, ROUTE % namespace)
    async with watching(api, watched("HTTPRoute")) as (watcher, _), writing(api, watcher) as writer:
        writer.leads = False
        await soon(lambda: watcher.objects.get(Name(namespace, "one")), "the route")
        writer.want([wanted(namespace)])
        await asyncio.sleep(0.5)
        assert not (await read(bed, namespace)).get("status", {}).get("parents")
        writer.leads = True
        writer.wake()
        await soon(lambda: watcher.objects[Name(namespace, "one")].status.get("parents"), "our entry")


async def test_hand_over(bed: Bed, namespace: str) -> None:
    """One of two leads; when it ends it gives the lease back, and the other leads before it would have run out."""
    one, two = Api(bed.kubeconfig), Api(bed.kubeconfig)
    first, second = (Leader(each, namespace, "lease", lambda: None) for each in (one, two))
    leading = asyncio.create_task(first.run())
    await soon(lambda: first.leads, "the first to lead")
    waiting = asyncio.create_task(second.run())
    await asyncio.sleep(0.5)
    assert not second.leads
    leading.cancel()
    with suppress(asyncio.CancelledError):
        await leading
    assert not first.leads
    await soon(lambda: second.leads, "the second to lead", 10)
    spec = (await two.get(LEASE, namespace, "lease"))["spec"]
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 1
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await one.close()
    await two.close()


async def test_full(bed: Bed, api: Api, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    """A list of 32 entries of others is left as it is, which the log says; when one goes, ours comes."""
    others = [entry(f"example.com/controller-{number}", time="2020-01-01T00:00:00Z") for number in range(32)]
    await asyncio.to_thread(bed.apply, ROUTE % namespace)
    await set_parents(bed, namespace, *others)
    async with watching(api, watched("HTTPRoute")) as (watcher, _), writing(api, watcher) as writer:
        name = Name(namespace, "one")
        await soon(lambda: watcher.objects.get(name), "the route")
        writer.want([wanted(namespace)])
        await soon(lambda: "1 of ours" in caplog.text, "the warning")
        assert (await read(bed, namespace))["status"]["parents"] == others
        await set_parents(bed, namespace, *others[1:])
        await soon(lambda: OURS in str(watcher.objects[name].status), "our entry")
        assert watcher.objects[name].status["parents"][:-1] == others[1:]


async def test_may_not_write(bed: Bed, api: Api, lesser: Api, namespace: str) -> None:
    """Who may not write a kind's statuses tells it as a trouble of that kind, until it is granted."""
    await asyncio.to_thread(bed.apply, ROUTE % namespace)
    async with watching(api, watched("HTTPRoute")) as (watcher, _), writing(lesser, watcher) as writer:
        await soon(lambda: watcher.objects.get(Name(namespace, "one")), "the route")
        writer.want([wanted(namespace)])
        await soon(lambda: writer.troubles, "the trouble")
        (trouble,) = writer.troubles
        assert (trouble.kind, trouble.reason, trouble.stale) == ("HTTPRoute", "forbidden", False)
        assert "statuses are not written" in trouble.words
        role = f"writer-{namespace}"  # everywhere, for our entries may still be on routes of other tests
        verbs = ("--verb=patch", "--resource=httproutes.gateway.networking.k8s.io/status")
        await asyncio.to_thread(bed.kubectl, "create", "clusterrole", role, *verbs)
        binding = ("create", "clusterrolebinding", role, f"--clusterrole={role}", f"--user={LESSER_USER}")
        await asyncio.to_thread(bed.kubectl, *binding)
        await soon(lambda: watcher.objects[Name(namespace, "one")].status.get("parents"), "our entry")
        await soon(lambda: not writer.troubles, "the trouble to end")
        await asyncio.to_thread(bed.kubectl, "delete", "clusterrolebinding", role)
