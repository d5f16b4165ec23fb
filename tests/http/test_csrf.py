"""csrf, as a browser and its upstream see it."""

from __future__ import annotations

import json

from tests.http.calls import ask
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import each
from torana.model.policy import Csrf, RoutePolicies

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_forged_request_is_refused_in_the_apis_form(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A page of another origin gets 403 in the form of every error, and nothing goes upstream."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, plain=True, policies=RoutePolicies(csrf=Csrf()))
    forged = b"POST / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n"
    got = await ask(started, connect, forged)
    error = json.loads(got.body)["error"]
    assert (got.status, error["message"], error["code"]) == (403, "CSRF validation failed", "csrf_validation_failed")
    assert not provider.wires
    await started.logged("reason=Authorization")
