"""cors: which pages of other origins may call, by the Fetch standard."""

from __future__ import annotations

from collections.abc import Callable

from torana.exchange import Exchange, LocalReply
from torana.http.message import Field, Fields, field
from torana.model import pattern
from torana.model.policy import Cors

_OURS = frozenset(
    (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")
)


class CorsPolicy:
    """Answers preflights itself, with 200 whether allowed or not: only the allow fields tell a browser that it may.

    With credentials, `*` in a list is not a wildcard to browsers; what was asked for is named instead (Fetch, 3.3.5).
    """

    def __init__(self, cors: Cors) -> None:
        self._allowed = origins(cors.allow_origins)
        self._any_origin = "*" in cors.allow_origins and not cors.allow_credentials
        self._methods = _listed(cors.allow_methods)
        self._headers = _listed(cors.allow_headers)
        self._echo_method = cors.allow_credentials and "*" in cors.allow_methods
        self._echo_headers = cors.allow_credentials and "*" in cors.allow_headers
        self._expose = _listed(cors.expose_headers)
        self._credentials = cors.allow_credentials
        self._max_age = None if cors.max_age is None else str(cors.max_age).encode()

    def on_request(self, exchange: Exchange) -> LocalReply | None:
        origin = exchange.origin = field(exchange.fields, b"origin")
        if exchange.method != b"OPTIONS":
            return None
        method = field(exchange.fields, b"access-control-request-method")
        if origin is None or method is None:
            return None
        exchange.record.reason = "DirectResponse"
        fields: Fields = []
        if self._allowed(origin):
            asked = field(exchange.fields, b"access-control-request-headers")
            methods = method if self._echo_method else self._methods
            headers = asked if self._echo_headers else self._headers
            fields += _fields((b"access-control-allow-methods", methods), (b"access-control-allow-headers", headers))
            fields += _fields((b"access-control-max-age", self._max_age))
        return LocalReply(200, fields)

    def on_response(self, exchange: Exchange, fields: Fields) -> None:
        origin = exchange.origin  # later policies may have changed the field (Ollama, for one, wants none)
        if origin is None:
            # Fetch, "CORS protocol and HTTP caches": or a cache gives this answer, without our fields, to a page.
            fields += _fields((b"vary", b"Origin"))
            return
        # The gateway's rules stand for the route's; a backend's own would come twice, which browsers refuse.
        fields[:] = [entry for entry in fields if entry[0] not in _OURS]
        if not self._any_origin:
            fields += _fields((b"vary", b"Origin"))
        if not self._allowed(origin):
            return
        fields += _fields((b"access-control-allow-origin", b"*" if self._any_origin else origin))
        if self._credentials:
            fields += _fields((b"access-control-allow-credentials", b"true"))
        if exchange.method != b"OPTIONS":
            fields += _fields((b"access-control-expose-headers", self._expose))


def origins(allowed: tuple[str, ...]) -> Callable[[bytes], bool]:
    """Whether an origin is one of those: exact ones, `*` for all, or with a `*` as in `https://*.example.com`.

    Browsers write scheme and host in lower case (URL standard), whatever the configuration does.
    """
    if "*" in allowed:
        return lambda _: True
    allowed = tuple(map(str.lower, allowed))
    exact = frozenset(origin.encode() for origin in allowed if "*" not in origin)
    patterns = [pattern.whole("[^/]+".join(map(pattern.escaped, each.split("*")))) for each in allowed if "*" in each]
    return lambda origin: origin in exact or any(fits(origin) for fits in patterns)


def _listed(names: tuple[str, ...]) -> bytes | None:
    return ", ".join(names).encode() or None


def _fields(*named: tuple[bytes, bytes | None]) -> list[Field]:
    return [(name, name, value) for name, value in named if value is not None]
