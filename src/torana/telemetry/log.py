"""The process's own log: what starts, reloads, fails. Same line form and same writer as the access log."""

from __future__ import annotations

import json
import logging

from torana.model.config import LogFormat, LogLevel
from torana.telemetry.access_log import timestamp
from torana.telemetry.writer import LineWriter

_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.OFF: logging.CRITICAL + 1,
}
_NAMES = {logging.WARNING: "warn", logging.CRITICAL: "error"}


class _Handler(logging.Handler):
    def __init__(self, writer: LineWriter, form: LogFormat) -> None:
        super().__init__()
        self._writer = writer
        self._json = form is LogFormat.JSON
        self._errors = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        level = _NAMES.get(record.levelno, record.levelname.lower())
        scope = record.name.removeprefix("torana.").rpartition(".")[2]
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self._errors.formatException(record.exc_info)
        if self._json:
            entry = {"time": timestamp(record.created), "level": level, "scope": scope, "message": message}
            self._writer.write(json.dumps(entry, ensure_ascii=False) + "\n")
        else:
            self._writer.write(f"{timestamp(record.created)} {level} {scope} {message}\n")


def configure(writer: LineWriter, level: LogLevel, form: LogFormat) -> None:
    """Send the `torana` loggers, and warnings of libraries, to `writer`."""
    root = logging.getLogger()
    root.handlers[:] = [_Handler(writer, form)]
    root.setLevel(logging.WARNING)
    logging.getLogger("torana").setLevel(_LEVELS[level])
