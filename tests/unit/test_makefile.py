"""What the Makefile does on a machine that lacks something."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_cluster_tests_without_go(tmp_path: Path) -> None:
    """Without Go `make cluster-test` says in one line that it is skipped and why, and that is no failure."""
    for name in ("make", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        # The tools of development count as installed: it is not their making that is looked at.
        ["make", "--no-print-directory", "--old-file=.venv/.dev", "cluster-test"],
        cwd=_REPOSITORY,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "cluster-test: skipped, for Go is not installed and kube-apiserver is built with it\n"
