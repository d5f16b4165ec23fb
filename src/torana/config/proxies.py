"""The forward proxies of the environment, as curl and Go have them.

`https_proxy` is for upstreams with TLS and `http_proxy` for the others; `all_proxy` for what has none of its own;
`no_proxy` says which hosts have none. Each may be written in capitals too, and small letters win. `HTTP_PROXY` in
capitals is left out where REQUEST_METHOD is set: in a CGI process a client sets it, by its header `Proxy` (httpoxy).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from torana.config.problem import Problem
from torana.config.syntax import host_fault
from torana.http.proxies import compile_exceptions
from torana.model.backend import Target, Tunnel
from torana.model.config import Proxies
from torana.model.policy import BackendAuth, BackendTls
from torana.model.secret import Secret

_HINT = "write http://HOST:PORT, https://HOST:PORT or HOST:PORT, with USER:PASSWORD@ before HOST where it is needed"
_PORTS = {"http": 80, "https": 443}


class _Variable(NamedTuple):
    name: str
    text: str


def environment_proxies(env: Mapping[str, str], refuse: Callable[[Problem], None]) -> Proxies:
    """`refuse` is told of each value that is wrong, which is never repeated: it may hold a password."""
    fallback = _given(env, "all_proxy")
    exceptions = _given(env, "no_proxy")
    entries = tuple(filter(None, re.split(r"[,\s]+", exceptions.text))) if exceptions is not None else ()
    try:
        compile_exceptions(entries)
    except ValueError as error:
        assert exceptions is not None
        refuse(Problem("environment", 0, 0, exceptions.name, str(error)))
        entries = ()
    tunnels: list[Tunnel | None] = []
    for variable in (_given(env, "https_proxy") or fallback, _given(env, "http_proxy") or fallback):
        try:
            tunnels.append(_tunnel(variable.text) if variable is not None else None)
        except ValueError as error:
            assert variable is not None
            refuse(Problem("environment", 0, 0, variable.name, str(error), _HINT))
    https, http = tunnels if len(tunnels) == 2 else (None, None)
    return Proxies(https, http, entries)


def told(proxies: Proxies) -> str:
    """All of it in one line, without credentials."""
    ways = [
        f"{what} through {tunnel.target}{' over TLS' if tunnel.tls is not None else ''}"
        for what, tunnel in (("with TLS", proxies.https), ("without TLS", proxies.http))
        if tunnel is not None
    ]
    exceptions = f"; not {', '.join(proxies.exceptions)}" if proxies.exceptions else ""
    return f"proxies of the environment: upstreams {' and '.join(ways) or 'have none'}{exceptions}"


def _given(env: Mapping[str, str], name: str) -> _Variable | None:
    """An empty variable is as good as none."""
    names = [name, name.upper()]
    if name == "http_proxy" and "REQUEST_METHOD" in env:
        names.pop()
    return next((_Variable(each, env[each].strip()) for each in names if env.get(each, "").strip()), None)


def _tunnel(text: str) -> Tunnel:
    """Raises ValueError, without the text in it."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise ValueError("its value is no address of a proxy") from None
    if parts.scheme.startswith("socks"):
        raise ValueError("SOCKS proxies are not spoken to")
    if parts.scheme not in _PORTS:
        raise ValueError("its value names another protocol than http and https")
    host = parts.hostname or ""
    if host_fault(host) or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("its value is no address of a proxy")
    auth = None
    if parts.username is not None:
        pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        auth = BackendAuth(Secret(b64encode(pair).decode()), name="proxy-authorization", prefix="Basic ")
    tls = BackendTls() if parts.scheme == "https" else None
    return Tunnel(Target(host, port or _PORTS[parts.scheme]), tls, auth)
