"""StatusWriter: brings the statuses in the cluster to what the last translation said, when it leads and they differ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from torana.config.kubernetes.api import Api, ApiError
from torana.config.kubernetes.merge import left_out, merged
from torana.config.kubernetes.objects import Key, Status
from torana.config.kubernetes.watcher import Kept
from torana.telemetry.trouble import Trouble

_log = logging.getLogger(__name__)

_AT_ONCE = 8  # writes under way, of all objects
_ATTEMPTS = 5  # at one object that others write too; after these the next change is waited for
_AGAIN, _LAST_AGAIN = 1.0, 60.0  # seconds until what could not be written is tried again; doubled each time
_TOGETHER = 0.1  # seconds for which changes are collected: each comparison is of all statuses, and holds up requests
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
        self._refused: dict[str, ApiError] = {}  # by kind, of the last attempt
        self._full: set[Key] = set()

    @property
    def troubles(self) -> list[Trouble]:
        """Of the kinds whose statuses the API server refuses."""
        return [
            Trouble(kind, error.reason, f"statuses are not written: {error}", stale=False)
            for kind, error in self._refused.items()
        ]

    def want(self, statuses: Iterable[Status]) -> None:
        self._wanted = {_key(status): status for status in statuses}
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        self.wake()  # begun again, it has missed what was under way
        while True:
            try:
                async with asyncio.timeout(min(_LAST_AGAIN, _AGAIN * 2 ** min(failures - 1, 8)) if failures else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_TOGETHER)
            self._wake.clear()
            if self.leads and self._wanted is not None:
                due = tuple(self._due(self._wanted))
                results = await asyncio.gather(*(self._write(status) for status in due))
                failed = {due[at].kind: error for at, error in enumerate(results) if error is not None}
                self._tell(failed)
                failures = failures + 1 if failed else 0
            else:
                self._tell({})

    def _due(self, wanted: dict[Key, Status]) -> Iterator[Status]:
        """Those that differ from what is there; with what we once wrote on objects that are no longer ours."""
        now = _now()
        for key, status in wanted.items():
            kept = self._look(key)
            if kept is None:
                continue
            self._tell_full(key, left_out(kept.status, status.status, self._controllers))
            if self._differs(kept, status, now):
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

    def _tell(self, failed: dict[str, ApiError]) -> None:
        """Once a kind and reason: what is refused for one object is refused for all."""
        # 404: deleted meanwhile, or its version is not served any more; the watcher will know in a moment.
        failed = {kind: error for kind, error in failed.items() if error.code != 404}
        for kind, error in failed.items():
            former = self._refused.get(kind)
            if former is None or former.reason != error.reason:
                _log.warning("statuses of kind %s cannot be written: %s", kind, error)
        # Of a server that is gone the watchers tell.
        self._refused = {kind: error for kind, error in failed.items() if error.code}

    def _tell_full(self, key: Key, count: int) -> None:
        if count and key not in self._full:
            what = "the list in its status is full of other controllers' entries, so that %d of ours are left out"
            _log.warning("%s: " + what, key, count)
        (self._full.add if count else self._full.discard)(key)

    async def _write(self, status: Status) -> ApiError | None:
        """What came in the way, so that it has to be tried again."""
        kept = self._look(_key(status))
        if kept is None:
            return None
        async with self._slots:
            try:
                await self._settle(status, kept)
            except ApiError as error:
                return error
        return None

    async def _settle(self, status: Status, kept: Kept) -> None:
        """Write until it is as wanted; after a conflict on what is there then. Raises ApiError."""
        present, version = kept.status, kept.version
        for _ in range(_ATTEMPTS):
            result = merged(present, status.status, self._controllers, _now())
            if result == present or not self.leads:
                return
            body = {"metadata": {"resourceVersion": version}, "status": result}
            try:
                await self._api.patch_status(kept.resource, status.namespace, status.name, body)
            except ApiError as error:
                if error.code != 409:
                    raise
            else:
                return
            fresh = await self._api.get(kept.resource, status.namespace, status.name)
            present, version = fresh.get("status") or {}, fresh["metadata"]["resourceVersion"]
        raise ApiError(409, f"{_key(status)} changes faster than its status can be written")


def _key(status: Status) -> Key:
    group, slash, _ = status.api_version.rpartition("/")
    return Key(group if slash else "", status.kind, status.namespace, status.name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
