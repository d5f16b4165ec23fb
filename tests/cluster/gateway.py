"""ClusterGateway: `torana kubernetes` on a cluster, in a process of its own, as outside of it or as in a pod."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.waits import until
from tests.e2e.harness import command, environment
from tests.e2e.wire import Answer, IncompleteError, ask
from tests.ports import free_port

_STOP_SECONDS = 30.0
_TAIL = 6000  # characters of the log in the message of a failure
_REPOSITORY = Path(__file__).parents[2]


class ClusterGateway:
    """Starts when it is made, and is not waited for: a cluster may be what it waits for itself."""

    def __init__(
        self, way: Path, folder: Path, leases: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        """`way` into the cluster is a kubeconfig, or the folder of a service account, as in a pod.

        `leases` is the namespace of the lease, where the latter does not say it.
        """
        self.leases = leases
        self._log = folder / "log.txt"
        admin, self.stats, self.readiness = (free_port() for _ in range(3))
        addresses = {
            "ADMIN_ADDR": f"127.0.0.1:{admin}",
            "STATS_ADDR": f"127.0.0.1:{self.stats}",
            "READINESS_ADDR": f"127.0.0.1:{self.readiness}",
        }
        if way.suffix == ".kubeconfig":
            words = command("kubernetes", "--kubeconfig", str(way), "--lease-namespace", leases, *arguments)
        else:
            words = [sys.executable, "-m", "tests.cluster.in_pod", str(way), "kubernetes", *arguments]
            addresses["PYTHONPATH"] = str(_REPOSITORY)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                words,
                env=environment({**addresses, **(env or {})}, folder),
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="backslashreplace")

    @property
    def last_words(self) -> str:
        return f"the end of its log:\n{self.log[-_TAIL:]}"

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def check(self) -> None:
        """Raises AssertionError with the end of its log when it has ended."""
        assert self.runs, f"the gateway ended with {self.process.returncode}; {self.last_words}"

    def ready(self) -> Answer | None:
        """The answer of the readiness endpoint; None while nobody listens."""
        self.check()
        with contextlib.suppress(OSError, IncompleteError):
            return ask(self.readiness, "GET", "/healthz/ready")
        return None

    def until_ready(self, detail: str = "ready\n") -> None:
        """Wait until it is ready and says exactly `detail`, which is the word alone when all is well."""

        def is_ready() -> bool:
            answer = self.ready()
            return answer is not None and answer.status == 200 and answer.text == detail

        self._until(is_ready, f"readiness to say {detail!r}")

    @property
    def said(self) -> str:
        """What readiness says now."""
        answer = self.ready()
        return answer.text if answer is not None else ""

    def until_told(self, *parts: str, status: int = 200) -> None:
        """Wait until readiness answers with `status` and all these words."""

        def is_told() -> bool:
            answer = self.ready()
            return answer is not None and answer.status == status and all(part in answer.text for part in parts)

        self._until(is_told, f"readiness to say {parts}")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.said!r}; {self.last_words}") from error

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels in braces if it has any."""
        text = ask(self.stats, "GET", "/metrics").text
        return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")))

    def stop(self) -> None:
        if self.runs:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
