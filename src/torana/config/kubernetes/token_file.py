"""TokenFile: a token that is written anew before it ends, as a kubelet does with that of a service account.

lightkube keeps a token until it is refused. By then some calls have failed, and an API server counts and logs each.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import httpx2


class TokenFile(httpx2.Auth):
    """Read at each call, of which there are few. Raises OSError or ValueError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request
