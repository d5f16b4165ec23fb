"""What keeps traffic flowing, from the file's words to the model's, with what only its meaning can tell to be wrong."""

from __future__ import annotations

import re
from typing import TypeAlias

from torana.config.duration import EXPECTED, PATTERN, seconds
from torana.config.standalone.expression import check_conditions, check_expression
from torana.config.standalone.schema import traffic as schema
from torana.config.syntax import header_name_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.policy import (
    Affinity,
    BodyBuffer,
    Buffer,
    Delay,
    Eviction,
    Health,
    LimitUnit,
    RateLimit,
    RateLimitKey,
    RateLimitKeyKind,
    Retry,
    Timeout,
)
from torana.policies.expression import Sees

_LONGEST_EVICTION = Eviction().max_duration
_KEYS = {
    "apiKey": RateLimitKeyKind.API_KEY,
    "clientAddress": RateLimitKeyKind.CLIENT,
    "source.address": RateLimitKeyKind.CLIENT,
}
_HEADER_KEY = re.compile(r"request\.headers(?:\[([\"'])(?P<quoted>[^\"'\\]+)\1\]|\.(?P<bare>[A-Za-z_][A-Za-z0-9_]*))")
"""The one expression whose value is a header's."""

_RateLimits: TypeAlias = tuple[schema.RateLimit, ...] | schema.ConditionalRateLimits | None


# --- Of a route -----------------------------------------------------------------------------------------------------


def timeout(policy: schema.Timeout, path: Path, findings: Findings) -> Timeout:
    made = Timeout(
        request=bound(policy.request_timeout),
        backend_request=bound(policy.backend_request_timeout),
        first_byte=bound(policy.first_byte_timeout),
        stream_idle=bound(policy.stream_idle_timeout),
        total=bound(policy.total_timeout),
    )
    for name, limit, longer, outer in (
        ("backendRequestTimeout", made.backend_request, "requestTimeout", made.request),
        ("requestTimeout", made.request, "totalTimeout", made.total),
        ("streamIdleTimeout", made.stream_idle, "totalTimeout", made.total),
    ):
        if limit is not None and outer is not None and limit > outer:
            findings.warning((*path, name), f"has no effect: it is longer than {longer}, which runs out first")
    return made


def bound(text: str | None) -> float | None:
    """Gateway API, HTTPRouteTimeouts: a duration of zero is no timeout."""
    return (seconds(text) or None) if text is not None else None


def retry(policy: schema.Retry, timeouts: schema.Timeout | None, path: Path, findings: Findings) -> Retry:
    for index, code in enumerate(policy.codes):
        if code < 400:
            hint = "list codes from 400 on, such as 503"
            findings.error((*path, "codes", index), "is no failure: such an answer would never be given", hint)
    check_expression(policy.precondition, (*path, "precondition"), findings, Sees.REQUEST)
    check_expression(policy.condition, (*path, "condition"), findings, Sees.ANSWER)
    backoff, limit = seconds(policy.backoff), bound(timeouts.request_timeout) if timeouts is not None else None
    if limit is not None and backoff >= limit:
        hint = "make it shorter, or requestTimeout longer"
        findings.warning((*path, "backoff"), "leaves no time: requestTimeout runs out during the pause", hint)
    return Retry(
        attempts=policy.attempts,
        backoff=backoff,
        codes=policy.codes,
        precondition=policy.precondition,
        condition=policy.condition,
        budget=policy.budget_percent / 100,
    )


def delay(policy: schema.Delay, path: Path, findings: Findings) -> Delay:
    text = policy.duration
    if re.fullmatch(PATTERN, text):
        return Delay(seconds=seconds(text))
    hint = f"write {EXPECTED}, or an expression that gives one"
    check_expression(text, (*path, "duration"), findings, Sees.REQUEST, hint)
    return Delay(expression=text)


def buffer(policy: schema.Buffer) -> Buffer:
    return Buffer(request=_body(policy.request), response=_body(policy.response))


def _body(given: schema.BodyBuffer | None) -> BodyBuffer | None:
    return BodyBuffer(given.max_bytes, fail_open=given.failure_mode == "failOpen") if given is not None else None


# --- Limits ---------------------------------------------------------------------------------------------------------


def rate_limits(given: _RateLimits, path: Path, findings: Findings) -> tuple[RateLimit, ...]:
    """Of a conditional list, each entry holds where none before it does."""
    if not isinstance(given, schema.ConditionalRateLimits):
        return tuple(_rate_limit(limit, (*path, index), findings) for index, limit in enumerate(given or ()))
    path, entries = (*path, "conditional"), given.conditional
    check_conditions([entry.condition for entry in entries], path, findings)
    before: list[str] = []
    limits: list[RateLimit] = []
    for index, entry in enumerate(entries):
        limits.append(_rate_limit(entry, (*path, index), findings, entry.condition, tuple(before)))
        before += [entry.condition] if entry.condition is not None else []
    return tuple(limits)


def _rate_limit(
    limit: schema.RateLimit, path: Path, findings: Findings, condition: str | None = None, unless: tuple[str, ...] = ()
) -> RateLimit:
    if limit.tokens_per_fill > limit.max_tokens:
        what = "is more than the bucket holds, which is maxTokens"
        findings.error((*path, "tokensPerFill"), what, "make maxTokens at least as large")
    if not seconds(limit.fill_interval):
        findings.error((*path, "fillInterval"), "is no time at all", "give a duration above 0, such as 1m")
    return RateLimit(
        max_tokens=limit.max_tokens,
        tokens_per_fill=limit.tokens_per_fill,
        fill_interval=seconds(limit.fill_interval),
        unit=LimitUnit(limit.type),
        key=_key(limit.key, (*path, "key"), findings),
        condition=condition,
        unless=unless,
    )


def _key(given: schema.RateLimitKey | str | None, path: Path, findings: Findings) -> RateLimitKey | None:
    if given is None:
        return None
    if isinstance(given, schema.RateLimitKey):
        findings.fault((*path, "header"), given.header, header_name_fault(given.header))
        return RateLimitKey(RateLimitKeyKind.HEADER, given.header.lower())
    if given in _KEYS:
        return RateLimitKey(_KEYS[given])
    header = _HEADER_KEY.fullmatch(given.strip())
    if header is not None:
        name = header["quoted"] or header["bare"]
        findings.fault(path, name, header_name_fault(name))
        return RateLimitKey(RateLimitKeyKind.HEADER, name.lower())
    hint = 'write apiKey, clientAddress, {header: NAME}, source.address or request.headers["name"]'
    findings.error(path, f"{findings.quote(path, given)} is no key that is supported yet", hint)
    return None


# --- Of a backend ---------------------------------------------------------------------------------------------------


def health(policy: schema.Health, path: Path, findings: Findings) -> Health:
    check_expression(policy.unhealthy_expression, (*path, "unhealthyExpression"), findings, Sees.ANSWER)
    given = policy.eviction
    eviction = _eviction(given, (*path, "eviction"), findings) if given is not None else Eviction()
    return Health(policy.unhealthy_expression, eviction)


def _eviction(given: schema.Eviction, path: Path, findings: Findings) -> Eviction:
    duration = seconds(given.duration)
    longest = max(_LONGEST_EVICTION, duration) if given.max_duration is None else seconds(given.max_duration)
    if not duration:
        findings.error((*path, "duration"), "is no time at all", "give a duration above 0, such as 3s")
    if longest < duration:
        findings.error((*path, "maxDuration"), "is shorter than duration", "make it at least as long")
    many = given.consecutive_failures
    if many is None and given.health_threshold is None:
        many = Eviction().consecutive_failures
    return Eviction(
        consecutive_failures=many,
        health_threshold=given.health_threshold,
        duration=duration,
        max_duration=longest,
        restore_health=given.restore_health,
    )


def affinity(policy: schema.SessionAffinity, path: Path, findings: Findings) -> Affinity:
    check_expression(policy.source, (*path, "source"), findings, Sees.REQUEST)
    for key, name in (("header", policy.header), ("cookie", policy.cookie)):
        # RFC 6265, section 4.1.1: a cookie's name is a token, as a header's is.
        if name is not None and header_name_fault(name) is not None:
            findings.error((*path, key), f"{findings.quote((*path, key), name)} is no name of a {key}")
    return Affinity(
        header=policy.header.lower() if policy.header is not None else None,
        cookie=policy.cookie,
        expression=policy.source,
    )
