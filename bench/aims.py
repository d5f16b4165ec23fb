"""The aims, each with the figure that says whether it is reached. One that was not measured says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.arms import Arm
from bench.cases import IMAGE, MANY, ONE_WORKER, TWO_BESIDE_THE_LOAD, TWO_WORKERS, chat_variant, routes_variant
from bench.results import Results
from bench.servers import LARGE, SMALL

Measure = Callable[[Results], float | None]


class Aim(NamedTuple):
    """`least` or `most` is the bound; `unit` is a format of the figure."""

    case: str
    measure: Measure
    least: float | None = None
    most: float | None = None
    unit: str = "{:.2f}"

    def row(self, results: Results) -> tuple[str, str, str, str]:
        """Case, aim, what was measured, and whether it is reached."""
        bound = f"≥ {self.unit.format(self.least)}" if self.least is not None else f"≤ {self.unit.format(self.most)}"
        value = self.measure(results)
        if value is None:
            return self.case, bound, "", "not measured"
        reached = value >= self.least if self.least is not None else value <= (self.most or 0.0)
        return self.case, bound, self.unit.format(value), "reached" if reached else "**not reached**"


def rates(case: str, variant: str, other: Arm) -> Measure:
    """Torana's requests a second relative to another's."""

    def measure(results: Results) -> float | None:
        ours, theirs = (results.figure(case, variant, arm, "rate") for arm in (Arm.TORANA, other))
        return ours / theirs if ours is not None and theirs else None

    return measure


def added(case: str, variant: str, name: str, arm: Arm = Arm.TORANA) -> Measure:
    """What an arm adds to a time of the direct one, in milliseconds; none where it cannot keep up."""

    def measure(results: Results) -> float | None:
        through, direct = (results.figure(case, variant, each, name) for each in (arm, Arm.DIRECT))
        missed, done = (results.figure(case, variant, arm, each) or 0.0 for each in ("missed", "requests"))
        if through is None or direct is None or missed > done / 100:
            return None
        return (through - direct) / 1000

    return measure


def figure(case: str, variant: str, name: str, scale: float = 1.0) -> Measure:
    def measure(results: Results) -> float | None:
        value = results.figure(case, variant, Arm.TORANA, name)
        return None if value is None else value * scale

    return measure


def per_core(case: str, variant: str, arm: Arm = Arm.TORANA) -> Measure:
    """Requests, or events, for a second of CPU time."""

    def measure(results: Results) -> float | None:
        used = results.figure(case, variant, arm, "cpu")
        return 1e6 / used if used else None

    return measure


def quotient(case: str, name: str, of: str, to: str) -> Measure:
    """A figure of one variant relative to that of another."""

    def measure(results: Results) -> float | None:
        upper, lower = (results.figure(case, variant, Arm.TORANA, name) for variant in (of, to))
        return upper / lower if upper is not None and lower else None

    return measure


def two_workers(results: Results) -> float | None:
    """What two workers serve in a second of CPU time each, relative to one: their rate, if each had a core alone."""
    one = results.figure("workers", ONE_WORKER, Arm.TORANA, "cpu")
    found = (results.figure("workers", each, Arm.TORANA, "cpu") for each in (TWO_WORKERS, TWO_BESIDE_THE_LOAD))
    two = next(filter(None, found), None)
    return 2 * one / two if one is not None and two else None


_ONE_KB, _PLAIN = chat_variant(SMALL, 32), "1,000/s"
_MS, _MB, _MANY = "{:.2f} ms", "{:.0f} MB", "{:,.0f}"

AIMS = (
    Aim("1 KiB, 32 connections, against nginx as proxy", rates("chat", _ONE_KB, Arm.NGINX), least=0.6),
    Aim("the same, against Envoy", rates("chat", _ONE_KB, Arm.ENVOY), least=1.1),
    Aim("the same, against Portkey", rates("chat", _ONE_KB, Arm.PORTKEY), least=20, unit="{:.0f}"),
    Aim("the same, against LiteLLM", rates("chat", _ONE_KB, Arm.LITELLM), least=150, unit="{:.0f}"),
    Aim("16 KiB both ways, 32 connections, against nginx", rates("chat", chat_variant(LARGE, 32), Arm.NGINX), 0.55),
    Aim("1 MiB in, model overridden, against nginx", rates("chat", chat_variant(IMAGE, 32), Arm.NGINX), 0.5),
    Aim("latency added at 1,000 requests/s, p50", added("rate", _PLAIN, "p50"), most=0.15, unit=_MS),
    Aim("latency added at 1,000 requests/s, p99", added("rate", _PLAIN, "p99"), most=0.6, unit=_MS),
    Aim("first token delayed at 200 streams, p50", added("streams", "200", "first_p50"), most=0.3, unit=_MS),
    Aim("events/s per core, in bursts of 200", per_core("bursts", "200 events"), least=100_000, unit=_MANY),
    Aim("events/s per core, one by one, 2,000 streams", per_core("streams", "2,000"), least=20_000, unit=_MANY),
    Aim("memory of a worker at rest", figure("start", routes_variant(12), "rss", 1e-6), most=45, unit=_MB),
    Aim("memory with 2,000 open streams", figure("streams", "2,000", "rss", 1e-6), most=120, unit=_MB),
    Aim(
        "2 workers against 1, the load on a third core", quotient("workers", "rate", TWO_WORKERS, ONE_WORKER), least=1.8
    ),
    Aim("2 workers against 1, by CPU time", two_workers, least=1.8),
    Aim("start to first answer, 12 routes", figure("start", routes_variant(12), "start"), most=0.4, unit="{:.2f} s"),
    Aim(
        "start to first answer, 1,000 routes", figure("start", routes_variant(MANY), "start"), most=1.5, unit="{:.2f} s"
    ),
    Aim(
        "route search among 1,000 against 1",
        quotient("match", "match", routes_variant(MANY), routes_variant(1)),
        most=1.3,
    ),
)
