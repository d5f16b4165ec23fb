"""requestRedirect: send the client elsewhere."""

from __future__ import annotations

from torana.exchange import Exchange, LocalReply
from torana.model.backend import Target
from torana.model.policy import AuthorityKind, Redirect
from torana.policies.url_rewrite import compile_authority, compile_path

_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class RequestRedirectPolicy:
    """Gateway API, HTTPRequestRedirectFilter: what is not given is taken from the request.

    The port of the request is left out when the scheme changes and the configuration names no port: it belonged to the
    old scheme. A port that is the scheme's default is never written.
    """

    def __init__(self, redirect: Redirect) -> None:
        self._status = redirect.status
        self._scheme = redirect.scheme.encode() if redirect.scheme else None
        authority = redirect.authority
        if authority is not None and authority.kind in (AuthorityKind.AUTO, AuthorityKind.NONE):
            authority = None  # both leave the host to whoever is asked, and here no backend is
        self._keeps_port = authority is None or authority.kind is AuthorityKind.HOST
        self._host = None if authority is None else compile_authority(authority, Target("", 0), tls=False)
        self._path = None if redirect.path is None else compile_path(redirect.path)

    def on_request(self, exchange: Exchange) -> LocalReply:
        scheme = self._scheme or exchange.scheme
        host = exchange.host if self._host is None else self._host(exchange)
        if scheme != exchange.scheme and self._keeps_port:
            host = host.rpartition(b":")[0] if _has_port(host) else host
        host = host.removesuffix(_DEFAULT_PORTS.get(scheme, b" "))
        if self._path is not None:
            path = self._path(exchange)
        else:
            path = exchange.path if exchange.query is None else exchange.path + b"?" + exchange.query
        exchange.record.reason = "DirectResponse"
        location = scheme + b"://" + host + path
        return LocalReply(self._status, [(b"location", b"location", location)])


def _has_port(host: bytes) -> bool:
    return host.rpartition(b":")[2].isdigit() and not host.endswith(b"]")
