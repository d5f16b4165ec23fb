"""The process's own log: what starts, reloads, fails. Same line form and same writer as the access log."""

from __future__ import annotations

import json
import logging
import time

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
        self._writer.write(self._line(record.created, level, scope, message))

    def notice(self, count: int) -> str:
        """What the writer says of lines it had to drop."""
        return self._line(time.time(), "warn", "log", f"{count} lines were dropped: the reader of the log is too slow")

    def _line(self, now: float, level: str, scope: str, message: str) -> str:
        if self._json:
            entry = {"time": timestamp(now), "level": level, "scope": scope, "message": message}
            return json.dumps(entry, ensure_ascii=False) + "\n"
        return f"{timestamp(now)} {level} {scope} {message}\n"


def configure(writer: LineWriter, level: LogLevel, form: LogFormat) -> None:
    """Send the `torana` loggers, and warnings of libraries, to `writer`."""
    root = logging.getLogger()
    handler = _Handler(writer, form)
    writer.notice = handler.notice
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("torana").setLevel(_LEVELS[level])
