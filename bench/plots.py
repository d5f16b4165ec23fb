"""The pictures of docs/benchmarks.md: one a question, bars by arm, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.aims import added, per_core
from bench.arms import Arm
from bench.cases import chat_variant, routes_variant
from bench.results import Results
from bench.servers import SMALL

_ONE_KB = chat_variant(SMALL, 32)
_COLOURS = ("#2f6db3", "#e0913a")


class Series(NamedTuple):
    name: str
    value: Callable[[Results, Arm], float | None]


class Plot(NamedTuple):
    """`name` is the file's; `log` is for figures that are powers of ten apart."""

    name: str
    title: str
    axis: str
    series: Sequence[Series]
    log: bool = False


def _figure(case: str, variant: str, name: str, scale: float = 1.0) -> Callable[[Results, Arm], float | None]:
    def value(results: Results, arm: Arm) -> float | None:
        found = results.figure(case, variant, arm, name)
        return None if found is None else found * scale

    return value


def _added(case: str, variant: str, name: str) -> Callable[[Results, Arm], float | None]:
    return lambda results, arm: None if arm is Arm.DIRECT else added(case, variant, name, arm)(results)


PLOTS = (
    Plot(
        "throughput",
        "Throughput per core: 1 KiB, 32 connections",
        "requests per CPU second",
        [Series("", lambda results, arm: per_core("chat", _ONE_KB, arm)(results))],
        log=True,
    ),
    Plot(
        "cpu",
        "CPU time a request: 1 KiB, 32 connections",
        "microseconds",
        [Series("", _figure("chat", _ONE_KB, "cpu"))],
        log=True,
    ),
    Plot(
        "latency",
        "Latency added at 1,000 requests/s",
        "milliseconds",
        [Series(name, _added("rate", "1,000/s", name)) for name in ("p50", "p99")],
    ),
    Plot(
        "first-token",
        "First token delayed, 200 streams",
        "milliseconds",
        [Series(name, _added("streams", "200", f"first_{name}")) for name in ("p50", "p99")],
        log=True,
    ),
    Plot(
        "memory",
        "Resident memory",
        "MB",
        [
            Series("at rest", _figure("start", routes_variant(12), "rss", 1e-6)),
            Series("2,000 streams", _figure("streams", "2,000", "rss", 1e-6)),
        ],
        log=True,
    ),
    Plot(
        "start",
        "Start to first answer",
        "seconds",
        [
            Series(f"{number} routes", _figure("start", routes_variant(routes), "start"))
            for number, routes in (("12", 12), ("1,000", 1000))
        ],
        log=True,
    ),
)


def draw(results: Results, folder: Path) -> list[Plot]:
    """The plots for which there is something to draw, as NAME.svg in the folder."""
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "torana", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    return [plot for plot in PLOTS if _draw(plot, results, folder / f"{plot.name}.svg")]


def _draw(plot: Plot, results: Results, file: Path) -> bool:
    values = {arm: [series.value(results, arm) for series in plot.series] for arm in reversed(Arm)}
    arms = [arm for arm, several in values.items() if any(value is not None for value in several)]
    if not arms:
        return False
    many = len(plot.series)
    figure = Figure(figsize=(6.4, 0.8 + 0.34 * many**0.5 * len(arms)), layout="constrained")
    axes = figure.add_subplot()
    for number, series in enumerate(plot.series):
        places = [at + (many - 1) / 2 * 0.4 - number * 0.4 for at in range(len(arms))]
        widths = [max(values[arm][number] or 0.0, 0.0) for arm in arms]
        bars = axes.barh(places, widths, 0.8 / many, color=_COLOURS[number], label=series.name)
        labels = ["" if (value := values[arm][number]) is None else f"{value:,.3g}" for arm in arms]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_yticks(range(len(arms)), [arm.value for arm in arms])
    axes.set_title(plot.title, fontsize=10)
    axes.set_xlabel(plot.axis + (", logarithmic" if plot.log else ""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)
    if plot.log:
        axes.set_xscale("log")
    if many > 1:
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    return True
