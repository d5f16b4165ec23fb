"""What `make soak` takes for a leak, and what it does not."""

from __future__ import annotations

import random

import pytest

from bench.soak.clients import Load
from bench.soak.samples import Sample
from bench.soak.verdict import growths, slope

_MIB = 2**20


def _samples(seconds: int, leak: float, start: float = 60 * _MIB) -> list[Sample]:
    """Memory that grows by `leak` octets a second and is noisy by 2 MiB, with a spike of 200 MiB now and then."""
    chance = random.Random(1)
    memory = [
        int(start + leak * at + chance.uniform(-1, 1) * _MIB + (200 * _MIB if chance.random() < 0.05 else 0))
        for at in range(seconds)
    ]
    noisy = [chance.randrange(20, 60) for _ in range(seconds)]
    return [
        Sample(float(at), held, count, count, count, count, count, count, 100 * at, 0.0)
        for at, (held, count) in enumerate(zip(memory, noisy, strict=True))
    ]


@pytest.mark.parametrize("seconds", [60, 600, 7200])
@pytest.mark.parametrize(("leak", "found"), [(0.0, []), (300_000.0, ["memory"])], ids=["none", "300-kB-a-second"])
def test_a_leak_is_told_from_noise(seconds: int, leak: float, found: list[str]) -> None:
    """Memory that grows is a leak however noisy it is, spikes are none, and nor is a load that varies by chance."""
    assert [growth.bound.name for growth in growths(_samples(seconds, leak)) if growth.leaks] == found


def test_a_leak_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose memory grows ends with 1 and says by how much it grew; one without a slope ends with 0."""
    soak = pytest.importorskip("bench.soak.__main__", reason="needs matplotlib", exc_type=ImportError)
    load = Load(0, random.Random(1))
    assert soak._tell(_samples(60, 300_000.0), load, {}) == 1
    assert "FAILED\n  memory grew by " in capsys.readouterr().out
    assert soak._tell(_samples(60, 0.0), load, {}) == 0


def test_the_first_half_is_for_warming_up() -> None:
    """What grows at first and then stays is no leak."""
    samples = [*_samples(300, 100_000.0), *_samples(320, 0.0, start=90 * _MIB)]
    samples = [sample._replace(at=float(at)) for at, sample in enumerate(samples)]
    assert not [growth for growth in growths(samples) if growth.leaks]


def test_a_slope() -> None:
    """The slope of points on a line is the line's, whatever a few others say."""
    assert slope([(x, 2.0 * x) for x in range(50)] + [(50.0, 9000.0)]) == pytest.approx(2.0)
