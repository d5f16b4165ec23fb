"""Dials: how one answer is to behave, chosen by the command line, by headers, and by the model's name.

A header `x-simulate-NAME: VALUE` sets the dial NAME for its request. A client that cannot send headers writes the same
into the model: `status-429`, or `gpt-4o+disconnect-3+tokens-20`. A header wins over the model's name, and that over the
command line. A value that makes no sense is answered 400 with what the dial takes, so that no test passes by a typo.
"""

from __future__ import annotations

import difflib
import math
import re
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from torana.simulate.failure import ApiError

PREFIX = "x-simulate-"
BEFORE_HEAD = -1
"""The point before the head of the answer is sent. AFTER_HEAD is right behind it, and n stands behind the nth chunk."""
AFTER_HEAD = 0
CREATED = 1_700_000_000
"""Seconds since 1970 that answers bear as `created`: fixed, so that they can be compared whole."""
MAX_TOKENS = 100_000
"""The longest answer, about 600 kB of text; it is made as a whole before it is sent."""
LONGEST = 600.0
"""Seconds until an answer that is not complete is cut, stalled ones too; the OpenAI SDK's own timeout."""


class Malformed(Enum):
    """What of the answer is broken: its JSON, its event stream, or HTTP itself."""

    JSON = "json"
    STREAM = "stream"
    HTTP = "http"


class UsageForm(Enum):
    """Where a stream tells its usage. AS_ASKED is OpenAI's way: EVERY_NULL with `include_usage`, NEVER without."""

    AS_ASKED = "as-asked"
    NEVER = "never"
    SEPARATE = "separate"
    LAST_CHOICE = "last-choice"
    EVERY_NULL = "every-null"


class RoleContent(Enum):
    """The `content` of a stream's first delta, the one with the role."""

    NULL = "null"
    EMPTY = "empty"
    ABSENT = "absent"


class Dials(msgspec.Struct, frozen=True, kw_only=True):
    """One answer's behaviour. Times in seconds; a point is BEFORE_HEAD, AFTER_HEAD, or a number of chunks."""

    # pace
    first_token: float = 0.0
    tokens_per_second: float = 0.0
    """0 is as fast as possible."""
    tokens: int = 16
    drip: int | None = None
    """Octets of a body written at a time."""
    drip_delay: float = 0.01
    # faults
    status: int | None = None
    retry_after: int | None = None
    disconnect: int | None = None
    stall: int | None = None
    malformed: Malformed | None = None
    error_event: int | None = None
    refuse: tuple[str, ...] = ()
    """Top-level fields of the request that are answered 400."""
    # variants
    usage: UsageForm = UsageForm.AS_ASKED
    done: bool = True
    role_content: RoleContent = RoleContent.EMPTY
    model: str | None = None
    created: int = CREATED
    echo: bool = False


class Dial(NamedTuple):
    """One dial as it is written. `parse` raises ValueError or KeyError; `takes` finishes the sentence `it takes`."""

    name: str
    attribute: str
    parse: Callable[[str], object]
    takes: str


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[0-9]{1,10}", text) else -1
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def _decimal(most: float, unit: float = 1.0) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and 0 <= value <= most):
            raise ValueError(text)
        return value * unit

    return parse


def _point(text: str) -> int:
    named = {"before-head": BEFORE_HEAD, "after-head": AFTER_HEAD}
    return named[text] if text in named else _whole(0, MAX_TOKENS)(text)


def _created(text: str) -> int:
    return int(time.time()) if text == "now" else _whole(0, 2**33)(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(text)
    return names


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _choice(values: type[Enum]) -> Callable[[str], Enum]:
    return values


_MILLISECONDS = f"milliseconds from 0 to {LONGEST * 1000:.0f}"
_POINT = f"before-head, after-head, or a number of chunks up to {MAX_TOKENS}"

DIALS = (
    Dial("first-token-ms", "first_token", _decimal(LONGEST * 1000, 0.001), _MILLISECONDS),
    Dial("tokens-per-second", "tokens_per_second", _decimal(1e6), "a number from 0 (no limit) to 1000000"),
    Dial("tokens", "tokens", _whole(1, MAX_TOKENS), f"a whole number from 1 to {MAX_TOKENS}"),
    Dial("drip", "drip", _whole(1, 2**20), "a number of bytes from 1 to 1048576"),
    Dial("drip-delay-ms", "drip_delay", _decimal(LONGEST * 1000, 0.001), _MILLISECONDS),
    Dial("status", "status", _whole(400, 599), "a status from 400 to 599"),
    Dial("retry-after", "retry_after", _whole(0, 86_400), "whole seconds from 0 to 86400, together with a status"),
    Dial("disconnect", "disconnect", _point, _POINT),
    Dial("stall", "stall", _point, _POINT),
    Dial("malformed", "malformed", _choice(Malformed), "json, stream or http"),
    Dial("error-event", "error_event", _whole(0, MAX_TOKENS), f"a number of chunks up to {MAX_TOKENS}"),
    Dial("refuse", "refuse", _names, "names of request fields, with commas between them"),
    Dial("usage", "usage", _choice(UsageForm), "as-asked, never, separate, last-choice or every-null"),
    Dial("done", "done", {"yes": True, "no": False}.__getitem__, "yes or no"),
    Dial("role-content", "role_content", _choice(RoleContent), "null, empty or absent"),
    Dial("model", "model", _text, "a model name"),
    Dial("created", "created", _created, "now, or seconds since 1970"),
)
_BY_NAME = {dial.name: dial for dial in DIALS}
# In a model's name the longest dial is meant (`tokens-per-second-5`), and `model` is left out: it would name itself.
_IN_MODEL = sorted((dial for dial in DIALS if dial.name != "model"), key=lambda dial: -len(dial.name))


def read_dials(defaults: Dials, model: str, headers: Iterable[tuple[str, str]]) -> Dials:
    """The dials of a request. `headers` are (lower-case name, value); those that are no dial are passed over.

    Raises ApiError 400.
    """
    changes: dict[str, object] = {}
    for part in model.split("+"):
        if part == "echo":
            changes["echo"] = True
            continue
        for dial in _IN_MODEL:
            if part.startswith(dial.name + "-"):
                changes[dial.attribute] = _value(dial, part.removeprefix(dial.name + "-"), f"The model `{part}`")
                break
    for name, value in headers:
        if name.startswith(PREFIX):
            found = _BY_NAME.get(name.removeprefix(PREFIX))
            if found is None:
                raise _unknown(name)
            changes[found.attribute] = _value(found, value.strip(), f"The header `{name}: {value}`")
    dials = msgspec.structs.replace(defaults, **changes)
    if dials.retry_after is not None and dials.status is None:
        message = f"`{PREFIX}retry-after` goes with an error: add `{PREFIX}status`, for example 429 or 503."
        raise ApiError(400, message, param=PREFIX + "retry-after")
    return dials


def _value(dial: Dial, text: str, where: str) -> object:
    try:
        return dial.parse(text)
    except (ValueError, KeyError):
        message = f"{where} is not understood: {dial.name} takes {dial.takes}."
        raise ApiError(400, message, param=PREFIX + dial.name) from None


def _unknown(name: str) -> ApiError:
    near = difflib.get_close_matches(name.removeprefix(PREFIX), _BY_NAME, n=1)
    hint = f" Did you mean `{PREFIX}{near[0]}`?" if near else ""
    message = f"There is no header `{name}`.{hint} The dials are {', '.join(_BY_NAME)}, each behind `{PREFIX}`."
    return ApiError(400, message, param=name)
