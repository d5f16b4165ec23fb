"""Ten thousand requests while an upstream comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re

from tests.e2e.conftest import StartGateway
from tests.e2e.harness import Gateway
from tests.e2e.load import Clients, Mood, Provider
from tests.e2e.routes import bind, route
from tests.loops import new_loop

REQUESTS = 10_000
CLIENTS = 32
MOODS = (Mood.UP, Mood.DOWN, Mood.UP, Mood.THROTTLED, Mood.SLOW, Mood.DOWN, Mood.SLOW, Mood.THROTTLED)
PACE = 0.1
"""Seconds of a mood."""

PAUSE = 0.008
"""Seconds of a client between two requests: the test is to meet many moods, not to measure speed."""


def one_group(ports: list[int]) -> str:
    """Three providers that share what comes; one that fails is left out, and is back soon, to be met in every mood."""
    soon = "policies: {health: {eviction: {consecutiveFailures: 1, duration: 50ms, maxDuration: 50ms}}}"
    providers = ", ".join(
        f'{{name: up{port}, hostOverride: "http://127.0.0.1:{port}", provider: {{openAI: {{}}}}, {soon}}}'
        for port in ports
    )
    return bind([route("x", f"backends: [{{ai: {{groups: [{{providers: [{providers}]}}]}}}}]", "", "{}")])


async def _flap(provider: Provider) -> None:
    for mood in itertools.cycle(MOODS):
        await provider.turn(mood)
        await asyncio.sleep(PACE)


def test_one_of_three_flaps(gateway: StartGateway) -> None:
    """While one of three upstreams goes down, throttles and dawdles by turns, each of 10,000 requests is served."""

    async def run() -> tuple[Clients, Gateway, Provider]:
        providers = [await Provider().start() for _ in range(3)]
        running = gateway(one_group([provider.port for provider in providers]))
        clients = Clients(running.port, pause=PAUSE)
        flapping = asyncio.create_task(_flap(providers[0]))
        await clients.ask(CLIENTS, REQUESTS)
        flapping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flapping
        for provider in providers:
            provider.stop()
        return clients, running, providers[0]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        clients, running, flapping = runner.run(run())
    print(f"{REQUESTS} requests, not served: {len(clients.unserved)}")  # noqa: T201 - the number that this is about
    assert not clients.unserved, clients.unserved[:5]
    assert clients.served == REQUESTS
    assert flapping.answered, "it was asked while it was well"
    failed = re.findall(r'attempt_failures_total{[^}]*reason="([^"]+)"} \S+', running.metrics())
    assert {"429", "upstream_connect_failed"} <= set(failed), "it was asked while it was not"
