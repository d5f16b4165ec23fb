"""What a request costs through Torana, next to nginx as a plain proxy, on this machine: `make bench`.

nginx plays the provider and wrk the clients, both on core 0; the gateway under test has core 1 to itself. All arms run
in one go and take turns within a round, so that a noisy neighbour disturbs them alike; what is told is the median.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from bench.report import Arm, Case, Plan, Sample, Samples, page, table
from bench.servers import Server, chat_answer, cost, nginx_proxy, provider, torana

_ROOT = Path(__file__).parents[1]
_PAGE = _ROOT / "docs" / "benchmarks.md"

_SIZES = (1024, 16384)
_CONNECTIONS = (1, 32, 512)
_LOAD_CORE, _GATEWAY_CORE = 0, 1
_START_SECONDS = 20.0

_FULL = Plan(rounds=5, seconds=2)
_QUICK = Plan(rounds=3, seconds=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short rounds, printed only: for a first look")
    parser.add_argument(
        "--torana", default=str(_ROOT / ".venv/bin/torana"), help="the command to measure; gets -f FILE"
    )
    arguments = parser.parse_args()
    plan = _QUICK if arguments.quick else _FULL

    if len(os.sched_getaffinity(0)) <= _GATEWAY_CORE:
        sys.exit("two cores are needed: one for the load, one for the gateway")
    _install({"nginx": "nginx", "wrk": "wrk", "taskset": "util-linux"})

    samples: Samples = defaultdict(list)
    for size in _SIZES:
        _measure(size, plan, shlex.split(arguments.torana), samples)
    print(table(samples))
    if not arguments.quick:
        _PAGE.write_text(page(samples, plan))
        print(f"written to {_PAGE.relative_to(_ROOT)}")
    failed = sum(sample.errors for several in samples.values() for sample in several)
    if failed:
        print(f"{failed} requests failed: the figures are worth nothing", file=sys.stderr)
    return 1 if failed else 0


def _measure(size: int, plan: Plan, command: list[str], samples: Samples) -> None:
    """All arms and connection counts with bodies of `size` bytes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torana-bench-")))
        upstream = stack.enter_context(provider(folder, _LOAD_CORE, size))
        arms = {
            Arm.DIRECT: Server(upstream.port),
            Arm.NGINX: stack.enter_context(nginx_proxy(folder, _GATEWAY_CORE, upstream.port)),
            Arm.TORANA: stack.enter_context(torana(folder, _GATEWAY_CORE, upstream.port, command)),
        }
        for arm, server in arms.items():
            _await_answer(arm, server, chat_answer(size), folder)
            _load(server, Case(arm, size, 32), seconds=1)  # warms caches and pools, and is thrown away
        for number in range(plan.rounds):
            for connections in _CONNECTIONS:
                for arm, server in arms.items():
                    case = Case(arm, size, connections)
                    samples[case].append(_load(server, case, plan.seconds))
            print(f"{size // 1024} KiB: round {number + 1} of {plan.rounds}", file=sys.stderr)


def _load(server: Server, case: Case, seconds: int) -> Sample:
    """One run of wrk, and what the server used meanwhile."""
    before = cost(server.pid) if server.pid else None
    done = subprocess.run(
        [
            *("taskset", "-c", str(_LOAD_CORE), "wrk", "--threads", "1"),
            *("--connections", str(case.connections), "--duration", f"{seconds}s", "--timeout", "10s"),
            *("--script", str(Path(__file__).with_name("wrk.lua")), f"http://127.0.0.1:{server.port}"),
            *("--", str(case.size)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    elapsed = result["microseconds"] / 1e6
    after = cost(server.pid) if server.pid else None
    return Sample(
        rate=result["requests"] / elapsed,
        p50=result["p50"],
        p99=result["p99"],
        cpu=(after.cpu - before.cpu) * 1e6 / max(1, result["requests"]) if after and before else None,
        busy=(after.cpu - before.cpu) / elapsed if after and before else None,
        rss=after.rss if after else None,
        errors=result["errors"],
    )


def _await_answer(arm: Arm, server: Server, expected: str, folder: Path) -> None:
    """Wait until the arm passes on the provider's answer, byte for byte."""
    body = b'{"model":"asked-for","messages":[]}'
    url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urlopen(Request(url, body, {"content-type": "application/json"}), timeout=5) as answer:
                text = answer.read().decode()
            if text != expected:
                sys.exit(f"{arm.value} answers something else than the provider: {text[:200]}")
        except (URLError, ConnectionError) as error:
            if time.monotonic() > deadline:
                logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in folder.glob(f"*{arm.value}*.*"))
                sys.exit(f"{arm.value} did not start: {error}\n{logs}")
            time.sleep(0.05)
        else:
            return


def _install(packages: dict[str, str]) -> None:
    """Get the Debian packages of the programs that are missing."""
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if not missing:
        return
    print(f"installing {', '.join(missing)}", file=sys.stderr)
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-qq", "--no-install-recommends", *missing], check=True)


if __name__ == "__main__":
    sys.exit(main())
