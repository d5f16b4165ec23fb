"""Releases of the Gateway API: which of them Torana knows (GatewayClass, condition SupportedVersion)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torana.config.kubernetes.conditions import Fault

OLDEST: Final = 3
NEWEST: Final = 6
"""Minor versions. `docs/kubernetes.md` asks for the one; the other is that of `crds/gateway-api.json`."""

_RELEASE: Final = re.compile(r"v1\.(\d{1,4})\.\d+(?:-[0-9A-Za-z.-]+)?")


def release_fault(releases: Mapping[str, str]) -> Fault | None:
    """`releases` are those of CRDs, by name; empty where a CRD says none.

    The words name what is there and what is known, as the Gateway API wants it (GatewayClassReasonUnsupportedVersion).
    """
    strange = [
        f"{name} ({found or 'without a release'})" for name, found in sorted(releases.items()) if not _known(found)
    ]
    if not strange:
        return None
    known = (
        f"the Gateway API is known from v1.{OLDEST} to v1.{NEWEST}, and of other releases what they share with these"
    )
    return Fault("UnsupportedVersion", f"{known}; not known: {', '.join(strange)}")


def release_words(releases: Mapping[str, str]) -> str:
    """Where nothing is wrong with them."""
    return f"The Gateway API is installed as {' and '.join(sorted(set(releases.values())))}"


def _known(release: str) -> bool:
    found = _RELEASE.fullmatch(release)
    return found is not None and OLDEST <= int(found[1]) <= NEWEST
