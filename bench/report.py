"""From results to tables and the page docs/benchmarks.md: medians, ratios, and what the figures do not show."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bench.aims import AIMS, added
from bench.arms import Arm
from bench.cases import CASES
from bench.results import Results, Run


class Column(NamedTuple):
    """A figure by the name it has in the results, and how it is written."""

    head: str
    figure: str
    write: Callable[[float], str]


def _milliseconds(value: float) -> str:
    return f"{value / 1000:,.2f}"


_COLUMNS = (
    Column("per second", "rate", "{:,.0f}".format),
    Column("p50 ms", "p50", _milliseconds),
    Column("p99 ms", "p99", _milliseconds),
    Column("first p50 ms", "first_p50", _milliseconds),
    Column("first p99 ms", "first_p99", _milliseconds),
    Column("gap p99 ms", "gap_p99", _milliseconds),
    Column("start s", "start", "{:.2f}".format),
    Column("search µs", "match", "{:.2f}".format),
    Column("CPU µs", "cpu", "{:,.1f}".format),
    Column("core", "busy", "{:.0%}".format),
    Column("RSS MB", "rss", lambda value: f"{value / 1e6:,.0f}"),
    Column("missed", "missed", "{:,.0f}".format),
    Column("reloads", "reloads", "{:.0f}".format),
    Column("errors", "errors", "{:,.0f}".format),
)
_AIM_HEADS = ("case", "aim", "measured", "")
# Cases in which every arm gives what it can, so that rates compare.
_FREE = {"chat", "tls", "bursts", "routes", "reload"}


def tables(results: Results) -> str:
    """A section a case: its question, and a Markdown table."""
    parts = []
    for case in results.cases():
        asked = CASES[case].__doc__ if case in CASES else "Finding the route, on its own and without HTTP."
        parts.append(f"### {case}\n\n{asked}\n\n{_table(results, case)}")
    return "\n\n".join(parts)


def aims(results: Results) -> str:
    return _markdown([_AIM_HEADS, *(aim.row(results) for aim in AIMS)])


def _table(results: Results, case: str) -> str:
    pairs = [(variant, arm) for variant in results.variants(case) for arm in results.arms(case, variant)]
    columns = [
        column
        for column in _COLUMNS
        if any(results.figure(case, variant, arm, column.figure) is not None for variant, arm in pairs)
    ]
    compared = _relative(case)
    rows = [["", "arm", *(column.head for column in columns), *compared]]
    for variant, arm in pairs:
        found = [(column, results.figure(case, variant, arm, column.figure)) for column in columns]
        figures = ["" if value is None else column.write(value) for column, value in found]
        rows.append([variant, arm.value, *figures, *(how(results, variant, arm) for how in compared.values())])
    return _markdown(rows)


def _relative(case: str) -> dict[str, Callable[[Results, str, Arm], str]]:
    """Columns that compare: with nginx where each gives what it can, with the direct way where times are told."""

    def to_nginx(name: str) -> Callable[[Results, str, Arm], str]:
        def ratio(results: Results, variant: str, arm: Arm) -> str:
            ours, theirs = (results.figure(case, variant, each, name) for each in (arm, Arm.NGINX))
            if not ours or not theirs:
                return ""
            return f"{ours / theirs if name == 'rate' else theirs / ours:.3g}"

        return ratio

    def over_direct(name: str) -> Callable[[Results, str, Arm], str]:
        def difference(results: Results, variant: str, arm: Arm) -> str:
            value = None if arm is Arm.DIRECT else added(case, variant, name, arm)(results)
            return "" if value is None else f"{value:+.2f}"

        return difference

    if case in _FREE:
        return {"rate / nginx": to_nginx("rate"), "per CPU s / nginx": to_nginx("cpu")}
    if case == "rate":
        return {f"added {name} ms": over_direct(name) for name in ("p50", "p99")}
    if case == "streams":
        return {f"added first {name} ms": over_direct(f"first_{name}") for name in ("p50", "p99")}
    return {}


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head; the first column is aligned to the left."""
    heads, *rest = rows
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    rule = [("-" * widths[0]), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in (heads, rule, *rest)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(results: Results, plots: Mapping[str, str], versions: list[str], plan: str) -> str:
    """The page docs/benchmarks.md; `plots` are titles by the names of pictures in the folder of that name beside it."""
    pictures = "\n\n".join(f"![{title}](benchmarks/{name}.svg)" for name, title in plots.items())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torana", "uvloop", "httptools", "msgspec"))
    return f"""\
# What a request costs

Written by `make bench`; run it to see the figures of your machine, or `torana bench -f config.yaml` for those of your
configuration ([Run it](run.md#bench)). The ratios travel better than the rates.

## Aims

One worker on one core, with accounting and the access log on.

{aims(results)}

{Path(__file__).with_name("notes.md").read_text().strip()}

{pictures}

## Figures

`direct` is the load against the provider with nothing in between. `torana` is compiled, as in the container image, and
`plain`, where it is told beside it, is not, as it is from source ([ADR 8](adr/0008-compiled-line.md)). `CPU µs` is that
of a request, or of an event of a stream. `core` is how busy the gateway kept its core: below 100 per cent the load, not
the gateway, set the rate, and requests per CPU second (`per CPU s / nginx`) is the better measure. `missed` are what
fell due while no connection was free: a gateway that misses more than 1 in 100 does not keep up, and what it adds
is not told.

{tables(results)}
{_left_out(results.failed)}
## Machine

{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}.
{libraries}.
{"; ".join(versions)}.

{_runs(results.runs)}

## Method

- Providers: nginx, a fixed chat completion with usage from memory; for streams a C program (`bench/source.c`), one
  thread, each event a write. Clients: wrk; at a fixed rate and for streams an asyncio client (`bench/client.py`), whose
  own share in the times is in those of the direct arm too.
- Provider and clients share core 0; the gateway under test has core 1. One worker each, everything over loopback.
- All gateways pool their upstream connections and set the credential. nginx, HAProxy, Envoy and Torana write an access
  log to a file. Torana also reads the request, puts in the configured model, reads usage, and counts its metrics.
- {plan} The arms take turns within each round; medians. A failed request through Torana fails the whole run.
- Python's compiled modules are there when a start is measured, as they are where a gateway is installed.
- CPU time is user and system time of all the gateway's processes; RSS their sum, the highest seen under load
  (/proc/PID/stat, which counts shared pages of several processes several times).

## What it does not show

- TLS and HTTP/2 on the clients' side, and policies other than the model and the credential.
- A real network, or a provider that takes time to think: there the gateway's share of the latency all but vanishes.
- What happens over hours.
- wrk sends the next request when the last one is answered: under 512 connections latencies are mostly waiting in line.
- nginx, HAProxy and Envoy read no JSON and count no tokens: they are the floor of what a proxy costs, not peers in
  what they do. Portkey and LiteLLM do more than Torana in places, and are measured as they come.
- What two workers serve against one needs three cores: with two, the load and a worker share one, and the rate says
  little. `by CPU time` is what the two serve in a second of CPU time each, against one: the ratio that two cores of
  their own would give, short of what they would do to each other's caches.
- Portkey and LiteLLM have no routes, and are asked over 32 connections and for 200 streams only.
"""


def _runs(runs: Mapping[str, Run]) -> str:
    """Which case was measured when, and at which commit."""
    cases: dict[str, list[str]] = {}
    for case, run in runs.items():
        cases.setdefault(f"commit {run.commit}, {run.date}", []).append(case)
    if len(cases) == 1:
        return f"All of it is of {next(iter(cases))}."
    listed = "\n".join(f"- {', '.join(names)}: {when}" for when, names in cases.items())
    return f"Not all of it was measured at the same time:\n\n{listed}"


def _left_out(failed: Mapping[str, str]) -> str:
    if not failed:
        return ""
    return "\nLeft out:\n\n" + "".join(f"- {what}: {' '.join(why.split())[:200]}\n" for what, why in failed.items())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
