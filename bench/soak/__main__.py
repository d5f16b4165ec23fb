"""One run, from the first process to the verdict."""

from __future__ import annotations

import argparse
import asyncio
import csv
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from time import monotonic

import uvloop

from bench.soak.clients import Load, call
from bench.soak.plots import plot
from bench.soak.samples import Sample, take, take_all
from bench.soak.verdict import growths
from bench.soak.versions import REFUSED, STEADY, version
from tests.e2e.harness import Gateway, until
from tests.e2e.simulator import simulating
from tests.e2e.wire import Connection

_ROOT = Path(__file__).parents[2]
_RELOAD_EVERY = 3.0
_SETTLING = 30.0
"""Seconds after which everything has been given back: the slow are cut after 20, and pools keep what is idle for 3."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long the load lasts; 600 when left out")
    parser.add_argument("--out", type=Path, default=_ROOT / ".cache/soak", help="the folder of soak.svg and soak.csv")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torana-soak-")))
        first, second = (stack.enter_context(simulating()).port for _ in range(2))
        running = Gateway(version(0, (first, second)), folder)
        stack.callback(running.stop)
        return uvloop.run(_run(running, (first, second), arguments))


async def _run(running: Gateway, ports: tuple[int, int], arguments: argparse.Namespace) -> int:
    start = monotonic()
    await asyncio.to_thread(_ask_once, running)  # what is made with the first request stays
    rest = await asyncio.to_thread(_rested, running, start)
    load, ended = Load(running.port, random.Random(arguments.seed)), asyncio.Event()
    sampling = asyncio.create_task(take_all(running, start, ended))
    loading = asyncio.create_task(load.run())
    reloading = asyncio.create_task(_reload(running, ports))
    await asyncio.wait({sampling, loading, reloading}, timeout=arguments.seconds, return_when="FIRST_EXCEPTION")
    left = monotonic() - start
    load.stop.set()
    reloading.cancel()
    await loading
    if running.process.poll() is not None:
        print(f"FAILED\n  the gateway has ended; the last it said:\n{running.log[-4000:]}")
        return 1
    kept = await asyncio.to_thread(_not_given_back, running, start, rest)
    ended.set()
    samples = await sampling
    _write(samples, arguments.out / "soak.csv")
    plot(samples, left, arguments.out / "soak.svg")
    print(f"written to {arguments.out}/soak.svg and soak.csv\n")
    return _tell([sample for sample in samples if sample.at < left], load, kept)


def _ask_once(running: Gateway) -> None:
    with Connection(running.port) as connection:
        connection.send(call(STEADY))
        assert connection.answer().status == 200


def _rested(running: Gateway, start: float) -> Sample:
    """What is held while nobody asks."""

    def idle() -> Sample | None:
        sample = take(running, start)
        return sample if sample.clients == sample.upstreams == 0 else None

    return until(idle, "the pools to be empty") or take(running, start)


async def _reload(running: Gateway, ports: tuple[int, int]) -> None:
    """A new version every few seconds; each fifth is refused."""
    for number in count(1):
        await asyncio.sleep(_RELOAD_EVERY)
        await asyncio.to_thread(running.write, REFUSED if number % 5 == 0 else version(number, ports))


def _not_given_back(running: Gateway, start: float, rest: Sample) -> dict[str, tuple[int, int]]:
    """What is still held after a while, each with how much it was at rest and is now."""
    kept: dict[str, tuple[int, int]] = {}

    def same() -> bool:
        nonlocal kept
        now = take(running, start).held
        kept = {name: (held, now[name]) for name, held in rest.held.items() if now[name] > held}
        return not kept

    try:
        until(same, "all of it to be given back", _SETTLING)
    except AssertionError:
        return kept
    return {}


def _tell(samples: Sequence[Sample], load: Load, kept: dict[str, tuple[int, int]]) -> int:
    """Print the summary; 1 when something is wrong."""
    faults = []
    elapsed = samples[-1].at - samples[0].at
    requests = samples[-1].requests - samples[0].requests
    cpu = samples[-1].cpu - samples[0].cpu
    print(f"{elapsed:.0f} s of load, {requests:,} requests, {100 * cpu / elapsed:.0f}% of a core\n")
    kinds: dict[str, Counter[str]] = {}
    for (kind, outcome), number in load.outcomes.items():
        kinds.setdefault(kind, Counter())[outcome] = number
    for kind, outcomes in sorted(kinds.items()):
        print(f"  {kind:12}", ", ".join(f"{outcome}: {number:,}" for outcome, number in outcomes.most_common()))
    print(f"\n  {'':26}{'first tenth':>12}{'last tenth':>12}{'slope, 2nd half':>17}{'bound':>8}")
    for growth in growths(samples):
        bound = growth.bound
        print(
            f"  {bound.name + bound.unit:26}{growth.first:12.1f}{growth.last:12.1f}{growth.grown:+17.1f}{bound.most:8g}"
        )
        if growth.leaks:
            faults.append(f"{bound.name} grew by {growth.grown:.1f}{bound.unit} over the second half")
    faults += [f"{name}: {held} before the load, {now} long after it" for name, (held, now) in kept.items()]
    if load.unserved:
        faults.append(f"{len(load.unserved)} not served, such as {load.unserved[:3]}")
    if faults:
        print("\nFAILED", *faults, sep="\n  ")
        return 1
    print("\nno slope, all given back, everybody served who had a right to it")
    return 0


def _write(samples: Sequence[Sample], file: Path) -> None:
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(Sample._fields)
        rows.writerows(samples)


if __name__ == "__main__":
    sys.exit(main())
