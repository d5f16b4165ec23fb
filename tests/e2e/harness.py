"""Gateway: the real command in a process of its own, started on free ports and waited for.

A configuration may write `$GATEWAY_PORT` for the port of its bind. The `config:` block with the addresses of the
operations endpoints is put in; for the rest the text is used as it is, and its lines keep their numbers unless it has a
`config:` block of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests.e2e.wire import Answer, IncompleteError, ask
from tests.ports import free_port

START_SECONDS = 60.0
STOP_SECONDS = 30.0

T = TypeVar("T")
Source = Literal["file", "stdin", "text"]
"""How the configuration is handed over: `-f FILE`, `-f -` or `-c TEXT`."""


def until(condition: Callable[[], T], what: str, timeout: float = 30.0) -> T:
    """The first true value of `condition`, asked again and again for up to `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        time.sleep(0.01)


def replace_text(file: Path, text: str) -> None:
    """In one step, as editors do: who looks in between finds the former text or the new one, and not half of it."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)


def alive(pid: int) -> bool:
    """Whether the process runs. One that has ended counts as such before its parent has taken notice (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment(extra: Mapping[str, str], home: Path) -> dict[str, str]:
    """What a process gets: nothing of ours, so that no key or proxy of the machine changes what it does."""
    ours = {name: os.environ[name] for name in ("PATH", "RES_OPTIONS") if name in os.environ}
    return {**ours, "HOME": str(home), "PYTHONUNBUFFERED": "1", **extra}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "torana", *words]


class Gateway:
    """A running gateway. `base_url` is its origin (without /v1); `log` all it has written to stdout and stderr."""

    def __init__(
        self,
        text: str,
        folder: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        workers: int | None = None,
        source: Source = "file",
    ) -> None:
        """Start it and wait until it is ready. Raises AssertionError with its log when it ends instead."""
        self._source = source
        self.file = folder / "config.yaml"
        self._log = folder / "log.txt"
        self._folder = folder
        self._arguments = [*arguments, *(("--workers", str(workers)) if workers else ())]
        self._env = environment(env or {}, folder)
        for last in (False, False, True):
            self.port, *others = (free_port() for _ in range(4))
            self.admin, self.stats, self.readiness = (f"127.0.0.1:{port}" for port in others)
            self.base_url = f"http://127.0.0.1:{self.port}"
            self.file.write_text(self.configure(text))
            self._start()
            if self._ready():
                return
            if last or "cannot listen on" not in self.log:  # else somebody was faster with the port
                break
        raise AssertionError(f"the gateway did not start (status {self.process.poll()}); it said:\n{self.log}")

    def configure(self, text: str) -> str:
        """`text` with this gateway's port and its operations addresses in it."""
        text = text.replace("$GATEWAY_PORT", str(self.port))
        lines = f"  adminAddr: {self.admin}\n  statsAddr: {self.stats}\n  readinessAddr: {self.readiness}\n"
        if re.search(r"^config:\n", text, re.MULTILINE):
            return re.sub(r"^config:\n", f"config:\n{lines}", text, count=1, flags=re.MULTILINE)
        return f"{text.rstrip()}\nconfig:\n{lines}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="backslashreplace")

    def write(self, text: str) -> None:
        """Replace the configuration file."""
        replace_text(self.file, self.configure(text))

    def reload(self, text: str, says: str = "configuration reloaded") -> str:
        """Write a new configuration and wait for a line of the log with `says`; that line."""
        before = self.log.count(says)
        self.write(text)
        return self.wait_for_log(says, before + 1)

    def wait_for_log(self, says: str | re.Pattern[str], count: int = 1) -> str:
        """The `count`th line of the log in which `says` is found."""
        pattern = re.compile(re.escape(says)) if isinstance(says, str) else says

        def found() -> str | None:
            *whole, _ = self.log.split("\n")  # the last may be half written
            lines = [line for line in whole if pattern.search(line)]
            return lines[count - 1] if len(lines) >= count else None

        try:
            return until(found, f"{pattern.pattern!r} in the log") or ""
        except AssertionError as error:
            raise AssertionError(f"{error}; the log is:\n{self.log}") from None

    def request_line(self, path: str, count: int = 1) -> str:
        """The access log's line for a path."""
        return self.wait_for_log(re.compile(rf" info request .*http\.path={re.escape(path)} "), count)

    def get(self, address: str, path: str) -> Answer:
        """A GET of an operations endpoint."""
        return ask(int(address.rpartition(":")[2]), "GET", path)

    def metrics(self) -> str:
        return self.get(self.stats, "/metrics").text

    def config_dump(self) -> Any:
        return json.loads(self.get(self.admin, "/config_dump").body)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """The exit status, once it has ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway did not end within {timeout:g} s; its log is:\n{self.log}") from None

    def stop(self) -> None:
        """End it, kindly if it can."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            time_left = time.monotonic() + 1.0
            while self.process.poll() is None and time.monotonic() < time_left:
                time.sleep(0.005)
            if self.process.poll() is None:  # requests under way would hold it until its deadline
                with contextlib.suppress(ProcessLookupError):
                    self.signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def workers(self) -> list[int]:
        """The process ids of its worker processes, in ascending order."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent = entry.read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.pid and state != "Z":
                    found.append(int(entry.parent.name))
        return sorted(found)

    def _start(self) -> None:
        words = {"file": ("-f", str(self.file)), "stdin": ("-f", "-"), "text": ("-c", self.file.read_text())}
        stdin = self.file if self._source == "stdin" else Path(os.devnull)
        with self._log.open("w") as log, stdin.open() as given:
            self.process = subprocess.Popen(
                command(*words[self._source], *self._arguments),
                env=self._env,
                cwd=self._folder,
                stdin=given,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _ready(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None:
            with contextlib.suppress(OSError, IncompleteError):
                if self.get(self.readiness, "/healthz/ready").status == 200:
                    return True
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                return False
            time.sleep(0.01)
        return False
