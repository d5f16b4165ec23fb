"""Policies of the model in the words of agentgateway's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torana.config.convert.report import Fidelity, Report
from torana.model.policy import (
    Authority,
    AuthorityKind,
    Conditional,
    Cors,
    DirectResponse,
    HeaderModifier,
    LimitUnit,
    PathKind,
    PathRule,
    RateLimit,
    Redirect,
    Retry,
    Timeout,
)

Text: TypeAlias = Callable[[str], str]
"""A text of the model as it stands in the file."""

_MILLISECOND = 0.001


def span(seconds: float) -> str:
    """A duration: `1.5s`, `100ms`."""
    if seconds and seconds < 1:
        return f"{seconds / _MILLISECOND:g}ms"
    return f"{seconds:.10g}s"


def header_modifier(given: HeaderModifier | None, text: Text) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        "set": {text(name): text(value) for name, value in given.set} or None,
        "add": {text(name): text(value) for name, value in given.add} or None,
        "remove": [text(name) for name in given.remove] or None,
    }


def authority_tree(authority: Authority, text: Text) -> Any:
    match authority.kind:
        case AuthorityKind.AUTO | AuthorityKind.NONE:
            return authority.kind.value
        case AuthorityKind.PORT:
            return {"port": int(authority.value)}
        case kind:
            return {kind.value: text(authority.value)}


def path_tree(path: PathRule, text: Text) -> dict[str, Any] | None:
    return {path.kind.value: text(path.value)} if path.kind in (PathKind.FULL, PathKind.PREFIX) else None


def redirect(given: Redirect | None, text: Text) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        "scheme": given.scheme,
        "authority": authority_tree(given.authority, text) if given.authority is not None else None,
        "path": path_tree(given.path, text) if given.path is not None else None,
        "status": given.status,
    }


def cors(given: Cors | None, text: Text) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        "allowOrigins": [text(each) for each in given.allow_origins] or None,
        "allowMethods": list(given.allow_methods) or None,
        "allowHeaders": [text(each) for each in given.allow_headers] or None,
        "exposeHeaders": [text(each) for each in given.expose_headers] or None,
        "allowCredentials": True if given.allow_credentials else None,
        "maxAge": span(given.max_age) if given.max_age is not None else None,
    }


def direct_response(given: DirectResponse | None, some: tuple[Conditional, ...], text: Text) -> dict[str, Any] | None:
    if some:
        return {
            "conditional": [
                {**_answer(each.response, text), "condition": text(each.condition) if each.condition else None}
                for each in some
            ]
        }
    return _answer(given, text) if given is not None else None


def _answer(given: DirectResponse, text: Text) -> dict[str, Any]:
    return {
        "status": given.status,
        "body": text(given.body) if given.body else None,
        "headers": {text(name): text(value) for name, value in given.headers} or None,
    }


def timeout(given: Timeout | None, owner: str, report: Report) -> dict[str, Any] | None:
    if given is None:
        return None
    own = {"firstByteTimeout": given.first_byte, "streamIdleTimeout": given.stream_idle, "totalTimeout": given.total}
    for name, seconds in own.items():
        if seconds is not None:
            report.add(Fidelity.UNSUPPORTED, f"{owner}: timeout.{name}", "is Torana's own")
    if given.request is None and given.backend_request is None:
        return None
    return {
        "requestTimeout": span(given.request) if given.request is not None else None,
        "backendRequestTimeout": span(given.backend_request) if given.backend_request is not None else None,
    }


def retry(given: Retry | None, owner: str, report: Report, text: Text) -> dict[str, Any] | None:
    if given is None:
        return None
    if given.budget != Retry().budget:
        report.add(Fidelity.UNSUPPORTED, f"{owner}: retry.budgetPercent", "is Torana's own")
    return {
        "attempts": given.attempts,
        "backoff": span(given.backoff),
        "codes": list(given.codes) or None,
        "precondition": text(given.precondition) if given.precondition is not None else None,
        "condition": text(given.condition) if given.condition is not None else None,
    }


def limits(given: tuple[RateLimit, ...], owner: str, report: Report) -> list[dict[str, Any]]:
    made = []
    for limit in given:
        if limit.key is not None or limit.condition is not None or limit.unless:
            what = "one bucket for all is what there is: a limit by key or condition is left out"
            report.add(Fidelity.MANUAL, f"{owner}: localRateLimit", what)
            continue
        made.append(
            {
                "maxTokens": limit.max_tokens,
                "tokensPerFill": limit.tokens_per_fill,
                "fillInterval": span(limit.fill_interval),
                "type": "tokens" if limit.unit is LimitUnit.TOKENS else None,
            }
        )
    return made
