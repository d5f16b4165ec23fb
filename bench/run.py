"""What a request costs through Torana, next to what a user could pick instead, on this machine: `make bench`.

Every case is one question (bench/cases.py), asked of all arms in one go; --only asks some of them. What they find is
kept in .cache/bench/results.json, from which docs/benchmarks.md is written, so that a case can be measured again alone;
the page then says which case is of which commit.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.arms import Arm
from bench.cases import CASES, SECONDS
from bench.peers import CACHE, ROOT, commit, programs, versions
from bench.plots import draw
from bench.report import aims, page, tables
from bench.results import Results, Run
from bench.stage import CannotMeasureError, Plan, Stage

_FULL = Plan(rounds=5, seconds=2, tokens=64, whole=True)
_QUICK = Plan(rounds=1, seconds=1, tokens=16, whole=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round, printed only: for a first look")
    parser.add_argument("--only", action="append", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--without", action="append", choices=[arm.value for arm in Arm], default=[], metavar="ARM")
    compiled, plain = ROOT / ".cache/compiled/bin/torana", ROOT / ".venv/bin/torana"
    parser.add_argument(
        "--torana",
        default=str(compiled if compiled.exists() else plain),
        help="the command to measure; gets -f FILE. By default the compiled one, where it can be made",
    )
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for the load, one for the gateway")
    # A stream is a connection on either side.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    found, missing = programs(shlex.split(arguments.torana))
    if arguments.torana == str(compiled):
        found.commands[Arm.PLAIN] = [str(plain)]
    for name in arguments.without:
        found.commands.pop(Arm(name), None)
    folder = CACHE / "quick" if arguments.quick else ROOT / "docs"
    kept = CACHE / "results.json"
    results = Results() if arguments.quick else Results.load(kept)
    for arm in Arm:
        results.failed.pop(arm.value, None)
    results.failed.update({arm.value: why for arm, why in missing.items()})
    stage = Stage(_QUICK if arguments.quick else _FULL, found, results)
    cases = arguments.only or [*CASES]
    if not arguments.quick:
        print(f"this takes about {sum(SECONDS[case] for case in cases) / 60:.0f} minutes", file=sys.stderr)
    for case in cases:
        _play(case, stage)
        if not arguments.quick:
            results.save(kept)
    print(f"{tables(results)}\n\n{aims(results)}")
    _write(folder, results, versions(found), stage.plan)
    return _verdict(results)


def _play(case: str, stage: Stage) -> None:
    """One that fails is told, and does not keep the others from being measured."""
    stage.results.drop(case)
    date, began = datetime.now(UTC), time.monotonic()
    try:
        CASES[case](stage)
    except (CannotMeasureError, OSError, subprocess.SubprocessError) as error:
        stage.results.failed[case] = str(error)
        print(f"{case} failed: {error}", file=sys.stderr)
    took = time.monotonic() - began
    stage.results.runs[case] = Run(commit(), f"{date:%Y-%m-%d}", took)
    print(f"{case}: {took:.0f} s", file=sys.stderr)


def _write(folder: Path, results: Results, told: list[str], plan: Plan) -> None:
    drawn = {plot.name: plot.title for plot in draw(results, folder / "benchmarks")}
    warm = ", and a second of warm-up before" if plan.whole else ", without warm-up: a first look only"
    words = f"{plan.rounds} rounds of {plan.seconds} s a figure{warm}."
    file = folder / "benchmarks.md"
    file.write_text(page(results, drawn, told, words))
    print(f"\nwritten to {file}")


def _verdict(results: Results) -> int:
    """1 when a request through Torana failed: the figures would be worth nothing."""
    errors = sum(
        results.figure(case, variant, arm, "errors") or 0.0
        for case in results.cases()
        for variant in results.variants(case)
        for arm in (Arm.DIRECT, Arm.TORANA)
    )
    failed = [case for case in CASES if case in results.failed]
    if errors:
        print(f"{errors:.0f} requests failed: the figures are worth nothing", file=sys.stderr)
    return 1 if errors or failed else 0


if __name__ == "__main__":
    sys.exit(main())
