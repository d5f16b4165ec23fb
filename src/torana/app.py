"""The process: load, serve, watch, reload, drain. The only file that knows all the others.

`run` serves what a `Source` gives until a signal, `validate` only looks at it; `follow` serves what is `Live`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import threading
from collections.abc import Callable, Collection
from time import perf_counter
from typing import Any, Protocol

import msgspec
import uvloop

from torana import __version__
from torana.admin.endpoints import AdminError, Endpoints
from torana.config import watch
from torana.config.diff import describe
from torana.config.loaded import Loaded
from torana.config.problem import ConfigError, Problem, Severity
from torana.config.proxies import told
from torana.config.sources import Effect, Live, Source, StartError
from torana.http.dial import Override, make_room_for_lookups
from torana.model import codec
from torana.model.config import Config, Proxies, Settings
from torana.supervisor import Supervisor, WorkerGoneError
from torana.telemetry import log
from torana.telemetry.series import State
from torana.telemetry.trouble import Trouble
from torana.telemetry.writer import LineWriter
from torana.worker import CannotListenError, Worker, settle

_log = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds before the files are looked at again, where that has failed
_CLOSING = 1.0  # seconds that the end of the process waits for threads, which cannot be stopped


class Fleet(Protocol):
    """Whatever serves: one Worker in this process, or a Supervisor with several."""

    async def apply(self, config: Config) -> None: ...

    async def states(self) -> list[State]: ...

    async def drain(self, timeout: float) -> bool: ...

    def kill(self) -> None: ...


class _Alone:
    """One worker in this very process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.apply = worker.apply
        self.drain = worker.drain

    async def states(self) -> list[State]:
        return [self._worker.state()]

    def kill(self) -> None:
        """It ends with this process."""


class App:
    """A running gateway; what the operations endpoints ask about."""

    def __init__(self, source: Source | None, live: Live | None, loaded: Loaded, fleet: Fleet, workers: int) -> None:
        self._source = source
        self._live = live
        self._fleet = fleet
        self._seen = _stamps(source, loaded)
        self._warned: tuple[Problem, ...] = loaded.warnings
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._other_files = asyncio.Event()
        self._hidden = loaded.hidden
        self.config = loaded.config
        self.workers = workers
        self._accepted = True
        self._closed: dict[int, str] = {}
        self.pending = ["configuration"]

    @property
    def synchronized(self) -> bool:
        return not any(trouble.stale for trouble in self.troubles)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        found = [*(self._live.troubles if self._live is not None else ())]
        if not self._accepted:
            found.append(
                Trouble("configuration", "refused", "the newest is refused and the former serves, see the log")
            )
        found += [Trouble("Gateway", "port", words) for words in self._closed.values()]
        return tuple(found)

    async def states(self) -> list[State]:
        return await self._fleet.states()

    def dump(self) -> Any:
        return codec.dump(self.config, self._hidden)

    def quit(self) -> None:
        """Drain and end; asked a second time, end at once."""
        if self._stop.is_set():
            self._fleet.kill()
            os._exit(0)
        self._stop.set()

    async def serve(self, ready: Callable[[], None] | None) -> None:
        """Until `quit`. Raises CannotListenError, AdminError or ssl.SSLError when it cannot begin."""
        settings = self.config.settings
        loop = asyncio.get_running_loop()
        endpoints = Endpoints(self)
        try:
            # First of all: the first process of a container gets no signal that it has no handler for.
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.quit)
            loop.add_signal_handler(signal.SIGHUP, self._reload.set)
            await self._fleet.apply(self.config)
            await endpoints.start(settings)
            if self._live is not None:
                self.pending = ["cluster"]
                changes = [asyncio.create_task(self._follow(self._live, ready))]
            else:
                self._begin(ready)
                changes = [asyncio.create_task(self._watch()), asyncio.create_task(self._reloads())]
            await self._stop.wait()
            for task in changes:
                task.cancel()
            await asyncio.gather(*changes, return_exceptions=True)
            self.pending = ["draining"]
            _log.info("draining: requests under way have %g seconds to finish", settings.drain_timeout)
        finally:
            complete = await self._fleet.drain(settings.drain_timeout)
            endpoints.close()
        if not complete:
            _log.warning("some requests were cut off: they took longer than the drain deadline")
        _log.info("stopped")

    def _begin(self, ready: Callable[[], None] | None) -> None:
        """The first configuration is in effect."""
        self.pending = []
        settle()
        places = ", ".join(bind.places for bind in self.config.binds)
        _log.info("torana %s is ready on %s", __version__, places or "no port: there is no listener to serve")
        if ready is not None:
            ready()

    async def _follow(self, live: Live, ready: Callable[[], None] | None) -> None:
        async def apply(loaded: Loaded) -> Effect:
            effect = await self._put(loaded)
            if effect.in_effect and self.pending:
                self._begin(ready)
            return effect

        try:
            await live.follow(apply)
        except Exception:  # noqa: BLE001 - logged with its traceback; what runs goes on
            self._accepted = False
            _log.exception("the configuration is not followed any more; what runs goes on")

    async def _put(self, loaded: Loaded) -> Effect:
        """Serve by `loaded`, as far as its ports can be opened; or go on with what runs and say why."""
        started = perf_counter()
        wanted = msgspec.structs.replace(loaded.config, settings=self.config.settings)
        closed: dict[int, str] = {}
        try:
            config = await self._apply_open(wanted, closed)
        except (CannotListenError, ssl.SSLError) as error:
            self._refuse_reload(str(error))
            return Effect(in_effect=False)
        except Exception:  # noqa: BLE001 - logged with its traceback; what runs goes on
            self._accepted = False
            _log.exception("the new configuration could not be put into effect; the former one stays")
            return Effect(in_effect=False)
        for number, words in closed.items():
            if self._closed.get(number) != words:
                _log.error("%s; the other ports are served, and this one is tried again", words)
        self._closed = closed
        self._in_effect(loaded, config, started)
        return Effect(in_effect=True, closed=closed)

    async def _apply_open(self, config: Config, closed: dict[int, str]) -> Config:
        """What is served: all but the new ports that cannot be opened, which `closed` tells.

        One Gateway of a cluster must not keep all others from changing. Raises CannotListenError for a port that is
        open and cannot change: without it, it would close.
        """
        while True:
            try:
                await self._fleet.apply(config)
            except CannotListenError as error:
                served = {bind.port for bind in self.config.binds}
                left = tuple(bind for bind in config.binds if bind.port not in error.ports)
                if served & error.ports.keys() or len(left) == len(config.binds):
                    raise
                closed.update(error.ports)
                config = msgspec.structs.replace(config, binds=left)
            else:
                return config

    async def _watch(self) -> None:
        """Ask for a reload whenever a file of the configuration changes; which ones those are may change with it."""
        while self._seen:
            self._other_files = asyncio.Event()
            try:
                async for _ in watch.changes(self._seen, self._other_files):
                    self._reload.set()
            except Exception:  # noqa: BLE001 - there may be no thread to be had, for a while
                _log.exception("the files of the configuration could not be looked at; trying again")
                await asyncio.sleep(_PAUSE)

    async def _reloads(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            await self._reload_once()

    async def _reload_once(self) -> None:
        """Serve by the new configuration if it is good; else go on with the old one and say why."""
        started = perf_counter()
        before = watch.stamps(self._seen)
        if self._source is None:
            return
        try:
            loaded = await asyncio.to_thread(self._source.load)
            # The process's settings are those of its start (agentgateway: `config` is read once).
            config = msgspec.structs.replace(loaded.config, settings=self.config.settings)
            await self._fleet.apply(config)
        except ConfigError as error:
            self._refuse_reload("\n  ".join(map(str, error.problems)))
            self._look_at(watch.stamps({*self._seen, *error.files}), before)
        except (StartError, CannotListenError, ssl.SSLError) as error:
            self._refuse_reload(_words(error, self._source))
        except Exception:  # noqa: BLE001 - logged with its traceback; what runs goes on
            _log.exception("the new configuration could not be put into effect; the former one stays")
            self._accepted = False
        else:
            if loaded.config.settings != self.config.settings:
                _log.warning("`config` has changed: that takes effect at the next start")
            self._in_effect(loaded, config, started)
            self._look_at(_stamps(self._source, loaded), before)

    def _in_effect(self, loaded: Loaded, config: Config, started: float) -> None:
        _tell(loaded, self._warned)
        milliseconds = (perf_counter() - started) * 1000
        if self._live is None or config != self.config:
            _log.info("configuration reloaded: %s, %.0f ms", describe(self.config, config), milliseconds)
        self.config = config
        self._hidden = loaded.hidden
        self._warned = loaded.warnings
        self._accepted = True

    def _look_at(self, files: watch.Stamps, before: watch.Stamps) -> None:
        """Watch these files from now on, by what they were `before` they were last read."""
        if files.keys() != self._seen.keys():
            self._seen = {path: before.get(path, stamp) for path, stamp in files.items()}
            self._other_files.set()

    def _refuse_reload(self, why: str) -> None:
        self._accepted = False
        _log.error("the new configuration is refused, the former one stays:\n  %s", why)


def validate(source: Source) -> Loaded:
    """Load without serving; opens no socket. Raises ConfigError or StartError."""
    return source.load()


def run(
    source: Source,
    overrides: dict[tuple[str, int], Override],
    workers: int | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve until a signal. `ready` is called once requests are taken. Raises ConfigError or StartError."""
    _run(source, None, source.load(), overrides, workers, ready)


def follow(
    live: Live,
    overrides: dict[tuple[str, int], Override],
    workers: int | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """As `run`, by whatever the live source hands over; until then nothing is served and readiness says so."""
    _run(None, live, Loaded(Config(settings=live.settings), (), (), frozenset()), overrides, workers, ready)


def _run(
    source: Source | None,
    live: Live | None,
    loaded: Loaded,
    overrides: dict[tuple[str, int], Override],
    workers: int | None,
    ready: Callable[[], None] | None,
) -> None:
    settings = loaded.config.settings
    count = workers or settings.workers
    writer = LineWriter(1)
    log.configure(writer, settings.log_level, settings.log_format)
    _tell(loaded, ())
    if settings.proxies != Proxies():
        _log.info("%s", told(settings.proxies))
    make_room_for_lookups()
    # A thread may look up a name, or read a file of the network, whose server is silent; the loop's end waits for it.
    last = threading.Timer(_CLOSING, os._exit, (0,))
    last.daemon = True

    async def serve() -> None:
        await _serve(source, live, loaded, overrides, count, writer, ready)
        writer.flush()
        last.start()

    try:
        uvloop.run(serve())
    except (CannotListenError, AdminError, ssl.SSLError) as error:
        raise StartError(_words(error, source)) from error
    except (WorkerGoneError, TimeoutError) as error:
        raise StartError(f"a worker process did not start ({type(error).__name__}: {error})") from error
    finally:
        last.cancel()
        writer.close()


async def _serve(
    source: Source | None,
    live: Live | None,
    loaded: Loaded,
    overrides: dict[tuple[str, int], Override],
    count: int,
    writer: LineWriter,
    ready: Callable[[], None] | None,
) -> None:
    writer.attach(asyncio.get_running_loop())
    fleet = _fleet(loaded.config.settings, overrides, count, writer)
    app = App(source, live, loaded, fleet, count)
    with contextlib.suppress(asyncio.CancelledError):
        await app.serve(ready)


def _fleet(settings: Settings, overrides: dict[tuple[str, int], Override], count: int, writer: LineWriter) -> Fleet:
    if count > 1:
        return Supervisor(settings, overrides, count)
    return _Alone(Worker(settings, overrides, writer, reuse_port=False))


def _stamps(source: Source | None, loaded: Loaded) -> watch.Stamps:
    """All files of a configuration, as they are now."""
    return watch.stamps([*loaded.files, *(source.files if source is not None else ())])


def _tell(loaded: Loaded, before: Collection[Problem]) -> None:
    """What is wrong with a configuration that runs, once: a warning, and an error only where nothing is served."""
    for problem in loaded.warnings:
        if problem not in before:
            warning = problem.severity is Severity.WARNING or bool(loaded.config.binds)
            severity = Severity.WARNING if warning else Severity.ERROR
            told = msgspec.structs.replace(problem, severity=severity)
            _log.log(logging.WARNING if warning else logging.ERROR, "%s", told)


def _words(error: Exception, source: Source | None) -> str:
    """With what may help against ports that cannot be opened."""
    numbers = error.ports if isinstance(error, CannotListenError) and source is not None else ()
    hints = (source.port_hint(number) for number in numbers if source is not None)
    return "; ".join((str(error), *filter(None, hints)))
