"""delay: a request goes on after its pause, if its client is still there."""

from __future__ import annotations

import time

import pytest

from tests.http.calls import answer, ask, in_order, late, llm
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import EARLY, each, until
from torana.model.policy import Cors, Delay, DirectResponse, RoutePolicies, Timeout

_GET = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_request_waits_before_it_goes_on(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The upstream is asked when the delay is over."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, plain=True, policies=RoutePolicies(delay=Delay(0.2)))
    began = time.monotonic()
    assert (await ask(started, connect, _GET % b"")).body == b"ok"
    assert time.monotonic() - began >= 0.2 - EARLY


async def test_an_answer_of_our_own_waits_too(line: StartLine, connect: Connect) -> None:
    """A direct response is delayed like a backend's."""
    policies = RoutePolicies(delay=Delay(0.2), direct_response=DirectResponse(201))
    started = await line(policies=policies)
    began = time.monotonic()
    assert (await ask(started, connect, _GET % b"")).status == 201
    assert time.monotonic() - began >= 0.2 - EARLY


async def test_a_preflight_does_not_wait(line: StartLine, connect: Connect) -> None:
    """What is answered before the delay's place is answered at once."""
    started = await line(policies=RoutePolicies(cors=Cors(allow_origins=("*",)), delay=Delay(3600.0)))
    preflight = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
    assert (await ask(started, connect, preflight)).status == 200


async def test_a_client_that_leaves_ends_the_wait(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The request of a client that has left goes nowhere, and is logged as such."""
    provider = await upstream(each(_OK))
    started = await line(provider.port, plain=True, policies=RoutePolicies(delay=Delay(3600.0)))
    wire = await connect(started.port)
    await wire.send(_GET % b"")
    (server,) = (port.server for port in started.worker._ports.values())
    await until(lambda: any(connection.active for connection in server.connections))
    wire.reset()
    await started.logged("http.status=499")
    assert not provider.requests


async def test_what_a_client_asks_for_is_an_expressions(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A delay can be what the request says."""
    provider = await upstream(each(_OK))
    delay = Delay(expression="duration(request.headers['x-delay'])")
    started = await line(provider.port, plain=True, policies=RoutePolicies(delay=delay))
    began = time.monotonic()
    assert (await ask(started, connect, _GET % b"")).status == 200
    assert (await ask(started, connect, _GET % b"x-delay: 200ms\r\n")).status == 200
    assert time.monotonic() - began >= 0.2 - EARLY


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("field", ["request", "total"])
async def test_a_delay_is_part_of_the_whole_time(
    alone: bool, field: str, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """`requestTimeout` and `totalTimeout` begin with the request: a `delay` cannot outlast them."""
    good = await upstream(each(answer()))
    policies = RoutePolicies(timeout=Timeout(**{field: 0.1}), delay=Delay(3600))
    backends = [llm(good.port)] if alone else [llm(good.port), llm(good.port, "other")]
    started = await line(shares=in_order(*backends), policies=policies)
    got = await ask(started, connect)
    assert (got.status, f"timeout.{field}Timeout of 0.1 s" in got.body.decode()) == (504, True)
    assert not good.requests


async def test_a_delay_leaves_less_time(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """What is left of `requestTimeout` after the delay is all that the endpoints have together."""
    slow, other = await upstream(late(0.4)), await upstream(each(answer()))  # within the whole, and not within the rest
    policies = RoutePolicies(timeout=Timeout(request=0.5), delay=Delay(0.3))
    started = await line(shares=in_order(llm(slow.port), llm(other.port)), policies=policies)
    assert (await ask(started, connect)).status == 504
    assert not other.requests
