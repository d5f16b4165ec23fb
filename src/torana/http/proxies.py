"""Which forward proxy the environment asks for, for which upstream: HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

NO_PROXY is read as Go's net/http does (golang.org/x/net/http/httpproxy), and what it and curl agree on is what most
people write. Entries are separated by commas or spaces:

    example.com    that name and all below it        10.0.0.7, ::1    that address
    .example.com   only what is below it             10.0.0.0/8       the addresses of that network
    *.example.com  the same                          *                everything

`host:port` of any of them, networks excepted, is for that port alone. A host of a configuration that is a name is
never looked up to compare it with addresses.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias

from torana.model.backend import Target, Tunnel
from torana.model.config import Proxies

_Ip: TypeAlias = IPv4Address | IPv6Address


class _Exception(NamedTuple):
    """One entry of NO_PROXY; None fits anything. `name` begins with a dot when only names below it fit."""

    name: str | None = None
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def fits(self, host: str, ip: _Ip | None, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return ip is not None and ip in self.network
        if self.name is None:
            return True
        return host.endswith(self.name) if self.name.startswith(".") else f".{host}".endswith(f".{self.name}")


class Environment:
    """The environment's proxies, compiled. Raises ValueError for an entry of NO_PROXY that is none.

    `direct` are those (host, port) that `--resolve` says the address of: no proxy stands before them.
    """

    def __init__(self, proxies: Proxies, direct: Container[tuple[str, int]] = ()) -> None:
        self._proxies = proxies
        self._direct = direct
        self._exceptions = compile_exceptions(proxies.exceptions)

    def tunnel_to(self, target: Target, *, tls: bool) -> Tunnel | None:
        """The proxy to reach `target` through; None is none. Never one for this machine itself."""
        tunnel = self._proxies.https if tls else self._proxies.http
        if tunnel is None or target.unix is not None or (target.host, target.port) in self._direct:
            return None
        host = target.host.lower().rstrip(".")
        ip = _ip(host)
        if host == "localhost" or host.endswith(".localhost") or (ip is not None and ip.is_loopback):
            return None
        if any(entry.fits(host, ip, target.port) for entry in self._exceptions):
            return None
        return tunnel


def compile_exceptions(entries: Iterable[str]) -> list[_Exception]:
    """Raises ValueError, which tells an entry by its number: its text came from the environment."""
    compiled = []
    for number, entry in enumerate(entries, 1):
        try:
            compiled.append(_compile(entry.lower()))
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from None
    return compiled


def _compile(entry: str) -> _Exception:
    if "/" in entry:
        try:
            return _Exception(network=ip_network(entry.replace("[", "").replace("]", ""), strict=False))
        except ValueError:
            raise ValueError("is no network; write one such as 10.0.0.0/8") from None
    host, port = entry, None
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":") if rest else None
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("has no port from 1 to 65535 behind its colon")
    number = int(port) if port is not None else None
    if host == "*":
        return _Exception(port=number)
    ip = _ip(host)
    if ip is not None:
        return _Exception(network=ip_network(ip), port=number)
    name = host.removeprefix("*").rstrip(".")
    if not name.strip(".") or "*" in name or ":" in name:
        raise ValueError("is no host; write example.com, .example.com, an address, a network or *")
    return _Exception(name, port=number)


def _ip(host: str) -> _Ip | None:
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
