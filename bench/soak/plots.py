"""Plots: a page with what was held over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from bench.soak.samples import Sample


def plot(samples: Sequence[Sample], loaded: float, file: Path) -> None:
    """An SVG file. `loaded`: seconds from the start at which the clients left."""
    mpl.use("svg")
    pairs = [*pairwise(samples)]
    panels: dict[str, dict[str, list[float]]] = {
        "resident memory, MiB": {"": [sample.memory / 2**20 for sample in samples]},
        "connections": {
            "clients": [sample.clients for sample in samples],
            "upstreams": [sample.upstreams for sample in samples],
            "idle upstreams": [sample.idle for sample in samples],
        },
        "open files, tasks": {
            "files": [sample.files for sample in samples],
            "tasks": [sample.tasks for sample in samples],
            "pending requests": [sample.pending for sample in samples],
        },
        "requests a second": {"": [(b.requests - a.requests) / (b.at - a.at) for a, b in pairs]},
        "CPU, % of a core": {"": [100 * (b.cpu - a.cpu) / (b.at - a.at) for a, b in pairs]},
    }
    at = [sample.at for sample in samples]
    figure, places = plt.subplots(len(panels), 1, sharex=True, figsize=(9, 10), layout="constrained")
    for place, (title, lines) in zip(places, panels.items(), strict=True):
        for label, values in lines.items():
            place.plot(at[-len(values) :], values, label=label, linewidth=1)
        place.axvline(loaded, color="grey", linestyle=":")
        place.set_title(title, loc="left", fontsize=10)
        place.set_ylim(bottom=0)
        place.grid(alpha=0.3)
        if "" not in lines:
            place.legend(fontsize=8, loc="upper right")
    places[-1].set_xlabel("seconds; the dotted line is where the clients leave")
    figure.savefig(file)
    plt.close(figure)
