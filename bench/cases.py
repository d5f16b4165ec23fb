"""The cases, one question each. Their names are what `--only` takes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

from bench.arms import PROXIES, Arm, Setting, started, torana_config, torana_file
from bench.client import Order
from bench.match import match_time
from bench.results import Figures, Key
from bench.servers import LARGE, SMALL, cost, provider, stream_source
from bench.stage import LOAD_CORE, CannotMeasureError, Place, Stage, ask, await_answer, setting, wrk

IMAGE = 1024 * 1024
_SIZES = {SMALL: "1 KiB", LARGE: "16 KiB", IMAGE: "1 MiB"}
_WARM_SECONDS = 1
_RATE = 1000
MANY = 1000
_SETTLE_SECONDS = 0.5


def chat(stage: Stage) -> None:
    """A chat completion: bodies of 1 KiB and 16 KiB both ways, and of 1 MiB in, over so many connections."""
    # Portkey and LiteLLM over 32 connections only: on one core, others tell nothing new about them.
    loads = [(size, connections) for size in (SMALL, LARGE) for connections in (1, 32, 512)]
    loads += [(IMAGE, 1), (IMAGE, 32)]
    if not stage.plan.whole:
        loads = [(size, 32) for size in _SIZES]
    with (
        stage.folder() as folder,
        provider(folder, LOAD_CORE) as upstream,
        stage.places("chat", setting(folder, upstream)) as places,
    ):
        for place in places:
            stage.warm(wrk, place, SMALL, 32, _WARM_SECONDS)
        stage.rounds(
            {
                Key("chat", chat_variant(size, connections), place.arm): partial(
                    wrk, place, size, connections, stage.plan.seconds
                )
                for size, connections in loads
                for place in places
                if connections == 32 or place.arm in {Arm.DIRECT, *PROXIES}
            }
        )


def chat_variant(size: int, connections: int) -> str:
    return f"{_SIZES[size]}, {connections} connection{'s' if connections > 1 else ''}"


def rate(stage: Stage) -> None:
    """1,000 requests a second of 1 KiB over 32 connections: what a gateway adds to the latency."""
    order = Order(what="rate", port=0, seconds=stage.plan.seconds, connections=32, rate=_RATE)
    with (
        stage.folder() as folder,
        provider(folder, LOAD_CORE) as upstream,
        stage.places("rate", setting(folder, upstream)) as places,
    ):
        for place in places:
            stage.warm(wrk, place, SMALL, 32, _WARM_SECONDS)
        stage.rounds({Key("rate", "1,000/s", place.arm): partial(ask, place, order) for place in places})


def tls(stage: Stage) -> None:
    """TLS to the provider, its certificate checked: 1 KiB and 16 KiB, 32 connections."""
    with (
        stage.folder() as folder,
        provider(folder, LOAD_CORE, tls=True) as upstream,
        stage.places("tls", setting(folder, upstream)) as places,
    ):
        for place in places:
            stage.warm(wrk, place, SMALL, 32, _WARM_SECONDS)
        stage.rounds(
            {
                Key("tls", _SIZES[size], place.arm): partial(wrk, place, size, 32, stage.plan.seconds)
                for size in (SMALL, LARGE)
                for place in places
            }
        )


def streams(stage: Stage) -> None:
    """Streams of tokens, all open at once: 200 of a token each 50 ms, 2,000 of a token each 200 ms."""
    with (
        stage.folder() as folder,
        stream_source(folder, LOAD_CORE, stage.programs.source) as upstream,
        stage.places("streams", setting(folder, upstream), streams=True) as places,
    ):
        measures: dict[Key, Callable[[], Figures]] = {}
        for many, gap in ((200, 50), (2000, 200)):
            order = _streamed("streams", many, gap, stage.plan.tokens, stage.plan.seconds)
            for place in places:
                if many == 200 or place.arm in {Arm.DIRECT, *PROXIES}:
                    measures[Key("streams", f"{many:,}", place.arm)] = partial(ask, place, order)
        for place in places:
            stage.warm(ask, place, _streamed("streams", 32, 5, 16, 1))
        stage.rounds(measures)


def bursts(stage: Stage) -> None:
    """Streams of 200 events in one write, one after the other on 32 connections."""
    order = _streamed("bursts", 32, 0, 200, stage.plan.seconds)
    with (
        stage.folder() as folder,
        stream_source(folder, LOAD_CORE, stage.programs.source) as upstream,
        stage.places("bursts", setting(folder, upstream), streams=True) as places,
    ):
        for place in places:
            stage.warm(ask, place, _streamed("bursts", 32, 0, 200, 0.5))
        stage.rounds({Key("bursts", "200 events", place.arm): partial(ask, place, order) for place in places})


def _streamed(what: str, many: int, gap: int, tokens: int, seconds: float) -> Order:
    return Order(what=what, port=0, seconds=seconds, connections=many, gap=gap, tokens=tokens)


def routes(stage: Stage) -> None:
    """1,000 routes, the last of which is asked for: 1 KiB, 32 connections; and Torana's route search on its own."""
    with stage.folder() as folder, provider(folder, LOAD_CORE) as upstream:
        one, many = setting(folder, upstream), setting(folder, upstream, routes=MANY)
        with (
            stage.places("routes", one, *PROXIES) as few,
            stage.places("routes", many, *PROXIES) as full,
        ):
            measures: dict[Key, Callable[[], Figures]] = {}
            for place in (*few, *full):
                stage.warm(wrk, place, SMALL, 32, _WARM_SECONDS)
                variant = routes_variant(place.setting.routes)
                measures[Key("routes", variant, place.arm)] = partial(wrk, place, SMALL, 32, stage.plan.seconds)
            for number in (1, MANY):
                measures[Key("match", routes_variant(number), Arm.TORANA)] = partial(_match, number)
            stage.rounds(measures)


def routes_variant(number: int) -> str:
    return f"{number:,} route{'s' if number > 1 else ''}"


def _match(routes: int) -> Figures:
    return {"match": match_time(routes)}


def reload(stage: Stage) -> None:
    """The configuration changes every second under load: 1 KiB, 32 connections."""
    seconds = max(3, stage.plan.seconds)
    with (
        stage.folder() as folder,
        provider(folder, LOAD_CORE) as upstream,
        stage.places("reload", setting(folder, upstream), Arm.NGINX, Arm.TORANA) as places,
    ):
        measures: dict[Key, Callable[[], Figures]] = {}
        for place in places:
            stage.warm(wrk, place, SMALL, 32, _WARM_SECONDS)
            measures[Key("reload", "steady", place.arm)] = partial(wrk, place, SMALL, 32, seconds)
            measures[Key("reload", "reload every second", place.arm)] = partial(_reloading, place, seconds)
        stage.rounds(measures)


def _reloading(place: Place, seconds: float) -> Figures:
    over = threading.Event()

    def keep_changing() -> None:
        number = 0
        while not over.wait(1.0):
            number += 1
            if place.arm is Arm.NGINX:
                os.kill(place.server.pid, signal.SIGHUP)
            else:
                file = torana_file(place.setting, place.server.port)
                fresh = file.with_suffix(".new")
                fresh.write_text(torana_config(place.setting, place.server.port, f"configured-{number}"))
                fresh.replace(file)

    log = place.setting.folder / f"{place.arm.value}-{place.server.port}.out"
    before = log.read_text(errors="replace").count("configuration reloaded")
    changing = threading.Thread(target=keep_changing)
    changing.start()
    try:
        figures = wrk(place, SMALL, 32, seconds)
    finally:
        over.set()
        changing.join()
    if place.arm is Arm.TORANA:
        figures["reloads"] = log.read_text(errors="replace").count("configuration reloaded") - before
        if not figures["reloads"]:
            raise CannotMeasureError("Torana did not reload")
    return figures


def start(stage: Stage) -> None:
    """From the command to the first answer, with 12 and with 1,000 routes; and the memory of a gateway at rest."""
    with stage.folder() as folder, provider(folder, LOAD_CORE) as upstream:
        # Once without counting: Python compiles what it imports for the first time.
        _start(stage, Arm.TORANA, setting(folder, upstream))
        measures: dict[Key, Callable[[], Figures]] = {}
        for number in (12, MANY):
            where = setting(folder, upstream, routes=number)
            for arm in stage.arms():
                # Portkey and LiteLLM have no routes to configure.
                if arm in PROXIES or (number == 12 and arm not in {Arm.DIRECT, Arm.PLAIN}):
                    measures[Key("start", routes_variant(number), arm)] = partial(_start, stage, arm, where)
        stage.rounds(measures)


def _start(stage: Stage, arm: Arm, where: Setting) -> Figures:
    began = time.monotonic()
    with started(arm, stage.programs, where) as server:
        await_answer(Place(arm, server, where))
        took = time.monotonic() - began
        time.sleep(_SETTLE_SECONDS)
        return {"start": took, "rss": cost(server.pid).rss}


def workers(stage: Stage) -> None:
    """Torana with one worker and with two: 1 KiB, 64 connections. With two cores only, the load shares one."""
    with stage.folder() as folder, provider(folder, LOAD_CORE) as upstream:
        one = setting(folder, upstream)
        aside = len(os.sched_getaffinity(0)) > 2
        two = one._replace(workers=2, cores="1-2" if aside else "0-1")
        with (
            stage.places("workers", one, Arm.TORANA) as single,
            stage.places("workers", two, Arm.TORANA) as double,
        ):
            measures: dict[Key, Callable[[], Figures]] = {}
            for place in (*single, *double):
                stage.warm(wrk, place, SMALL, 64, _WARM_SECONDS)
                variant = ONE_WORKER if place in single else TWO_WORKERS if aside else TWO_BESIDE_THE_LOAD
                measures[Key("workers", variant, place.arm)] = partial(wrk, place, SMALL, 64, stage.plan.seconds)
            stage.rounds(measures)


ONE_WORKER, TWO_WORKERS, TWO_BESIDE_THE_LOAD = "1 worker", "2 workers", "2 workers, one beside the load"

CASES: dict[str, Callable[[Stage], None]] = {
    case.__name__: case for case in (chat, rate, tls, streams, bursts, routes, reload, start, workers)
}

SECONDS = {
    "chat": 520,
    "rate": 125,
    "tls": 175,
    "streams": 595,
    "bursts": 125,
    "routes": 100,
    "reload": 70,
    "start": 120,
    "workers": 30,
}
"""What a case takes in a full run, once everything is installed."""
