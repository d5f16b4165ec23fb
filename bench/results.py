"""What was measured: figures by case, variant and arm, in several rounds; their medians; kept as JSON between runs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from bench.arms import Arm

Figures = dict[str, float]
"""By name. `rate` a second; `p50`, `p99` and `cpu` (of a request or an event) in microseconds; `busy` the share of a
core; `rss` in bytes; `start` in seconds; `errors` a count. What could not be measured is absent."""


_PART_OF = {"match": "routes"}
"""Tables of their own that a case measures beside its own."""


class Key(NamedTuple):
    case: str
    variant: str
    arm: Arm


class Run(msgspec.Struct, frozen=True):
    """When a case was measured last, and what: the commit, and the time it took in seconds."""

    commit: str
    date: str
    seconds: float


class _Saved(msgspec.Struct):
    rows: list[tuple[str, str, str, list[Figures]]]
    failed: dict[str, str]
    runs: dict[str, Run] = {}


class Results:
    """All rounds of all that was measured."""

    def __init__(self) -> None:
        self._rounds: defaultdict[Key, list[Figures]] = defaultdict(list)
        self.runs: dict[str, Run] = {}
        self.failed: dict[str, str] = {}
        """Cases and arms that could not be measured, each with the reason."""

    def add(self, key: Key, figures: Figures) -> None:
        self._rounds[key].append(figures)

    def drop(self, case: str) -> None:
        """Forget a case, for it is measured again."""
        self.runs.pop(case, None)
        for what in [what for what in self.failed if what.partition(", ")[0] == case]:
            del self.failed[what]
        for key in [key for key in self._rounds if _PART_OF.get(key.case, key.case) == case]:
            del self._rounds[key]

    def cases(self) -> list[str]:
        return list(dict.fromkeys(key.case for key in self._rounds))

    def variants(self, case: str) -> list[str]:
        return list(dict.fromkeys(key.variant for key in self._rounds if key.case == case))

    def arms(self, case: str, variant: str) -> list[Arm]:
        found = {key.arm for key in self._rounds if (key.case, key.variant) == (case, variant)}
        return [arm for arm in Arm if arm in found]

    def figure(self, case: str, variant: str, arm: Arm, name: str) -> float | None:
        """The median over the rounds; failures add up."""
        rounds = self._rounds.get(Key(case, variant, arm), [])
        known = [figures[name] for figures in rounds if name in figures]
        if not known:
            return None
        return sum(known) if name == "errors" else median(known)

    def save(self, file: Path) -> None:
        rows = [(*key[:2], key.arm.value, rounds) for key, rounds in self._rounds.items()]
        file.parent.mkdir(parents=True, exist_ok=True)
        saved = _Saved(rows, self.failed, self.runs)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(saved), indent=1))

    @classmethod
    def load(cls, file: Path) -> Results:
        """Those of earlier runs; none if there was none."""
        results = cls()
        if file.exists():
            saved = msgspec.json.decode(file.read_bytes(), type=_Saved)
            results.failed, results.runs = saved.failed, saved.runs
            for case, variant, arm, rounds in saved.rows:
                results._rounds[Key(case, variant, Arm(arm))] = rounds
        return results
