"""Leader: of several gateways of one controller only the holder of a Lease writes statuses; all of them serve.

The rules and the times are client-go's (tools/leaderelection): a lease has run out when it has not changed for its
duration by our own clock, so the clocks of machines may differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from torana.config.kubernetes.api import Api, ApiError, Json
from torana.config.kubernetes.kinds import LEASE
from torana.telemetry.trouble import Trouble

_log = logging.getLogger(__name__)

_DURATION = 15.0  # seconds for which a lease holds
_DEADLINE = 10.0  # seconds without renewal after which the holder steps down, well before another may take over
_RETRY = 2.0
_LONGEST_RETRY = 30.0  # after refusals one upon the other, which only a change of rights can end

NO_NAME: Final = "[^a-z0-9]{2,}|[^a-z0-9.]"
"""What the name of a Lease cannot have in it, as a regular expression; the chart has the same."""


def lease_name(controller: str) -> str:
    """A name without what no name may hold (RFC 1123); the chart grants rights by the same one."""
    return re.sub(NO_NAME, "-", controller.lower()).strip("-.")


class Leader:
    """`leads` is true while the lease is ours; `changed` is called when that turns.

    `trouble` says why it cannot be told whose it is, unless the server is gone, which others tell.
    """

    def __init__(self, api: Api, namespace: str, name: str, changed: Callable[[], None]) -> None:
        self.leads = False
        self.trouble: Trouble | None = None
        self._api = api
        self._namespace = namespace
        self._name = name
        self._changed = changed
        self._identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self._seen: Json | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._complaint = ""
        self._refusals = 0

    async def run(self) -> None:
        """Until cancelled; then the lease is given back, so that another need not wait for its end."""
        try:
            while True:
                try:
                    async with asyncio.timeout(_DEADLINE):
                        leads = await self._acquire()
                    self._complaint, self.trouble, self._refusals = "", None, 0
                except (ApiError, TimeoutError) as error:
                    self._complain(error)
                    leads = self.leads and monotonic() - self._renewed_at < _DEADLINE
                self._turn(leads=leads)
                await asyncio.sleep(
                    _RETRY if leads else min(_LONGEST_RETRY, _RETRY * 2 ** max(0, min(self._refusals - 1, 5)))
                )
        finally:
            if self.leads:
                with contextlib.suppress(ApiError, TimeoutError):
                    async with asyncio.timeout(_RETRY):
                        await self._give_back()
                self._turn(leads=False)

    async def _acquire(self) -> bool:
        """Take or renew the lease, if it is free, run out or ours."""
        began = monotonic()
        try:
            lease = await self._api.get(LEASE, self._namespace, self._name)
        except ApiError as error:
            if error.code != 404:
                raise
            return await self._make(began)
        spec = lease.get("spec") or {}
        if spec != self._seen:
            self._seen, self._seen_at = spec, monotonic()
        holder = spec.get("holderIdentity")
        if holder and holder != self._identity:
            lasts = float(spec.get("leaseDurationSeconds") or _DURATION)
            if monotonic() - self._seen_at < lasts:
                return False
        renewed = {**lease, "spec": self._spec(spec)}
        return await self._won(self._api.replace(LEASE, self._namespace, self._name, renewed), began)

    async def _make(self, began: float) -> bool:
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": self._name}}
        return await self._won(self._api.create(LEASE, self._namespace, {**body, "spec": self._spec({})}), began)

    async def _won(self, write: Awaitable[Json], began: float) -> bool:
        try:
            await write
        except ApiError as error:
            if error.code == 409:  # another was faster
                return False
            raise
        self._renewed_at = began
        return True

    async def _give_back(self) -> None:
        lease = await self._api.get(LEASE, self._namespace, self._name)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") == self._identity:
            free = {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}
            await self._api.replace(LEASE, self._namespace, self._name, {**lease, "spec": free})

    def _spec(self, former: Json) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = former.get("holderIdentity") == self._identity
        transitions = int(former.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(_DURATION),
            "acquireTime": former.get("acquireTime", now) if ours else now,
            "renewTime": now,
            "leaseTransitions": transitions if ours or not former else transitions + 1,
        }

    def _turn(self, *, leads: bool) -> None:
        if leads != self.leads:
            self.leads = leads
            words = "this process writes statuses" if leads else "this process does not write statuses any more"
            _log.info("lease %s/%s: %s", self._namespace, self._name, words)
            self._changed()

    def _complain(self, error: Exception) -> None:
        """In the log once, until it changes."""
        text = str(error) or "no answer in time"
        where = f"lease {self._namespace}/{self._name}"
        if isinstance(error, ApiError) and error.code:
            self._refusals += 1
            if error.code == 403:
                rule = LEASE.rule("get", "create", "update")
                text += f"; grant it by a Role in namespace {self._namespace} with the rule {rule}"
            words = f"statuses are not written: {where} cannot be held: {text}"
            self.trouble = Trouble(LEASE.kind, error.reason, words, stale=False)
        if text != self._complaint:
            self._complaint = text
            _log.warning("%s cannot be held, and statuses are not written: %s", where, text)
