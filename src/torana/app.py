"""The process: load, serve, watch, reload, drain. The only file that knows all the others.

A `Source` says where the configuration comes from; `run` serves it until a signal, `validate` only looks at it.
A `Live` is one that changes by itself; `follow` serves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import msgspec
import uvloop

from torana import __version__
from torana.admin.endpoints import AdminError, Endpoints
from torana.config import watch
from torana.config.diff import describe
from torana.config.loaded import Loaded
from torana.config.problem import ConfigError, Problem
from torana.config.standalone.load import load
from torana.http.dial import Override
from torana.model import codec
from torana.model.config import Config, Settings
from torana.supervisor import Supervisor, WorkerGoneError
from torana.telemetry import log
from torana.telemetry.metrics import State
from torana.telemetry.trouble import Trouble
from torana.telemetry.writer import LineWriter
from torana.worker import CannotListenError, Worker

_log = logging.getLogger(__name__)


class StartError(Exception):
    """The process cannot start; the text is for the user."""


class Source(Protocol):
    """Where a configuration comes from, in whatever dialect. `files` are watched besides those it turns out to name."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    def load(self) -> Loaded:
        """Raises ConfigError, and StartError when it cannot be read at all."""


class Live(Protocol):
    """A configuration that changes by itself, as a cluster's does. There is none before the first is handed over."""

    @property
    def settings(self) -> Settings: ...

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What keeps it from knowing the newest, or from telling what it knows."""

    async def follow(self, apply: Callable[[Loaded], Awaitable[bool]]) -> None:
        """Hand over each new configuration, until cancelled. `apply` says whether it is in effect."""


class Standalone:
    """A configuration in the standalone dialect: a file, standard input, or a text of the command line."""

    def __init__(self, path: Path | None, text: str | None, where: str) -> None:
        self.path = path
        self._text = text
        self.where = where
        self.files = (path,) if path is not None else ()

    @classmethod
    def of(cls, file: str | None, text: str | None) -> Standalone:
        """From `-f FILE`, `-f -` or `-c TEXT`, one of which is given. Raises StartError when stdin cannot be read."""
        if text is not None:
            return cls(None, text, "-c")
        assert file is not None
        if file != "-":
            return cls(Path(file), None, file)
        try:
            return cls(None, sys.stdin.buffer.read().decode("utf-8"), "<stdin>")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"standard input cannot be read: {error}") from error

    def load(self) -> Loaded:
        """Raises ConfigError, and StartError when the file cannot be read."""
        text = self._text
        if self.path is not None:
            try:
                text = self.path.read_text(encoding="utf-8")
            except OSError as error:
                raise StartError(f"{self.path}: cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise StartError(f"{self.path}: is not UTF-8 text (byte {error.start})") from error
        folder = self.path.parent if self.path is not None else Path()
        return load(text or "", self.where, os.environ, folder)


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
        self.pending = ["configuration"]

    @property
    def synchronized(self) -> bool:
        return self._accepted and not any(trouble.stale for trouble in self.troubles)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        return self._live.troubles if self._live is not None else ()

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
            await self._fleet.apply(self.config)
            await endpoints.start(settings)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.quit)
            loop.add_signal_handler(signal.SIGHUP, self._reload.set)
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
        gc.freeze()  # what is loaded by now stays; the collector need not look at it again
        _log.info("torana %s is ready on port %s", __version__, _ports(self.config))
        if ready is not None:
            ready()

    async def _follow(self, live: Live, ready: Callable[[], None] | None) -> None:
        async def apply(loaded: Loaded) -> bool:
            done = await self._put(loaded)
            if done and self.pending:
                self._begin(ready)
            return done

        try:
            await live.follow(apply)
        except Exception:  # noqa: BLE001 - logged with its traceback; what runs goes on
            self._accepted = False
            _log.exception("the configuration is not followed any more; what runs goes on")

    async def _put(self, loaded: Loaded) -> bool:
        """Serve by `loaded`, or go on with what runs and say why."""
        started = perf_counter()
        config = msgspec.structs.replace(loaded.config, settings=self.config.settings)
        try:
            await self._fleet.apply(config)
        except (CannotListenError, ssl.SSLError) as error:
            self._refuse_reload(str(error))
            return False
        except Exception:  # noqa: BLE001 - logged with its traceback; what runs goes on
            self._accepted = False
            _log.exception("the new configuration could not be put into effect; the former one stays")
            return False
        for warning in loaded.warnings:
            if warning not in self._warned:
                _log.warning("%s", warning)
        self._in_effect(loaded, config, started)
        return True

    async def _watch(self) -> None:
        """Ask for a reload whenever a file of the configuration changes; which ones those are may change with it."""
        while self._seen:
            self._other_files = asyncio.Event()
            try:
                async for _ in watch.changes(self._seen, self._other_files):
                    self._reload.set()
            except OSError as error:
                _log.warning("the configuration's files cannot be watched: %s; send SIGHUP to reload", error)
                return

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
            self._refuse_reload(str(error))
        except Exception:  # noqa: BLE001 - logged with its traceback; what runs goes on
            _log.exception("the new configuration could not be put into effect; the former one stays")
            self._accepted = False
        else:
            for warning in loaded.warnings:
                _log.warning("%s", warning)
            if loaded.config.settings != self.config.settings:
                _log.warning("`config` has changed: that takes effect at the next start")
            self._in_effect(loaded, config, started)
            self._look_at(_stamps(self._source, loaded), before)

    def _in_effect(self, loaded: Loaded, config: Config, started: float) -> None:
        milliseconds = (perf_counter() - started) * 1000
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
    for warning in loaded.warnings:
        _log.warning("%s", warning)
    try:
        uvloop.run(_serve(source, live, loaded, overrides, count, writer, ready))
    except (CannotListenError, AdminError, ssl.SSLError) as error:
        raise StartError(str(error)) from error
    except (WorkerGoneError, TimeoutError) as error:
        raise StartError(f"a worker process did not start ({type(error).__name__}: {error})") from error
    finally:
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


def _ports(config: Config) -> str:
    return ", ".join(str(bind.port) for bind in config.binds) or "(none)"
