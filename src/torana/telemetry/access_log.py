"""One line per request when its answer has ended: `key=value` text, or a JSON object, with agentgateway's keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torana.model.config import LogFormat, LogLevel
from torana.telemetry.record import Placement, Record, clipped
from torana.telemetry.writer import LineWriter

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+\Z").match  # visible ASCII without space, quote, `=` and backslash

_LONGEST_KEPT = 128  # characters; what comes again and again (hosts, paths, models) is shorter
_MOST_KEPT = 2048  # texts


class _Quoted(dict[str, str]):
    """Texts as they stand in a line. A dict, since a text that came before then costs no call of ours."""

    def __missing__(self, text: str) -> str:
        short = clipped(text)
        made = short if _PLAIN(short) else json.dumps(short)
        if len(text) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[text] = made
        return made


_kept = _Quoted()
quoted = _kept.__getitem__
"""A value as it stands in a line: as it is, or as a JSON string when it holds anything that could fake a field."""


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


# Digits by looking them up: a format specifier costs as much as the rest of a line, and compiled, more.
_TWO = [f"{number:02d}" for number in range(100)]
_THREE = [f"{number:03d}" for number in range(1000)]


def timestamp(now: float) -> str:
    """RFC 3339 in UTC with microseconds."""
    second = int(now)
    thousandths, millionths = divmod(int((now - second) * 1_000_000), 1000)
    return f"{_second(second)}.{_THREE[thousandths]}{_THREE[millionths]}Z"


def milliseconds(seconds: float) -> str:
    """`12ms` and above, `9.87ms` below."""
    value = seconds * 1000
    if value >= 10:
        return f"{round(value)}ms"
    whole, hundredths = divmod(round(value * 100), 100)
    return f"{whole}.{_TWO[hundredths]}ms"


class AccessLog:
    """Writes records to a LineWriter. `write` costs a few microseconds: it is called once per request.

    Its lines have no level of their own to be compared with `level`: all are written, or with OFF none.
    """

    def __init__(self, writer: LineWriter, form: LogFormat, level: LogLevel = LogLevel.INFO) -> None:
        self._writer = writer
        self.write: Callable[[Record], None] = self._write_json if form is LogFormat.JSON else self._write_text
        if level is LogLevel.OFF:
            self.write = _write_nothing

    def _write_text(self, record: Record) -> None:
        placement = record.placement
        where = placement.log_text
        if where is None:
            where = placement.log_text = _placement_text(placement)
        line = (
            f"{timestamp(time.time())} info request {where} "
            f"endpoint={quoted(record.endpoint or 'unknown')} "
            f"src.addr={record.peer} http.method={record.method} http.host={quoted(record.host)} "
            f"http.path={quoted(record.path)} http.version=HTTP/{record.version} http.status={record.status} "
            f"protocol={record.protocol}"
        )
        if record.sni is not None:
            line += f" tls.sni={quoted(record.sni)}"
        if record.provider:
            line += _llm_text(record)
        if record.retries:
            line += f" retry.attempt={record.retries}"
        if record.attempts is not None:
            line += f" attempts={quoted(attempts_text(record))}"
        if record.untranslated:
            line += f" untranslated={quoted(', '.join(record.untranslated))}"
        if record.reason != "Upstream":
            line += _failure_text(record)
        self._writer.write(f"{line} duration={milliseconds(record.ended - record.started)}\n")

    def _write_json(self, record: Record) -> None:
        entry = {"time": timestamp(time.time()), "level": "info", "scope": "request"} | as_dict(record)
        self._writer.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n")


def _write_nothing(_: Record) -> None:
    """The log is off."""


def as_dict(record: Record) -> dict[str, Any]:
    """The record under the keys of the log, without those that have no value, and long ones clipped."""
    placement, usage = record.placement, record.usage
    failed = record.reason != "Upstream"
    first_token = record.first_token
    entry: dict[str, Any] = {
        "gateway": placement.gateway,
        "listener": placement.listener,
        "route": placement.route,
        "endpoint": record.endpoint or None,
        "src.addr": record.peer,
        "tls.sni": record.sni,
        "http.method": record.method,
        "http.host": record.host,
        "http.path": record.path,
        "http.version": f"HTTP/{record.version}",
        "http.status": record.status,
        "protocol": record.protocol,
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": record.provider or None,
        "gen_ai.request.model": record.model,
        "gen_ai.response.model": record.response_model,
        "gen_ai.usage.input_tokens": usage and usage.input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": (usage and usage.cache_creation_tokens) or None,
        "gen_ai.usage.cache_read.input_tokens": (usage and usage.cached_tokens) or None,
        "gen_ai.usage.output_tokens": usage and usage.output_tokens,
        "gen_ai.usage.reasoning_tokens": (usage and usage.reasoning_tokens) or None,
        "agw.ai.time_to_first_token": None if first_token is None else milliseconds(first_token - record.started),
        "retry.attempt": record.retries or None,
        "untranslated": ", ".join(record.untranslated) or None,
        "attempts": attempts_text(record) or None,
        "error": record.error if failed else None,
        "reason": record.reason if failed else None,
        "request.id": record.request_id,
        "duration": milliseconds(record.duration),
    }
    return {
        key: clipped(value) if isinstance(value, str) else value for key, value in entry.items() if value is not None
    }


def attempts_text(record: Record) -> str:
    """`127.0.0.1:8001 503, example.com:443 upstream_connect_failed`: the endpoints that failed, in order."""
    return ", ".join(f"{attempt.endpoint} {attempt.why}" for attempt in record.attempts or ())


def _placement_text(placement: Placement) -> str:
    return f"gateway={quoted(placement.gateway)} listener={quoted(placement.listener)} route={quoted(placement.route)}"


def _llm_text(record: Record) -> str:
    text = "" if record.operation is None else f" gen_ai.operation.name={record.operation}"
    text += f" gen_ai.provider.name={record.provider}"
    if record.model is not None:
        text += f" gen_ai.request.model={quoted(record.model)}"
    if record.response_model is not None:
        text += f" gen_ai.response.model={quoted(record.response_model)}"
    usage = record.usage
    if usage is not None:
        text += f" gen_ai.usage.input_tokens={usage.input_tokens}"
        if usage.cache_creation_tokens:
            text += f" gen_ai.usage.cache_creation.input_tokens={usage.cache_creation_tokens}"
        if usage.cached_tokens:
            text += f" gen_ai.usage.cache_read.input_tokens={usage.cached_tokens}"
        text += f" gen_ai.usage.output_tokens={usage.output_tokens}"
        if usage.reasoning_tokens:
            text += f" gen_ai.usage.reasoning_tokens={usage.reasoning_tokens}"
    if record.first_token is not None:
        text += f" agw.ai.time_to_first_token={milliseconds(record.first_token - record.started)}"
    return text


def _failure_text(record: Record) -> str:
    text = "" if record.error is None else f" error={quoted(record.error)}"
    text += f" reason={record.reason}"
    if record.request_id is not None:
        text += f" request.id={quoted(record.request_id)}"
    return text
