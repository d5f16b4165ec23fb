"""csrf: what changes something must not be sent by a page of somebody else's, for whom the browser would vouch."""

from __future__ import annotations

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.message import field
from torana.model.policy import Csrf
from torana.policies.cors import origins

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))  # RFC 9110, 9.2.1; TRACE is not served at all
_OURS = frozenset((b"same-origin", b"none"))  # a page of this host; the user's own doing, no page at all
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class CsrfPolicy:
    """Lets a request pass whose browser says that it comes from here, or from one of the additional origins.

    Browsers of today say so in Sec-Fetch-Site (Fetch Metadata), which knows more than Origin: a page of this very host
    that came in plaintext is another site. Older ones send Origin, which then has to name the request's host. What
    sends neither is no browser, and carries no credentials it was not given.
    """

    def __init__(self, csrf: Csrf) -> None:
        self._trusted = origins(csrf.additional_origins)

    def on_request(self, exchange: Exchange) -> None:
        """Raises CSRF_FAILED."""
        if exchange.method in _SAFE:
            return
        site = field(exchange.fields, b"sec-fetch-site")
        origin = field(exchange.fields, b"origin")
        if site in _OURS or (site is None and origin is None):
            return
        if origin is not None and (self._trusted(origin) or (site is None and _names(origin, exchange))):
            return
        said = f"Sec-Fetch-Site {(site or b'').decode('latin-1')!r}, Origin {(origin or b'').decode('latin-1')!r}"
        raise GatewayError(Reason.CSRF_FAILED, "CSRF validation failed", said)


def _names(origin: bytes, exchange: Exchange) -> bool:
    """Whether an origin is that of the request's host; `null`, which has none, never is."""
    scheme, _, host = origin.lower().partition(b"://")
    return bool(host) and _explicit(host, scheme) == _explicit(exchange.host.lower(), scheme)


def _explicit(host: bytes, scheme: bytes) -> bytes:
    """With its port, also where that is the scheme's own."""
    has_port = host.rpartition(b":")[2].isdigit() and not host.endswith(b"]")
    return host if has_port else host + _DEFAULT_PORTS.get(scheme, b"")
