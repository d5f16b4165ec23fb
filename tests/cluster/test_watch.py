"""Watchers on a real API server: what they know, and what they say when they cannot know it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from tests.cluster.bed import Bed
from tests.cluster.waits import soon
from torana.config.kubernetes.api import Api, ApiError, Resource
from torana.config.kubernetes.kinds import WATCHED, Watched
from torana.config.kubernetes.watcher import Change, Kept, Name, Watcher

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.test.example}
spec:
  group: test.example
  names: {kind: Lamp, plural: lamps, singular: lamp, listKind: LampList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
LAMP = "apiVersion: test.example/v1\nkind: Lamp\nmetadata: {name: one, namespace: %s}\nspec: {on: %s}\n"


@asynccontextmanager
async def watching(api: Api, watched: Watched) -> AsyncIterator[tuple[Watcher, list[Change]]]:
    changes: list[Change] = []
    watcher = Watcher(api, watched, changes.append)
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher, changes
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def config_map(namespace: str, value: str) -> str:
    metadata = f"{{name: one, namespace: {namespace}}}"
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\ndata: {{ca.crt: '{value}'}}\n"


def watched(kind: str) -> Watched:
    return next(entry for entry in WATCHED if entry.kind == kind)


def value(watcher: Watcher, namespace: str) -> str | None:
    kept: Kept | None = watcher.objects.get(Name(namespace, "one"))
    return kept.object.body["data"]["ca.crt"] if kept is not None else None


async def test_follows_an_object(bed: Bed, api: Api, namespace: str) -> None:
    """What is made, changed and deleted is so in the copy, and nothing of kubectl's bookkeeping is."""
    async with watching(api, watched("ConfigMap")) as (watcher, _):
        await soon(lambda: watcher.listed, "the first list")
        await asyncio.to_thread(bed.kubectl, "apply", "-f", "-", stdin=config_map(namespace, "a"))
        await soon(lambda: value(watcher, namespace) == "a", "the object")
        metadata = watcher.objects[Name(namespace, "one")].object.metadata
        assert metadata.keys() == {"name", "namespace", "creationTimestamp"}
        await asyncio.to_thread(bed.apply, config_map(namespace, "b"))
        await soon(lambda: value(watcher, namespace) == "b", "the change")
        await asyncio.to_thread(bed.kubectl, "delete", "configmap", "one", "-n", namespace)
        await soon(lambda: value(watcher, namespace) is None, "the deletion")


async def test_version_too_old(bed: Bed, api: Api, namespace: str) -> None:
    """410 leads to a new list, and what was deleted meanwhile is gone from the copy."""
    await asyncio.to_thread(bed.apply, config_map(namespace, "a"))
    async with watching(api, watched("ConfigMap")) as (watcher, _):
        await soon(lambda: value(watcher, namespace) == "a", "the object")
    await asyncio.to_thread(bed.kubectl, "delete", "configmap", "one", "-n", namespace)
    with bed.without_server():
        pass  # the cache of changes of the one that comes begins then
    again = Watcher(api, watched("ConfigMap"), lambda _: None)
    again.objects = watcher.objects
    again._version = "1"
    with pytest.raises(ApiError) as raised:
        await again._watch()
    assert raised.value.code == 410
    task = asyncio.create_task(again.run())
    await soon(lambda: value(again, namespace) is None, "a list")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_kind_installed_later(bed: Bed, api: Api, namespace: str) -> None:
    """A kind whose CRD is missing counts as listed and empty; once it is installed its objects come, and go with it."""
    lamps = Watched((Resource("test.example", "v1", "Lamp", "lamps"),))
    async with watching(api, lamps) as (watcher, changes):
        await soon(lambda: watcher.listed, "the answer that there are none")
        assert watcher.trouble is None
        await asyncio.to_thread(bed.apply, CRD)
        await asyncio.to_thread(bed.until_discovered)
        await asyncio.to_thread(bed.apply, LAMP % (namespace, "true"))
        await soon(lambda: watcher.objects, "the object")
        changes.clear()
        patch = ("patch", "lamp", "one", "-n", namespace, "--subresource=status", "--type=merge", "-p")
        await asyncio.to_thread(bed.kubectl, *patch, '{"status": {"lit": true}}')
        await soon(lambda: changes, "the change of the status")
        assert changes == [Change.STATUS], "a status is no change of what users want"
        await asyncio.to_thread(bed.kubectl, "delete", "crd", "lamps.test.example")
        await soon(lambda: not watcher.objects, "the objects to go")


async def test_forbidden(bed: Bed, namespace: str) -> None:
    """Without the right to list Secrets nothing is taken for known, and the trouble says why; given it, that ends."""
    role = f"reader-{namespace}"
    forbidden = Api(bed.kubeconfig_for("torana", "torana-token"))
    async with watching(forbidden, watched("Secret")) as (watcher, _):
        await soon(lambda: watcher.trouble is not None and watcher.trouble.reason == "forbidden", "the refusal")
        assert not watcher.listed
        await asyncio.to_thread(bed.kubectl, "create", "clusterrole", role, "--verb=list,watch", "--resource=secrets")
        await asyncio.to_thread(
            bed.kubectl, "create", "clusterrolebinding", role, f"--clusterrole={role}", "--user=torana"
        )
        await soon(lambda: watcher.listed, "the list")
        await soon(lambda: watcher.trouble is None, "the end of the trouble")
    await asyncio.to_thread(bed.kubectl, "delete", "clusterrolebinding", role)
    await forbidden.close()


async def test_refused(lesser: Api) -> None:
    """A kind that is refused again and again says so and with which rule it would not be; one that is absent is not."""
    async with watching(lesser, watched("BackendTLSPolicy")) as (watcher, changes):
        await soon(lambda: watcher.refused, "the refusals")
        assert not watcher.listed
        assert changes == [Change.SPEC]
        assert watcher.trouble is not None
        rule = "{apiGroups: [gateway.networking.k8s.io], resources: [backendtlspolicies], verbs: [get, list, watch]}"
        assert rule in watcher.trouble.words
    for group in ("gateway.networking.k8s.io", "absent.example"):
        async with watching(lesser, Watched((Resource(group, "v1", "Absent", "absents"),))) as (watcher, _):
            await soon(partial(getattr, watcher, "listed"), "the answer that there is no such kind")
            assert watcher.trouble is None


async def test_server_killed(bed: Bed, api: Api, namespace: str) -> None:
    """While the server is gone the copy stays and the trouble says so; what changed later comes when it is back."""
    await asyncio.to_thread(bed.apply, config_map(namespace, "a"))
    async with watching(api, watched("ConfigMap")) as (watcher, _):
        await soon(lambda: value(watcher, namespace) == "a", "the object")
        with bed.without_server():
            await soon(lambda: watcher.trouble is not None and watcher.trouble.reason == "unreachable", "the trouble")
            assert value(watcher, namespace) == "a"
        await asyncio.to_thread(bed.apply, config_map(namespace, "b"))
        await soon(lambda: value(watcher, namespace) == "b", "the change")
        await soon(lambda: watcher.trouble is None, "the end of the trouble")
