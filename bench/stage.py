"""Where cases are played: what there is to measure, how long, on which cores; and the ways of measuring one thing.

The load has core 0, the gateway core 1. Arms take turns within a round, so that a noisy neighbour disturbs them alike.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.arms import PATH, Arm, Programs, Setting, headers, started
from bench.client import Order
from bench.results import Figures, Key, Results
from bench.servers import Provider, Server, chat_request, cost, has_ended

LOAD_CORE, GATEWAY_CORE = "0", "1"
_START_SECONDS = 90.0
_SAMPLE_SECONDS = 0.2


class Plan(NamedTuple):
    """How often each figure is taken, how long a load lasts, and how long a stream is; `whole` has every variant."""

    rounds: int
    seconds: int
    tokens: int
    whole: bool


class CannotMeasureError(Exception):
    """A case or an arm that cannot be measured; the text says why."""


class Place(NamedTuple):
    """An arm that runs: where it listens, and what it is in front of."""

    arm: Arm
    server: Server
    setting: Setting

    @property
    def headers(self) -> dict[str, str]:
        return headers(self.arm, self.setting.provider)


class Stage(NamedTuple):
    plan: Plan
    programs: Programs
    results: Results

    @contextmanager
    def folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="torana-bench-") as name:
            yield Path(name)

    def arms(self, *wanted: Arm) -> list[Arm]:
        """Those of the wanted ones that can be had."""
        return [arm for arm in wanted or Arm if arm is Arm.DIRECT or arm in self.programs.commands]

    @contextmanager
    def places(self, case: str, setting: Setting, *wanted: Arm, streams: bool = False) -> Iterator[list[Place]]:
        """The arms, each answering as it should. One that does not is told, and left out of the case."""
        with ExitStack() as stack:
            found: list[Place] = []
            for arm in self.arms(*wanted):
                if arm is Arm.PLAIN and case != "chat":
                    continue  # one case tells what compiling buys
                if arm is Arm.LITELLM and case != "chat" and not self.plan.whole:
                    continue  # it takes ten seconds to start, and as many to answer what the others do in one
                place = Place(arm, stack.enter_context(started(arm, self.programs, setting)), setting)
                try:
                    await_answer(place, streams=streams)
                except CannotMeasureError as error:
                    self.results.failed[f"{case}, {arm.value}"] = str(error)
                    print(f"{case}: {error}", file=sys.stderr)
                else:
                    found.append(place)
            yield found

    def warm(self, measure: Callable[..., Figures], *arguments: Any) -> None:
        """Fill caches and pools; a quick look does without."""
        if self.plan.whole:
            measure(*arguments)

    def rounds(self, measures: Mapping[Key, Callable[[], Figures]]) -> None:
        """Every measure once a round, in turn."""
        for number in range(self.plan.rounds):
            for key, measure in measures.items():
                self.results.add(key, measure())
            case = next(iter(measures)).case if measures else ""
            print(f"{case}: round {number + 1} of {self.plan.rounds}", file=sys.stderr)


def wrk(place: Place, size: int, connections: int, seconds: float) -> Figures:
    """Requests of `size` bytes, one after the other on each connection."""
    origin = f"http://127.0.0.1:{place.server.port}"
    if place.arm is Arm.DIRECT:
        origin = place.setting.provider.origin
    command = [
        *("taskset", "-c", LOAD_CORE, "wrk", "--threads", "1"),
        *("--connections", str(connections), "--duration", f"{max(1, round(seconds))}s", "--timeout", "10s"),
        *("--script", str(Path(__file__).with_name("wrk.lua")), origin, "--", str(size)),
        *(word for pair in place.headers.items() for word in pair),
    ]
    return _costed(place, command, seconds, per="requests")


def ask(place: Place, order: Order) -> Figures:
    """What bench/client.py measures; CPU is that of an event, where the order is for events."""
    order = msgspec.structs.replace(order, port=place.server.port, headers=place.headers)
    text = msgspec.json.encode(order).decode()
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "bench.client", text]
    return _costed(place, command, order.seconds + 60, per="requests" if order.what == "rate" else "events")


def _costed(place: Place, command: list[str], seconds: float, per: str) -> Figures:
    """The figures that a load prints, and what the gateway used meanwhile."""
    pid, peak, over = place.server.pid, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(_SAMPLE_SECONDS):
            peak = max(peak, cost(pid).rss)

    before, began = cost(pid), time.monotonic()
    watcher = threading.Thread(target=watch)
    if pid:
        watcher.start()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 90)
    finally:
        over.set()
    after, elapsed = cost(pid), time.monotonic() - began
    if done.returncode:
        raise CannotMeasureError(f"the load on {place.arm.value} failed: {done.stderr[-500:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    elapsed = figures.pop("microseconds", elapsed * 1e6) / 1e6
    figures.setdefault("rate", figures[per] / elapsed)
    if pid:
        watcher.join()
        used = after.cpu - before.cpu
        figures["busy"], figures["rss"] = used / elapsed, max(peak, after.rss)
        if used and figures[per]:
            figures["cpu"] = used * 1e6 / figures[per]
    return figures


def await_answer(place: Place, *, streams: bool = False) -> float:
    """Wait until the arm gives the provider's answer; seconds that took. Raises CannotMeasureError."""
    began = time.monotonic()
    body = chat_request(1024)
    if streams:
        body = b'{"model":"asked-for","stream":true,"user":"paced-0-0-2","messages":[{"role":"user","content":"a"}]}'
    wanted = "[DONE]" if streams else "chat.completion"
    while True:
        status, text = _answer(place, body)
        if status == 200 and wanted in text:
            return time.monotonic() - began
        gone = bool(place.server.pid) and has_ended(place.server.pid)
        if gone or time.monotonic() - began > _START_SECONDS or status not in (0, 503):
            log = place.setting.folder / f"{place.arm.value}-{place.server.port}.out"
            said = log.read_text(errors="replace")[-1000:] if log.exists() else ""
            raise CannotMeasureError(f"{place.arm.value} does not answer as it should: {status} {text[:200]} {said}")
        time.sleep(0.002)


def _answer(place: Place, body: bytes) -> tuple[int, str]:
    """Status and text; status 0 when there is nobody yet."""
    if place.arm is Arm.DIRECT and place.setting.provider.root:
        return 200, "chat.completion [DONE]"  # wrk speaks TLS itself, and checks no certificate
    connection = HTTPConnection("127.0.0.1", place.server.port, timeout=20)
    try:
        connection.request("POST", PATH, body, {"content-type": "application/json"} | place.headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def setting(folder: Path, upstream: Provider, **more: int) -> Setting:
    return Setting(folder, upstream, GATEWAY_CORE, **more)
