"""The release of the Gateway API that is installed, as a real API server tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.cluster.bed import LESSER_USER, Bed
from tests.cluster.build import GATEWAY_API
from tests.cluster.waits import soon
from torana.config.kubernetes import installed
from torana.config.kubernetes.api import Api
from torana.config.kubernetes.installed import CRDS, RELEASE, Installed

ROLE = "reader-of-releases"
NAMES = [f"--resource-name={name}" for name in CRDS]


@pytest.fixture
def reader(bed: Bed) -> Iterator[None]:
    """The lesser user may read the Gateway API's CRDs, and no others, once a test has bound the role."""
    bed.kubectl("create", "clusterrole", ROLE, "--verb=get", "--resource=customresourcedefinitions", *NAMES)
    yield
    bed.kubectl("delete", "clusterrolebinding", ROLE, "--ignore-not-found")
    bed.kubectl("delete", "clusterrole", ROLE)


@pytest.mark.usefixtures("reader")
async def test_releases(
    bed: Bed, lesser: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right nothing is known, which is logged once; with it the releases are, and they are followed."""
    monkeypatch.setattr(installed, "_PAUSE", 0.1)
    caplog.set_level("INFO", installed.__name__)
    changes: list[None] = []
    found = Installed(lesser, lambda: changes.append(None))
    task = asyncio.create_task(found.run())
    try:
        await soon(lambda: "SupportedVersion" in caplog.text, "the refusal to be told")
        await asyncio.sleep(0.5)
        assert found.releases is None
        assert caplog.text.count("SupportedVersion") == 1
        assert f"resourceNames: [{', '.join(CRDS)}], verbs: [get]" in caplog.text
        binding = ("create", "clusterrolebinding", ROLE, f"--clusterrole={ROLE}", f"--user={LESSER_USER}")
        await asyncio.to_thread(bed.kubectl, *binding)
        await soon(lambda: found.releases == dict.fromkeys(CRDS, GATEWAY_API), "the releases")
        assert len(changes) == 1
        annotate = ("annotate", "--overwrite", "crd", CRDS[-1])
        try:
            await asyncio.to_thread(bed.kubectl, *annotate, f"{RELEASE}=v9.9.9")
            await soon(lambda: (found.releases or {}).get(CRDS[-1]) == "v9.9.9", "the other release")
        finally:
            await asyncio.to_thread(bed.kubectl, *annotate, f"{RELEASE}={GATEWAY_API}")
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
