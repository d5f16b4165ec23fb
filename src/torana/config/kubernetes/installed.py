"""Installed: which release of the Gateway API each of a cluster's CRDs is of, which an annotation of theirs says.

Only the metadata of the CRDs is asked for whose resources are read, by their names: a right to no others is needed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from torana.config.kubernetes.api import Api, ApiError, Resource
from torana.config.kubernetes.kinds import WATCHED
from torana.config.kubernetes.store import GATEWAY_API

_log = logging.getLogger(__name__)

CRD: Final = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
CRDS: Final = tuple(f"{each.versions[0].plural}.{each.group}" for each in WATCHED if each.group == GATEWAY_API)
RELEASE: Final = "gateway.networking.k8s.io/bundle-version"

_PAUSE = 60.0  # seconds between looks, which are scattered: releases come twice a year
_FIRST_PAUSE = 1.0  # after a failure; doubled each time
_REFUSALS = 3  # in a row; a server that has just started refuses for a moment what it will grant


class Installed:
    """`releases` are by name of the CRD, empty where one says none; a CRD that is not installed is absent.

    None until they have been read. When they may not be read any more, or not now, they stay as they were. `changed`
    is called after a change.
    """

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        self.releases: Mapping[str, str] | None = None
        self._api = api
        self._changed = changed
        self._failures = 0
        self._refusals = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                self._note({name: release async for name, release in self._read()})
                pause = _PAUSE
            except ApiError as error:
                if error.code == 403:  # of a server that is gone the watches tell
                    self._refuse(error)
                pause = min(_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures, 10))
                self._failures += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _read(self) -> AsyncIterator[tuple[str, str]]:
        for name in CRDS:
            try:
                metadata = await self._api.metadata(CRD, name)
            except ApiError as error:
                if error.code != 404:
                    raise
            else:
                yield name, str((metadata.get("annotations") or {}).get(RELEASE, ""))

    def _note(self, found: Mapping[str, str]) -> None:
        self._failures = self._refusals = 0
        if found != self.releases:
            self.releases = found
            self._changed()

    def _refuse(self, error: ApiError) -> None:
        """Once: nothing but a word in a status depends on it."""
        self._refusals += 1
        if self._refusals == _REFUSALS:
            rule = CRD.rule("get").replace(" verbs:", f" resourceNames: [{', '.join(CRDS)}], verbs:")
            words = "SupportedVersion of GatewayClasses is not told, for CRDs may not be read (%s); the rule is %s"
            _log.info(words, error, rule)
