"""urlRewrite: the Host and the path that go on, compiled from the backend's decided rules.

Both are functions of the Exchange, made once per backend; what does not depend on the request is a constant by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, assert_never

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.llm.providers.facts import call_under, path_under
from torana.model.backend import Target
from torana.model.policy import Authority, AuthorityKind, PathKind, PathRule

HostOf: TypeAlias = Callable[[Exchange], bytes]
PathOf: TypeAlias = Callable[[Exchange], bytes]


def compile_authority(rule: Authority, target: Target, *, tls: bool) -> HostOf:
    """The `Host` for requests to `target`; a port that is the scheme's default is not written (RFC 9110, 4.2)."""
    match rule.kind:
        case AuthorityKind.FULL:
            full = rule.value.encode()
            return lambda _: full
        case AuthorityKind.HOST:
            host = rule.value.encode()
            return lambda exchange: host + _port_of(exchange.host)
        case AuthorityKind.PORT:
            port = b":" + rule.value.encode()
            return lambda exchange: _name_of(exchange.host) + port
        case AuthorityKind.AUTO:
            automatic = authority_of(target, tls=tls)
            return lambda _: automatic
        case AuthorityKind.NONE:
            return lambda exchange: exchange.host
        case _:
            assert_never(rule.kind)


def authority_of(target: Target, *, tls: bool) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    default = target.unix is not None or target.port == (443 if tls else 80)
    return (host if default else f"{host}:{target.port}").encode()


def compile_path(rule: PathRule) -> PathOf:
    """The request target (path and query) that the upstream gets."""
    value = rule.value.encode()
    match rule.kind:
        case PathKind.KEEP:
            return lambda exchange: _with_query(exchange.path, exchange.query)
        case PathKind.FULL:
            return lambda exchange: _with_query(value, exchange.query)
        case PathKind.PREFIX:
            return lambda exchange: _with_query(swap_prefix(exchange, value), exchange.query)
        case PathKind.OVERRIDE:
            return lambda _: value
        case PathKind.BASE:
            base = rule.value
            return lambda exchange: _with_query(path_under(base, exchange.path), exchange.query)
        case PathKind.CHAT:
            base = rule.value
            return lambda exchange: _with_query(call_under(base, exchange.path), exchange.query)
        case _:
            assert_never(rule.kind)


def swap_prefix(exchange: Exchange, replacement: bytes) -> bytes:
    """Gateway API, ReplacePrefixMatch: the matched prefix becomes `replacement`, with exactly one slash at the seam.

    Raises FILTER_FAILED when the route did not match by a prefix.
    """
    length = exchange.matched_prefix
    if length is None:
        message = "The route replaces a path prefix, but was not matched by one."
        raise GatewayError(Reason.FILTER_FAILED, message)
    rest = exchange.path[length:].lstrip(b"/")
    if not rest:
        # `/foo/` with `/foo` replaced by `/bar` keeps its slash
        kept = b"/" if exchange.path.endswith(b"/") and length < len(exchange.path) else b""
        return (replacement.rstrip(b"/") + kept) or b"/"
    return replacement.rstrip(b"/") + b"/" + rest


def _with_query(path: bytes, query: bytes | None) -> bytes:
    return path if query is None else path + b"?" + query


def _name_of(host: bytes) -> bytes:
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0]


def _port_of(host: bytes) -> bytes:
    return host[len(_name_of(host)) :]
