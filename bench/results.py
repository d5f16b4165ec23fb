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


class Key(NamedTuple):
    case: str
    variant: str
    arm: Arm


class Results:
    """All rounds of all that was measured."""

    def __init__(self) -> None:
        self._rounds: defaultdict[Key, list[Figures]] = defaultdict(list)
        self.failed: dict[str, str] = {}
        """Cases and arms that could not be measured, each with the reason."""

    def add(self, key: Key, figures: Figures) -> None:
        self._rounds[key].append(figures)

    def drop(self, case: str) -> None:
        """Forget a case, for it is measured again."""
        self.failed.pop(case, None)
        for key in [key for key in self._rounds if key.case == case]:
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
        file.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": rows, "failed": self.failed}), indent=1))

    @classmethod
    def load(cls, file: Path) -> Results:
        """Those of earlier runs; none if there was none."""
        results = cls()
        if file.exists():
            saved = msgspec.json.decode(file.read_bytes())
            results.failed = saved["failed"]
            for case, variant, arm, rounds in saved["rows"]:
                results._rounds[Key(case, variant, Arm(arm))] = rounds
        return results
