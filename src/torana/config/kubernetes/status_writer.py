"""StatusWriter: brings the statuses in the cluster to what the last translation said, when it leads and they differ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from torana.config.kubernetes.api import Api, ApiError
from torana.config.kubernetes.merge import merged
from torana.config.kubernetes.objects import Key, Status
from torana.config.kubernetes.watcher import Kept

_log = logging.getLogger(__name__)

_AT_ONCE = 8  # writes under way, of all objects
_ATTEMPTS = 5  # at one object that others write too; after these the next change is waited for
_AGAIN = 5.0  # seconds until what could not be written is tried again
_SHARED = {"HTTPRoute": "parents", "BackendTLSPolicy": "ancestors"}  # the list in which each controller has entries

Look = Callable[[Key], Kept | None]
Members = Callable[[str], Iterable[Kept]]


class StatusWriter:
    """`look` finds an object as last seen, and `members` all of a kind. `wake` asks for another comparison.

    An object is written only when its status differs from the one wanted, so our own writes coming back end it.
    """

    def __init__(self, api: Api, controllers: tuple[str, ...], look: Look, members: Members) -> None:
        self.leads = False
        self._api = api
        self._controllers = controllers
        self._look = look
        self._members = members
        self._wanted: dict[Key, Status] | None = None
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def want(self, statuses: Iterable[Status]) -> None:
        self._wanted = {_key(status): status for status in statuses}
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        complete = True
        while True:
            try:
                async with asyncio.timeout(None if complete else _AGAIN):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self.leads and self._wanted is not None:
                complete = all(await asyncio.gather(*(self._write(status) for status in self._due(self._wanted))))

    def _due(self, wanted: dict[Key, Status]) -> Iterator[Status]:
        """Those that differ from what is there; with what we once wrote on objects that are no longer ours."""
        now = _now()
        for key, status in wanted.items():
            kept = self._look(key)
            if kept is not None and self._differs(kept, status, now):
                yield status
        for kind, member in _SHARED.items():
            for kept in self._members(kind):
                thing = kept.object
                if thing.key in wanted or not kept.status.get(member):
                    continue
                nothing = Status(thing.api_version, kind, thing.namespace, thing.name, thing.generation, {member: []})
                if self._differs(kept, nothing, now):
                    yield nothing

    def _differs(self, kept: Kept, status: Status, now: str) -> bool:
        return merged(kept.status, status.status, self._controllers, now) != kept.status

    async def _write(self, status: Status) -> bool:
        """False when it has to be tried again."""
        kept = self._look(_key(status))
        if kept is None:
            return True
        async with self._slots:
            try:
                return await self._settle(status, kept)
            except ApiError as error:
                if error.code == 404:  # deleted meanwhile
                    return True
                _log.warning("the status of %s cannot be written: %s", _key(status), error)
                return False

    async def _settle(self, status: Status, kept: Kept) -> bool:
        """Write until it is as wanted; after a conflict on what is there then. Raises ApiError."""
        present, version = kept.status, kept.version
        for _ in range(_ATTEMPTS):
            result = merged(present, status.status, self._controllers, _now())
            if result == present or not self.leads:
                return True
            body = {"metadata": {"resourceVersion": version}, "status": result}
            try:
                await self._api.patch_status(kept.resource, status.namespace, status.name, body)
            except ApiError as error:
                if error.code != 409:
                    raise
            else:
                return True
            fresh = await self._api.get(kept.resource, status.namespace, status.name)
            present, version = fresh.get("status") or {}, fresh["metadata"]["resourceVersion"]
        return False


def _key(status: Status) -> Key:
    group, slash, _ = status.api_version.rpartition("/")
    return Key(group if slash else "", status.kind, status.namespace, status.name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
