"""What the gateway answers itself."""

from __future__ import annotations

import pytest

from tests.http.calls import ask
from tests.http.conftest import Connect, StartLine
from torana.model.policy import Cors, DirectResponse, Redirect, RoutePolicies

_PREFLIGHT = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("policies", "request_bytes", "status"),
    [
        (RoutePolicies(direct_response=DirectResponse(418)), _GET, 418),
        (RoutePolicies(redirect=Redirect(scheme="https")), _GET, 302),
        (RoutePolicies(cors=Cors(allow_origins=("*",))), _PREFLIGHT, 200),
    ],
    ids=["direct response", "redirect", "preflight"],
)
async def test_no_upstream_is_named_for_it(
    policies: RoutePolicies, request_bytes: bytes, status: int, line: StartLine, connect: Connect
) -> None:
    """An answer of the gateway's own that is no error is logged as one, and not as an upstream's."""
    started = await line(policies=policies)
    assert (await ask(started, connect, request_bytes)).status == status
    await started.logged("reason=DirectResponse")
