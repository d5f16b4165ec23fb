"""Cluster: the resources of a live cluster as a configuration that follows them, and their statuses written back.

One process watches, whatever the number of workers. Changes are collected for a moment, translated together, handed to
whatever serves, and only what runs is told in statuses. When the API server is gone, what was last known goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic

import msgspec

from torana.config.kubernetes import ports
from torana.config.kubernetes.api import Api
from torana.config.kubernetes.installed import CRD, Installed
from torana.config.kubernetes.kinds import LEASE, WATCHED
from torana.config.kubernetes.leader import Leader, lease_name
from torana.config.kubernetes.objects import Key, Object, Options, Translation
from torana.config.kubernetes.published import addresses_of
from torana.config.kubernetes.status_writer import StatusWriter
from torana.config.kubernetes.translate import translate
from torana.config.kubernetes.upkeep import Upkeep
from torana.config.kubernetes.watcher import Change, Kept, Name, Watcher
from torana.config.loaded import Loaded
from torana.config.sources import Effect
from torana.model.config import Config, Settings
from torana.telemetry.trouble import Trouble

_log = logging.getLogger(__name__)

_QUIET = 0.05  # seconds without a change after which changes are put into effect
_REFUSED_PAUSE = (
    5.0  # seconds until a configuration is tried again that could not be put into effect, for a port in use
)
_LONGEST = 0.5  # seconds a change may wait for others

Apply = Callable[[Loaded], Awaitable[Effect]]


class Way(msgspec.Struct, frozen=True):
    """How to get into the cluster, and where the lease of status writers is. None is found out as kubectl does.

    `published`: the Service whose addresses Gateways have in their status; None is no addresses.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    lease_namespace: str | None = None
    published: Name | None = None


class Cluster:
    """A source that changes by itself. Raises ClusterError without a way into a cluster; its server may be down."""

    def __init__(self, way: Way, options: Options) -> None:
        self.settings: Settings = options.settings
        self._options = options
        self._published = Key("", "Service", *way.published) if way.published is not None else None
        self._addresses: tuple[str, ...] = ()
        self._api = Api(way.kubeconfig, way.context)
        self._changes = asyncio.Event()
        self._stale = True  # whether what was translated last is older than the objects
        self._retry: asyncio.TimerHandle | None = None
        self._fault: Trouble | None = None
        self._watchers = {
            (watched.group, watched.kind): Watcher(
                self._api, watched, self._changed_told if watched.told else self._changed
            )
            for watched in WATCHED
        }
        self._installed = Installed(self._api, self._outdate)
        self._statuses = StatusWriter(self._api, options.controller_names, self._look, self._members)
        lease = lease_name(options.controller_names[0])
        self._leader = Leader(self._api, way.lease_namespace or self._api.namespace, lease, self._led)
        self._upkeep: tuple[Upkeep, ...] = ()

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Why what runs may not be the newest, and why statuses are not written."""
        watched = (watcher.trouble for watcher in self._watchers.values())
        kept = (upkeep.trouble for upkeep in self._upkeep)
        own = (self._unpublished(), self._leader.trouble, *self._statuses.troubles)
        found = (self._fault, *kept, *watched, *own)
        return tuple(trouble for trouble in found if trouble is not None)

    async def follow(self, apply: Apply) -> None:
        """Hand over each new configuration, until cancelled. `apply` says what came of it."""
        self._upkeep = (
            *(Upkeep(each.kind, f"the watch of kind {each.kind}", each.run) for each in self._watchers.values()),
            Upkeep(CRD.kind, "the reading of the Gateway API's release", self._installed.run, stale=False),
            Upkeep("status", "the writing of statuses", self._statuses.run, stale=False),
            Upkeep(LEASE.kind, "the holding of the lease", self._leader.run, stale=False),
            Upkeep("Gateway", "the translation", lambda: self._translate(apply)),
        )
        try:
            async with asyncio.TaskGroup() as group:
                for upkeep in self._upkeep:
                    group.create_task(upkeep.run())
        finally:
            await self._api.close()

    async def _translate(self, apply: Apply) -> None:
        running: Config | None = None
        closed: Mapping[int, str] = {}
        made: tuple[list[Object], Translation] | None = None
        self._outdate()  # begun again, it has missed what was under way
        while True:
            await self._settled()
            watchers = self._watchers.values()
            if not all(watcher.listed or (watcher.refused and not watcher.needed) for watcher in watchers):
                continue  # half of a cluster would take down what the other half serves
            if self._stale or made is None:
                self._stale = False
                made = await self._made()
            if made is None:
                continue
            objects, translation = made
            if translation.config != running or closed:
                effect = await apply(_loaded(translation))
                if not effect.in_effect or effect.closed:
                    self._try_again()
                if not effect.in_effect:
                    continue
                running, closed = translation.config, effect.closed
            self._statuses.want(ports.told(translation.statuses, objects, closed))

    async def _made(self) -> tuple[list[Object], Translation] | None:
        """Of the objects as they are now; None when they cannot be translated, and then what runs goes on."""
        unread = frozenset((each.group, each.kind) for each in self._watchers.values() if not each.listed)
        self._addresses = self._found_addresses()
        options = msgspec.structs.replace(
            self._options, unread=unread, addresses=self._addresses, releases=self._installed.releases
        )
        objects = self._objects()
        try:
            # In a thread, for requests under way in this process must not wait for it.
            translation = await asyncio.to_thread(translate, objects, options)
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("the cluster's resources could not be translated; what runs goes on")
            self._fault = Trouble("Gateway", "untranslated", "the resources could not be translated")
            return None
        self._fault = None
        return objects, translation

    def _outdate(self) -> None:
        self._stale = True
        self._changes.set()

    def _try_again(self) -> None:
        """Once, however often it is asked for meanwhile."""
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(_REFUSED_PAUSE, self._changes.set)

    async def _settled(self) -> None:
        """Wait for a change, and for those that come along with it."""
        await self._changes.wait()
        deadline = monotonic() + _LONGEST
        while (left := deadline - monotonic()) > 0:
            self._changes.clear()
            try:
                async with asyncio.timeout(min(_QUIET, left)):
                    await self._changes.wait()
            except TimeoutError:
                break
        self._changes.clear()

    def _objects(self) -> list[Object]:
        return [kept.object for watcher in self._watchers.values() for kept in tuple(watcher.objects.values())]

    def _changed(self, change: Change) -> None:
        if change is Change.SPEC or self._found_addresses() != self._addresses:
            self._outdate()

    def _changed_told(self, change: Change) -> None:
        """Of a kind whose statuses are compared: all of them, which the thousands of changes of others do not need."""
        self._changed(change)
        self._statuses.wake()

    def _found_addresses(self) -> tuple[str, ...]:
        kept = self._look(self._published) if self._published is not None else None
        return addresses_of(kept.object.spec, kept.status) if kept is not None else ()

    def _unpublished(self) -> Trouble | None:
        """What a slip in --publish-service would leave unseen. A kind that may not be read tells so itself."""
        service = self._published
        if service is None or not self._watchers["", "Service"].listed or self._look(service) is not None:
            return None
        return Trouble("Service", "unpublished", f"{service} is absent, so that Gateways have no address", stale=False)

    def _led(self) -> None:
        self._statuses.leads = self._leader.leads
        self._statuses.wake()

    def _look(self, key: Key) -> Kept | None:
        watcher = self._watchers.get((key.group, key.kind))
        return watcher.objects.get(Name(key.namespace, key.name)) if watcher is not None else None

    def _members(self, kind: str) -> Iterable[Kept]:
        for watcher in self._watchers.values():
            if watcher.kind == kind:
                yield from tuple(watcher.objects.values())


def _loaded(translation: Translation) -> Loaded:
    return Loaded(translation.config, translation.problems, (), frozenset())
