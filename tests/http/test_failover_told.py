"""Who was tried, and why it failed: in errors, headers, log and metrics, and for a lone endpoint too."""

from __future__ import annotations

import json

from tests.http.calls import answer, ask, idle, in_order, llm, once
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import each
from tests.ports import free_port
from torana.model.backend import Backend, Target
from torana.model.config import Settings
from torana.model.policy import BodyBuffer, Buffer, RoutePolicies


async def test_nobody_answers(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """When the last one gave no answer, the error names all that were tried, and the least pause that one asked for."""
    throttled = await upstream(each(answer(429, fields=b"Retry-After: 7\r\n")))
    slower = await upstream(each(answer(429, fields=b"Retry-After: 70\r\n")))
    port = free_port()
    started = await line(shares=in_order(llm(throttled.port, "one"), llm(slower.port, "two"), llm(port, "three")))
    got = await ask(started, connect)
    assert (got.status, got.value(b"retry-after")) == (503, b"7")
    error = json.loads(got.body)["error"]
    assert error["code"] == "upstream_connect_failed"
    assert error["message"] == (
        "No endpoint answered; tried: one (429), two (429), three (upstream_connect_failed). "
        "The last one: no connection (phase connect)."
    )
    await started.logged(f"Cannot connect to 127.0.0.1:{port} (phase connect): connection refused")
    await idle(started)


async def test_addresses_are_the_operators(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """An error tells a client no address of those that were tried, nor a name that has it; `attemptHeaders` does."""
    failing, port = await upstream(each(answer(500))), free_port()
    places = (f"127.0.0.1:{failing.port}", f"127.0.0.1:{port}")
    shares = in_order(llm(failing.port, places[0]), llm(port, f"http://{places[1]}"))
    message = json.loads((await ask(await line(shares=shares), connect)).body)["error"]["message"]
    assert "tried: the backend (500), the backend (upstream_connect_failed)" in message
    assert "127.0.0.1" not in message
    started = await line(shares=shares, settings=Settings(ipv6=False, attempt_headers=True))
    message = json.loads((await ask(started, connect)).body)["error"]["message"]
    assert f"tried: {places[0]} (500), {places[1]} (upstream_connect_failed)" in message
    assert f"Cannot connect to {places[1]}" in message


async def test_headers_that_tell(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """With `attemptHeaders` an answer names its endpoint and those that had failed, an error all that were tried."""
    failing, good = await upstream(each(answer(500))), await upstream(each(answer(fields=b"x-torana-endpoint: x\r\n")))
    port = free_port()
    settings = Settings(ipv6=False, attempt_headers=True)
    started = await line(shares=in_order(llm(failing.port), llm(good.port)), settings=settings)
    got = await ask(started, connect)
    assert [value for name, value in got.fields if name == b"x-torana-endpoint"] == [b"127.0.0.1:%d" % good.port]
    assert got.value(b"x-torana-attempts") == b"127.0.0.1:%d 500" % failing.port
    started = await line(shares=in_order(llm(failing.port), llm(port)), settings=settings)
    got = await ask(started, connect)
    tried = b"127.0.0.1:%d 500, 127.0.0.1:%d upstream_connect_failed" % (failing.port, port)
    assert (got.status, got.value(b"x-torana-attempts")) == (503, tried)
    started = await line(good.port, settings=settings)
    got = await ask(started, connect)
    assert (got.value(b"x-torana-endpoint"), got.value(b"x-torana-attempts")) == (b"127.0.0.1:%d" % good.port, None)


async def test_headers_that_do_not_tell(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Without it nobody learns where the gateway's requests go."""
    failing, good = await upstream(each(answer(500))), await upstream(each(answer()))
    started = await line(shares=in_order(llm(failing.port), llm(good.port)))
    assert not [name for name in (await ask(started, connect)).names if name.startswith(b"x-torana")]


async def test_an_answer_too_long_to_be_held(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """One that breaks off when its client has a part of it is told of like any other that failed."""
    broken, other = await upstream(once(answer(200, b"x" * (2 << 20))[:-5])), await upstream(each(answer()))
    started = await line(shares=in_order(llm(broken.port, "broken"), llm(other.port)))
    got = await ask(started, connect)
    assert (got.status, got.complete) == (200, False)
    place = f"127.0.0.1:{broken.port}"
    await started.logged(f'attempts="{place} upstream_closed"')
    assert started.worker.state().failures == {("broken", place, "upstream_closed"): 1}


async def test_an_answer_that_is_gathered(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """One that breaks off before its client has any of it is told of, though nobody else is asked by then."""
    broken, other = await upstream(once(answer()[:-5])), await upstream(each(answer()))
    plain = [Backend(name, Target("127.0.0.1", port)) for name, port in (("broken", broken.port), ("o", other.port))]
    policies = RoutePolicies(buffer=Buffer(response=BodyBuffer(1000)))
    started = await line(shares=in_order(*plain), policies=policies)
    assert (await ask(started, connect)).status == 502
    await started.logged(f'attempts="127.0.0.1:{broken.port} upstream_closed"')
    assert not other.requests
