"""Watcher: keeps a copy of all objects of one kind, by a list and then a watch that goes on from it.

Kubernetes, "Efficient detection of changes": a watch continues from the last resourceVersion that was seen, bookmarks
move it along, and 410 says that it is too old and all has to be listed again. Whatever fails, the copy stays.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from torana.config.kubernetes.api import Api, ApiError, Json, Resource
from torana.config.kubernetes.contents import TOO_LARGE, is_too_large
from torana.config.kubernetes.kinds import Watched
from torana.config.kubernetes.objects import Object
from torana.telemetry.trouble import Trouble

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE = 0.2, 10.0  # seconds between attempts; doubled each time, and scattered
_ABSENT_PAUSE = 2.0  # seconds between looks for a kind whose CRD is not installed
_REFUSALS = 3  # in a row; a server that has just started refuses for a moment what it will grant
_SHORT_WATCH = 1.0  # seconds; a server that ends watches sooner is not asked again at once
_METADATA = frozenset({"name", "namespace", "generation", "creationTimestamp", "labels"})
"""What is read of it. Among the rest kubectl's annotation has a Secret's values once more, and leases change often."""


class Name(NamedTuple):
    namespace: str
    name: str


class Kept(NamedTuple):
    """An object as it was last seen: what was written by users, what by controllers, and which version it was."""

    object: Object
    status: Json
    version: str
    resource: Resource


class Change(Enum):
    """What about an object has changed."""

    SPEC = auto()
    STATUS = auto()


class Watcher:
    """`objects` is the copy; `trouble` says why it may not be the newest, and is None when it is.

    `changed` is called after a change, not once for each. `listed` is True once it is known what there is; `refused`
    while that is not known because the server says again and again that we may not know.
    """

    def __init__(self, api: Api, watched: Watched, changed: Callable[[Change], None]) -> None:
        self.kind = watched.kind
        self.group = watched.group
        self.objects: dict[Name, Kept] = {}
        self.needed = watched.needed
        self.trouble: Trouble | None = Trouble(watched.kind, "pending", "not listed yet")
        self.listed = False
        self.refused = False
        self._api = api
        self._versions = watched.versions
        self._verbs = watched.verbs
        self._keys = watched.keys
        self._changed = changed
        self._resource = watched.versions[0]
        self._version = ""
        self._failures = 0
        self._refusals = 0
        self._accepted = inf  # when the server accepted the watch, while there is one
        self._told: Trouble | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                if not self._lasted():
                    await asyncio.sleep(_scattered(_SHORT_WATCH))
            except ApiError as error:
                await self._recover(error)
            except Exception:
                self._version = ""  # what was under way is lost: the next run lists all of it
                raise

    async def _list(self) -> None:
        for resource in self._versions:
            version, found = "", []
            try:
                # One page in memory at a time: much of it is let go.
                async for page in self._api.pages(resource):
                    version = page.version
                    found += [self._kept(item, resource) for item in page.items]
            except ApiError as error:
                if error.code == 404 and resource is not self._versions[-1]:
                    continue
                raise
            self._resource = resource
            self._replace(found)
            self._version = version
            return

    async def _watch(self) -> None:
        async with self._api.watch(self._resource, self._version) as events:
            self._in_step()
            async for event in events:
                metadata = event.object.get("metadata", {})
                self._version = metadata.get("resourceVersion", self._version)
                if event.kind == "BOOKMARK":
                    continue
                self._note(self._kept(event.object, self._resource), deleted=event.kind == "DELETED")

    async def _recover(self, error: ApiError) -> None:
        """Each way to fail, and how to go on."""
        if error.code == 410 or (error.code == 404 and self._version):
            # What came after our version is forgotten, or the kind is served in another version now, if at all.
            self._version = ""
            await asyncio.sleep(_scattered(_SHORT_WATCH))
            return
        if error.code == 404 or (error.code == 403 and not await self._is_served()):
            # The CRD is not installed: there are none, and nothing is wrong with it.
            self._version = ""
            self._replace([])
            self._in_step()
            await asyncio.sleep(_scattered(_ABSENT_PAUSE))
            return
        if error.code in (401, 403):
            self._version = ""  # after a change of rights a watch may begin where much was missed
        self._lasted()
        self._failures += 1
        self._refusals = self._refusals + 1 if error.code == 403 else 0
        trouble = Trouble(self.kind, error.reason, self._words(error))
        if trouble != self._told:
            _log.warning("%s: %s", self.kind, trouble.words)
        self.trouble = self._told = trouble
        if self._refusals == _REFUSALS and not self.listed:
            self.refused = True
            self._changed(Change.SPEC)
        await asyncio.sleep(_scattered(min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures, 10))))

    def _lasted(self) -> bool:
        """Whether the watch that has ended was one; then all was well, as it is not with one that ends at once."""
        lasted = monotonic() - self._accepted >= _SHORT_WATCH
        self._accepted = inf
        if lasted:
            self._failures, self._told = 0, None
        return lasted

    async def _is_served(self) -> bool:
        """Rights are looked at before kinds: who may not read a kind that does not exist is told of the former."""
        try:
            return any([await self._api.serves(resource) for resource in self._versions])
        except ApiError:
            return True

    def _words(self, error: ApiError) -> str:
        if error.code != 403:
            return str(error)
        rule = self._resource.rule(*self._verbs)
        return f"may not be read ({error}); grant it by a ClusterRole with the rule {rule}"

    def _in_step(self) -> None:
        self.trouble = None
        self.refused = False
        self._refusals = 0
        self._accepted = monotonic()
        if not self.listed:
            self.listed = True
            self._changed(Change.SPEC)

    def _replace(self, found: list[Kept]) -> None:
        """The copy becomes what was listed; what is no longer in it has been deleted."""
        names = {Name(kept.object.namespace, kept.object.name) for kept in found}
        for name in self.objects.keys() - names:
            self._note(self.objects[name], deleted=True)
        for kept in found:
            self._note(kept, deleted=False)

    def _note(self, kept: Kept, *, deleted: bool) -> None:
        name = Name(kept.object.namespace, kept.object.name)
        if deleted:
            if self.objects.pop(name, None) is not None:
                self._changed(Change.SPEC)
            return
        former, self.objects[name] = self.objects.get(name), kept
        if former is None or former.object != kept.object:
            self._changed(Change.SPEC)
        elif former.status != kept.status:
            self._changed(Change.STATUS)

    def _kept(self, body: Json, resource: Resource) -> Kept:
        """Taken apart, so that a status of our own writing is not taken for a change of what users want.

        What nobody here reads is let go: others' objects must not fill our memory, nor their changes keep us busy.
        """
        whole = body.get("metadata", {})
        version = whole.get("resourceVersion", "")
        metadata: dict[str, Any] = {name: part for name, part in whole.items() if name in _METADATA}
        # Items of a list do not say what they are.
        written = {**body, "apiVersion": resource.api_version, "kind": self.kind, "metadata": metadata}
        status = written.pop("status", None) or {}
        data = written.get("data") or {}
        if self._keys is not None:
            written.pop("binaryData", None)
            written["data"] = {key: text for key, text in data.items() if key in self._keys}
        elif large := sorted(key for key, text in data.items() if is_too_large(key, text)):
            written["data"] = {key: text for key, text in data.items() if key not in large}
            written[TOO_LARGE] = large
        thing = Object(
            resource.api_version, self.kind, metadata.get("namespace", ""), metadata.get("name", ""), written
        )
        return Kept(thing, status, version, resource)


def _scattered(seconds: float) -> float:
    """A pause of about that long; clients that lost one server must not all come back at once."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
