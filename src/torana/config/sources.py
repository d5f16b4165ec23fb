"""Where a configuration comes from: what the process asks of it, and the one in the standalone dialect.

A `Source` is read again when its files change; a `Live` one changes by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from torana.config.loaded import Loaded
from torana.config.standalone.load import load
from torana.model.config import Settings
from torana.telemetry.trouble import Trouble


class StartError(Exception):
    """The process cannot start; the text is for the user."""


class Source(Protocol):
    """Where a configuration comes from, in whatever dialect. `files` are watched besides those it turns out to name."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    def load(self) -> Loaded:
        """Raises ConfigError, and StartError when it cannot be read at all."""

    def port_hint(self, number: int) -> str:
        """What may help when this port cannot be opened; empty for nothing that is not plain."""


class Effect(NamedTuple):
    """What came of a configuration that was handed over.

    `closed` are ports that cannot be opened, each with the reason; the rest is served.
    """

    in_effect: bool
    closed: Mapping[int, str] = {}


class Live(Protocol):
    """A configuration that changes by itself, as a cluster's does. There is none before the first is handed over."""

    @property
    def settings(self) -> Settings: ...

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What keeps it from knowing the newest, or from telling what it knows."""

    async def follow(self, apply: Callable[[Loaded], Awaitable[Effect]]) -> None:
        """Hand over each new configuration, until cancelled. `apply` says what came of it."""


class Standalone:
    """A configuration in the standalone dialect: a file, standard input, or a text of the command line."""

    def __init__(self, path: Path | None, text: str | None, where: str) -> None:
        self.path = path
        self._text = text
        self.where = where
        self.files = (path,) if path is not None else ()

    @classmethod
    def of(cls, file: str | None, text: str | None) -> Standalone:
        """From `-f FILE`, `-f -` or `-c TEXT`, one of which is given. Raises StartError when it cannot be read."""
        if text is not None:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise StartError("-c: is not UTF-8 text") from error
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

    def port_hint(self, _: int) -> str:
        return ""
