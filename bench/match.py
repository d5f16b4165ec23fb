"""What finding the route of a request takes in Torana, without the rest: microseconds, by the number of routes."""

from __future__ import annotations

import timeit
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from bench.arms import PATH, Setting, torana_config
from bench.servers import Provider
from torana.config.standalone.load import load
from torana.exchange import Exchange
from torana.http.dial import Dialler
from torana.http.pool import Pool
from torana.http.proxies import Environment
from torana.http.sweep import Sweep
from torana.proxy.gateway import match
from torana.proxy.runtime import Runtime
from torana.proxy.snapshot import Snapshot
from torana.telemetry.record import Record

_PORT = 3000
_TIMES, _REPEATS = 4_000, 7


def match_time(routes: int) -> float:
    """Microseconds for a request that none but the last of so many routes fits."""
    setting = Setting(Path(), Provider(9000), "", routes)
    config = load(torana_config(setting, _PORT), "bench", {}, Path()).config
    sweep = Sweep()
    pool = Pool(Dialler(sweep, {}, 0, 0), sweep, 1, 0)
    snapshot = Snapshot(config, Runtime(pool, environment=Environment(config.settings.proxies, {})))
    parts = urlsplit(f"http://localhost:{_PORT}{PATH}")
    exchange = Exchange(Record(perf_counter()), b"POST", b"http", parts.netloc.encode(), PATH.encode(), None, [])
    # The fastest: whatever else the machine did made the others slower.
    return min(timeit.repeat(lambda: match(snapshot, _PORT, exchange), number=_TIMES, repeat=_REPEATS)) / _TIMES * 1e6
