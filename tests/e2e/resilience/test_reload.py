"""A configuration that changes all the time, and what must not be noticed of it."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, until
from tests.e2e.load import Clients, Provider
from tests.e2e.routes import bind, host_route, route
from tests.e2e.stand_in import StandIn, Visit, chat, delta
from tests.e2e.wire import Answer, Connection, post
from tests.loops import new_loop
from tests.ports import free_port

PATH = "/v1/chat/completions"
RELOADS = 100
CLIENTS = 8

one_and_two = pytest.mark.parametrize("workers", [1, 2], ids=["one-worker", "two-workers"])


def group(name: str, ports: list[int], hostnames: str = "", policies: str = "") -> str:
    """A route to a group of providers on these ports of this machine."""
    providers = ", ".join(
        f'{{name: up{port}, hostOverride: "http://127.0.0.1:{port}", provider: {{openAI: {{}}}}}}' for port in ports
    )
    hosts = f"hostnames: [{hostnames}]\n      " if hostnames else ""
    return route(name, f"{hosts}backends: [{{ai: {{groups: [{{providers: [{providers}]}}]}}}}]", policies, "{}")


def second_port(port: int, routes: str) -> str:
    return f"- port: {port}\n  listeners:\n  - routes:\n{routes}"


def second_listener(routes: str) -> str:
    return f"  - hostname: other.test\n    routes:\n{routes}"


def version(number: int, ports: list[int], port: int) -> str:
    """The configuration number n: how many backends, listeners and ports it has changes with it."""
    text = bind([group(f"v{number}", ports[: number % 3 + 1])])
    if number % 2:
        text += second_listener(group("other", ports))
    if number % 4 < 2:
        text += second_port(port, group("second", ports[:1]))
    return text


class Under(NamedTuple):
    """Load on a gateway: on what stays all the time, and on a port that comes and goes."""

    steady: Clients
    coming_and_going: Clients


async def _reload_all(running: Gateway, ports: list[int], port: int) -> None:
    for number in range(1, RELOADS + 1):
        text = version(number, ports, port)
        await asyncio.to_thread(running.write, text)
        await asyncio.to_thread(until, partial(_serves, running, f"v{number}"), f"version {number}")


def _serves(running: Gateway, name: str) -> bool:
    """Whether all workers serve by the configuration that has a route of this name."""
    return f'"{name}"' in running.get(running.admin, "/config_dump").text


@one_and_two
def test_a_hundred_reloads(workers: int, gateway: StartGateway) -> None:
    """While 8 clients call, a hundred reloads that add and remove backends, listeners and ports fail no request."""
    second = free_port()

    async def run() -> tuple[Under, Gateway]:
        providers = [await Provider().start() for _ in range(3)]
        ports = [provider.port for provider in providers]
        running = await asyncio.to_thread(gateway, version(0, ports, second), workers=workers)
        load = Under(Clients(running.port, pause=0.002), Clients(second, pause=0.01))
        asking = [
            asyncio.create_task(load.steady.ask(CLIENTS, 1_000_000)),
            asyncio.create_task(load.coming_and_going.ask(2, 1_000_000)),
        ]
        try:
            await _reload_all(running, ports, second)
        finally:
            load.steady.stop.set()
            load.coming_and_going.stop.set()
            await asyncio.gather(*asking)
            for provider in providers:
                provider.stop()
        return load, running

    with asyncio.Runner(loop_factory=new_loop) as runner:
        load, running = runner.run(run())
    assert not load.steady.unserved, load.steady.unserved[:5]
    assert load.steady.served > 1000
    ways = ("ConnectionRefused", "ConnectionReset", "BrokenPipe", "IncompleteReadError('0 bytes", "b'HTTP/1.1 404 ")
    odd = [what for what in load.coming_and_going.unserved if not what.startswith(ways)]
    assert not odd, f"who comes to a port that has gone is told so, or gets no answer: {odd[:5]}"
    assert load.coming_and_going.served
    running.wait_for_log("configuration reloaded", RELOADS)
    until(lambda: "downstream_open_connections 0.0" in running.metrics(), "the clients' connections to be closed")


@pytest.fixture
def provider(stand_in: StartStandIn) -> StandIn:
    return stand_in()


class Paused:
    """A script that sends half of a stream, and the rest when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, visit: Visit) -> None:
        visit.begin()
        visit.event(delta("before"))
        assert self.go.wait(15)
        visit.event(delta("after"))
        visit.event(b"[DONE]")
        visit.end()


@one_and_two
def test_a_removed_backend_drains(
    workers: int, gateway: StartGateway, provider: StandIn, stand_in: StartStandIn
) -> None:
    """A stream of a provider that a reload removes from its group ends well, and nobody asks that provider again."""
    provider.script = paused = Paused()
    stays = stand_in()
    running = gateway(bind([group("x", [provider.port])]), workers=workers)
    with Connection(running.port) as connection:
        connection.request("POST", PATH, None, b'{"model":"m","stream":true}')
        connection.start()
        assert b"before" in connection.reader.chunk()
        running.reload(bind([group("x", [stays.port])]))
        assert post(running.port, PATH, {"model": "m"}).status == 200
        paused.go.set()
        assert [b"after" in connection.reader.chunk(), b"DONE" in connection.reader.chunk()] == [True, True]
        assert connection.reader.chunk() == b""
    assert len(provider.seen) == 1
    until(lambda: provider.open == 0, "the connection to the removed backend to be closed")


@one_and_two
def test_a_port_that_goes_away(workers: int, gateway: StartGateway, provider: StandIn) -> None:
    """A request under way on a port that a reload removes gets its answer, which tells that the connection closes."""
    go = threading.Event()

    def script(visit: Visit) -> None:
        assert go.wait(15)
        chat(visit)

    provider.script = script
    port = free_port()
    first = bind([group("x", [provider.port])])
    running = gateway(first + second_port(port, group("y", [provider.port])), workers=workers)
    with Connection(port) as busy, Connection(port) as idle:
        busy.request("POST", PATH, None, b'{"model":"m"}')
        provider.wait()
        running.reload(first)
        assert idle.reader.some() == b"", "an idle connection is closed at once"
        go.set()
        answer = busy.answer()
        assert (answer.status, answer.complete, answer["connection"]) == (200, True, "close")
        assert busy.reader.some() == b""
    with pytest.raises(OSError, match="refused"):
        Connection(port)


def test_a_listener_that_goes_away(gateway: StartGateway, provider: StandIn) -> None:
    """A request under way on a hostname that a reload removes gets its answer; the next one there is told 404."""
    provider.script = paused = Paused()
    first = bind([group("x", [provider.port])]).replace("  - routes:", "  - hostname: a.test\n    routes:")
    running = gateway(first + second_listener(group("y", [provider.port])))
    with Connection(running.port) as connection:
        connection.request("POST", PATH, {"Host": "other.test"}, b'{"model":"m","stream":true}')
        connection.start()
        assert b"before" in connection.reader.chunk()
        running.reload(first)
        paused.go.set()
        assert b"after" in connection.reader.chunk()
        assert connection.reader.until(b"0\r\n\r\n").count(b"DONE") == 1
        assert connection.ask("GET", "/", {"Host": "other.test"}).error["code"] == "route_not_found"


# what was learned


def _in_order(first: StandIn, second: StandIn, name: str) -> str:
    providers = [
        f'{{providers: [{{name: up{one.port}, hostOverride: "http://127.0.0.1:{one.port}", '
        "provider: {openAI: {}}}]}"
        for one in (first, second)
    ]
    return bind([route(name, f"backends: [{{ai: {{groups: [{', '.join(providers)}]}}}}]", "", "{}")])


def test_health_survives(gateway: StartGateway, provider: StandIn, stand_in: StartStandIn) -> None:
    """A provider that asked for a minute's pause is left alone for it, reload or not."""
    reserve = stand_in()
    provider.script = lambda visit: visit.reply(429, [("Retry-After", "60")])
    running = gateway(_in_order(provider, reserve, "x"))
    assert post(running.port, PATH, {"model": "m"}).status == 200
    for number in range(3):
        running.reload(_in_order(provider, reserve, f"renamed{number}"))
        assert post(running.port, PATH, {"model": "m"}).status == 200
    assert (len(provider.seen), len(reserve.seen)) == (1, 4)
    assert (
        f'evictions_total{{backend="up{provider.port}",endpoint="127.0.0.1:{provider.port}"}} 1.0' in running.metrics()
    )


def test_latency_survives(gateway: StartGateway, provider: StandIn, stand_in: StartStandIn) -> None:
    """A provider that was found to be the slower of two is not tried out anew after a reload."""
    fast = stand_in()
    slow = threading.Event()

    def script(visit: Visit) -> None:
        slow.wait(1.5)
        chat(visit)

    provider.script = script
    ports = [provider.port, fast.port]
    running = gateway(bind([group("x", ports)]))

    def calls(count: int) -> None:
        for _ in range(count):
            assert post(running.port, PATH, {"model": "m"}).status == 200

    while not (provider.seen and fast.seen):
        calls(1)
    before = len(provider.seen)
    running.reload(bind([group("renamed", ports)]))
    calls(20)
    assert len(provider.seen) == before


@one_and_two
def test_rate_limits_survive(workers: int, gateway: StartGateway, provider: StandIn) -> None:
    """What a client has used of its limit stays used when something else of the configuration changes."""
    limit = "localRateLimit: [{maxTokens: 4, tokensPerFill: 4, fillInterval: 1h}]"
    running = gateway(bind([group("x", [provider.port], policies=limit)]), workers=workers)
    answers: list[Answer] = [post(running.port, PATH, {"model": "m"}) for _ in range(3)]
    running.reload(bind([group("x", [provider.port], policies=limit), host_route("more", "other.example:80")]))
    answers += [post(running.port, PATH, {"model": "m"}) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
