"""From samples to a table and a page: medians, ratios, and what the figures do not show."""

from __future__ import annotations

import os
import platform
import subprocess
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Arm(Enum):
    """What the load goes through."""

    DIRECT = "direct"
    NGINX = "nginx"
    TORANA = "torana"


class Plan(NamedTuple):
    """How often each case is measured, and how long."""

    rounds: int
    seconds: int


class Case(NamedTuple):
    """An arm under a load: bodies of `size` bytes in and out, over so many connections."""

    arm: Arm
    size: int
    connections: int


class Sample(NamedTuple):
    """One run: requests a second; latencies and CPU time a request in microseconds; the share of its core; bytes."""

    rate: float
    p50: float
    p99: float
    cpu: float | None
    busy: float | None
    rss: int | None
    errors: int


Samples = dict[Case, list[Sample]]

_HEADS = ("body", "conns", "arm", "requests/s", "p50 µs", "p99 µs", "CPU µs/req", "core", "RSS MB", "rate", "CPU")


def table(samples: Samples) -> str:
    """A Markdown table; its last two columns compare with nginx as proxy: requests per second, and per CPU second."""
    rows = [_HEADS, tuple("-" * len(head) for head in _HEADS)]
    for case in sorted(samples, key=lambda case: (case.size, case.connections, list(Arm).index(case.arm))):
        middle = _median(samples[case])
        nginx = _median(samples[case._replace(arm=Arm.NGINX)])
        rows.append(
            (
                f"{case.size // 1024} KiB",
                str(case.connections),
                case.arm.value,
                f"{middle.rate:,.0f}",
                f"{middle.p50:,.0f}",
                f"{middle.p99:,.0f}",
                "" if middle.cpu is None else f"{middle.cpu:.1f}",
                "" if middle.busy is None else f"{middle.busy:.0%}",
                "" if middle.rss is None else f"{middle.rss / 1e6:.0f}",
                f"{middle.rate / nginx.rate:.2f}",
                "" if not middle.cpu or not nginx.cpu else f"{nginx.cpu / middle.cpu:.2f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return "\n".join("| " + " | ".join(map(str.rjust, row, widths)) + " |" for row in rows)


def page(samples: Samples, plan: Plan) -> str:
    """The page docs/benchmarks.md."""
    nginx = _first_line("nginx", "-v").removeprefix("nginx version: ")
    wrk = " ".join(_first_line("wrk", "--version").split()[:2])
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torana", "uvloop", "httptools", "msgspec"))
    return f"""\
# What a request costs

Written by `make bench`; run it to see the figures of your machine. The ratios travel better than the rates.

{table(samples)}

`direct` is wrk against the provider with nothing in between, `nginx` is nginx as a plain proxy, `torana` is Torana.
`core` is how busy the gateway kept its core: below 100 per cent the load, and not the gateway, set the rate.
`rate` is requests per second relative to nginx, `CPU` is requests per CPU second relative to nginx: the second is the
better measure wherever `core` is below 100 per cent.

## Machine

{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}.
{libraries}; {nginx}; {wrk}.

## Method

- nginx is the provider: a fixed chat completion with usage, from memory. wrk posts a chat request of the same size.
- Provider and wrk share core 0; the gateway under test has core 1. One worker each, everything over loopback.
- Both gateways pool their upstream connections, set the credential, and write an access log to a file. Torana also
  reads the request, puts in the configured model, reads usage from the answer, and counts its metrics.
- {plan.rounds} rounds of {plan.seconds} s a case, the arms taking turns within each round; medians. Before them, a
  second of warm-up each. A failed request fails the whole run.
- CPU time is user and system time of all the gateway's processes, RSS their sum after the run (/proc/PID/stat).

## What it does not show

- TLS on either side, HTTP/2, streamed answers, and rewriting of anything but the model and the credential.
- A real network, or a provider that takes time to think: there the gateway's share of the latency all but vanishes.
- More than one worker or core, and what happens over hours.
- Latency at a given rate: wrk sends the next request when the last one is answered, so under 512 connections the
  latencies are mostly waiting in line.
- nginx reads no JSON and counts no tokens: it is the floor of what a proxy costs, not a peer in what it does.
"""


def _median(several: list[Sample]) -> Sample:
    """The median of each figure on its own; failures add up."""

    def middle(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if known else None

    cpu = middle([sample.cpu for sample in several])
    rss = middle([sample.rss for sample in several])
    return Sample(
        rate=median(sample.rate for sample in several),
        p50=median(sample.p50 for sample in several),
        p99=median(sample.p99 for sample in several),
        cpu=cpu,
        busy=middle([sample.busy for sample in several]),
        rss=None if rss is None else int(rss),
        errors=sum(sample.errors for sample in several),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    # nginx tells its version on stderr, and wrk exits with 1 after telling its own.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0].strip()
