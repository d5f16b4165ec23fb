"""Samples: what the gateway's process holds, once a second."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from tests.e2e.harness import Gateway

INTERVAL = 1.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_NUMBER = re.compile(r"^agentgateway_(\w+?)(?:\{.*\})? ([0-9.e+-]+)$", re.MULTILINE)


class Sample(NamedTuple):
    """One moment. `at` is seconds from the start, `memory` resident bytes, `cpu` seconds used so far."""

    at: float
    memory: int
    files: int
    tasks: int
    clients: int
    upstreams: int
    idle: int
    pending: int
    requests: int
    cpu: float

    @property
    def held(self) -> dict[str, int]:
        """What must be given back when nobody uses the gateway."""
        return {
            "open files": self.files,
            "tasks": self.tasks,
            "client connections": self.clients,
            "upstream connections": self.upstreams,
            "idle upstream connections": self.idle,
            "pending requests": self.pending,
        }


def take(running: Gateway, start: float) -> Sample:
    """Raises OSError when the gateway has ended."""
    process = Path(f"/proc/{running.pid}")
    memory = int((process / "statm").read_text().split()[1]) * _PAGE
    files = len([*(process / "fd").iterdir()])
    ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    numbers: dict[str, float] = {}
    for name, value in _NUMBER.findall(running.metrics()):
        numbers[name] = numbers.get(name, 0.0) + float(value)
    return Sample(
        monotonic() - start,
        memory,
        files,
        int(numbers["tasks"]),
        int(numbers["downstream_open_connections"]),
        int(numbers["upstream_open_connections"]),
        int(numbers["upstream_idle_connections"]),
        int(numbers["upstream_pending_requests"]),
        int(numbers.get("requests_total", 0)),
        sum(map(int, ticks)) / _TICKS,
    )


async def take_all(running: Gateway, start: float, stop: asyncio.Event) -> list[Sample]:
    """One each INTERVAL until `stop` is set."""
    samples: list[Sample] = []
    while not stop.is_set():
        samples.append(await asyncio.to_thread(take, running, start))
        try:
            async with asyncio.timeout(max(0.0, start + len(samples) * INTERVAL - monotonic())):
                await stop.wait()
        except TimeoutError:
            continue
    return samples
