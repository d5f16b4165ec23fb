"""Worker processes in trouble, seen from outside: stopped, killed, given what they cannot serve."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, alive, until
from tests.e2e.routes import bind, host_route, route
from tests.e2e.wire import ask


def answering(body: str, matches: str = "") -> str:
    return bind([route("x", "backends: []", f"directResponse: {{status: 200, body: '{body}'}}", matches or "{}")])


def requests(running: Gateway) -> float:
    found = re.search(r'^agentgateway_requests_total\{.*route="x".*\} (\S+)$', running.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_reload_with_more_workers_than_threads(gateway: StartGateway) -> None:
    """A reload needs a free thread of the default executor, and finds one however many workers there are."""
    running = gateway(answering("old"), workers=min(32, (os.cpu_count() or 1) + 4))
    running.reload(answering("new"))
    assert {ask(running.port, "GET", "/x").text for _ in range(20)} == {"new"}


def test_stopped_worker_does_not_hold_the_end(gateway: StartGateway) -> None:
    """The parent ends in time though a worker does not answer, and takes it along."""
    running = gateway(f"config:\n  connectionTerminationDeadline: 200ms\n{answering('x')}", workers=2)
    children = running.workers()
    os.kill(children[0], signal.SIGSTOP)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0  # after 0.2 s + 2 s, or some more on a busy machine
    assert not any(map(alive, children))


def test_counts_outlive_a_worker(gateway: StartGateway) -> None:
    """What a worker had counted by the last scrape stays in the sums when it is killed and replaced."""
    running = gateway(answering("x"), workers=2)
    for _ in range(40):
        ask(running.port, "GET", "/x")
    until(lambda: requests(running) == 40, "40 requests in the metrics")
    (killed, kept) = running.workers()
    os.kill(killed, signal.SIGKILL)
    running.wait_for_log(f"worker {killed} ended with status -9; starting another")
    assert requests(running) == 40
    until(lambda: kept in running.workers() and len(running.workers()) == 2, "the new worker")
    assert requests(running) == 40


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("env", "threads"), [({}, 64), ({"UV_THREADPOOL_SIZE": "6"}, 6)], ids=["ours", "theirs"])
def test_many_names_are_looked_up_at_once(
    env: dict[str, str], threads: int, workers: int, gateway: StartGateway, stand_in: StartStandIn
) -> None:
    """Each process has the threads for 32 names at once, so that silent ones hold up no other, or as it is told."""
    running = gateway(bind([host_route("x", f"localhost:{stand_in().port}")]), workers=workers, env=env)
    pids = running.workers() if workers > 1 else [running.pid]

    def each_has_them() -> bool:
        assert ask(running.port, "GET", "/x").status == 200  # by the worker that the kernel chooses
        return all(len([*Path(f"/proc/{pid}/task").iterdir()]) > threads for pid in pids)

    until(each_has_them, f"{threads} threads in each process")
    assert all(len([*Path(f"/proc/{pid}/task").iterdir()]) < threads + 8 for pid in pids)
