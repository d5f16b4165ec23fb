"""Where a backend is and how it is reached: connect target, TLS, `Host` and path. One place, for every dialect.

    connect    the host override; else (AI only) the authority of a URL rewrite; else the provider's own place
    TLS        the provider's own place: on. Anywhere else: on when asked for, by TLS settings or by `https://`
    Host       what the URL rewrite says, less the scheme's own port; else the name connected to
    path       the backend's override or prefix; else the URL rewrite's; else, with a place of its own, the client's;
               else the provider's base path

A dialect puts what the user wrote into a Wish and gets a Destination. A fault names the Part of the wish that it is in,
so that the dialect can point at it in its own words; its text follows a quotation of that part and never repeats it.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from torana.config.syntax import host_fault
from torana.llm.providers import PROVIDERS
from torana.model.backend import ProviderKind, Target
from torana.model.policy import Authority, AuthorityKind, BackendAuth, BackendTls, PathKind, PathRule
from torana.model.secret import Secret

_HTTP = 80
_HTTPS = 443


class Part(Enum):
    """What a fault is about."""

    ADDRESS = "address"
    AUTHORITY = "authority"
    TLS = "tls"
    PROVIDER = "provider"
    PATH_PREFIX = "path prefix"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said of one backend. `provider` None is a plain HTTP backend, which needs an address.

    `address` is where to connect: `host:port`, `host`, `[v6]:port`, `unix:/path`, or a host with `http://` or `https://`.
    `authority` and `path` come from a URL rewrite of the route.
    """

    provider: ProviderKind | None
    address: str | None = None
    tls: BackendTls | None = None
    authority: Authority | None = None
    path: PathRule | None = None
    path_override: str | None = None
    path_prefix: str | None = None


class Remark(msgspec.Struct, frozen=True):
    """Runs, and is probably not meant."""

    part: Part
    what: str
    hint: str


class Destination(msgspec.Struct, frozen=True):
    """What `model.Backend` needs; `tls` None is plaintext."""

    target: Target
    tls: BackendTls | None
    authority: Authority
    path: PathRule
    remarks: tuple[Remark, ...] = ()


class UnresolvableError(Exception):
    """There is no destination. `what` follows a quotation of the part, where there is one."""

    def __init__(self, part: Part, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.part = part
        self.what = what
        self.hint = hint


def resolve(wish: Wish) -> Destination:
    """Raises UnresolvableError."""
    facts = PROVIDERS[wish.provider] if wish.provider is not None else None
    base = PathRule(PathKind.BASE, facts.base) if facts is not None else PathRule()
    named = None
    if wish.authority is not None and wish.authority.kind in (AuthorityKind.FULL, AuthorityKind.HOST):
        named = _parse(wish.authority.value, Part.AUTHORITY)
    if wish.address is not None:
        address = _parse(wish.address, Part.ADDRESS)
        complete = address.port is not None or address.scheme is not None or address.unix is not None
        if wish.provider is None and not complete:
            raise UnresolvableError(Part.ADDRESS, "has no port", "write host:port, or https:// before the host")
    elif wish.provider is not None and named is not None:
        address = named
    elif facts is not None and facts.host is not None:
        tls = wish.tls or (BackendTls() if facts.tls else None)
        return _destination(wish, Target(facts.host, facts.port), tls, base)
    else:
        hint = "say where it is with hostOverride"
        raise UnresolvableError(Part.PROVIDER, "this provider has no place of its own", hint)
    tls = _tls(wish, address)
    target = Target(address.host, address.port or _scheme_port(tls), address.unix)
    # A provider with a place of its own that is reached elsewhere gets the client's path.
    return _destination(wish, target, tls, base if facts is None or facts.host is None else PathRule())


def _destination(wish: Wish, target: Target, tls: BackendTls | None, otherwise: PathRule) -> Destination:
    return Destination(target, tls, _authority(wish, tls), _path(wish, otherwise), _remarks(wish, target, tls))


def _scheme_port(tls: BackendTls | None) -> int:
    return _HTTP if tls is None else _HTTPS


def check_authority(authority: Authority) -> None:
    """For an authority that no backend uses. Raises UnresolvableError when it is no `host[:port]`, or no host alone."""
    if authority.kind in (AuthorityKind.FULL, AuthorityKind.HOST):
        address = _parse(authority.value, Part.AUTHORITY)
        if authority.kind is AuthorityKind.HOST and address.port is not None:
            raise UnresolvableError(Part.AUTHORITY, "has a port", "write `full` in place of `host`")


# --- Credential -----------------------------------------------------------------------------------------------------

_OAUTH = "sk-ant-oat"  # Anthropic's tokens of a subscription are no keys: they go into Authorization


def credential(kind: ProviderKind | None, key: Secret) -> BackendAuth:
    """A key whose place was not said: where its provider wants it, else `Authorization: Bearer`."""
    facts = PROVIDERS[kind] if kind is not None else None
    if facts is None or key.reveal().startswith(_OAUTH):
        return BackendAuth(key)
    return BackendAuth(key, name=facts.key_header, prefix=facts.key_prefix)


# --- Address --------------------------------------------------------------------------------------------------------


class _Scheme(Enum):
    HTTP = "http://"
    HTTPS = "https://"


class _Address(msgspec.Struct, frozen=True):
    host: str
    port: int | None = None
    unix: str | None = None
    scheme: _Scheme | None = None


def _parse(text: str, part: Part) -> _Address:
    if part is Part.ADDRESS and text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise UnresolvableError(part, "has no absolute path after `unix:`", "write unix:/path/to/socket")
        return _Address("localhost", unix=path)
    scheme = next((scheme for scheme in _Scheme if text.startswith(scheme.value)), None)
    rest = text.removeprefix(scheme.value) if scheme else text
    if "://" in rest or (scheme and part is Part.AUTHORITY):
        allowed = (
            "write host or host:port" if part is Part.AUTHORITY else "write host:port, http://host or https://host"
        )
        raise UnresolvableError(part, "has a scheme that does not belong here", allowed)
    if scheme:
        rest = rest.removesuffix("/")
    if "/" in rest:
        raise UnresolvableError(part, "has a path", "write the path in pathPrefix or urlRewrite.path.full")
    host, port = _host_and_port(rest, part)
    fault = host_fault(host)
    if fault is not None:
        raise UnresolvableError(part, fault, "write host:port, such as api.example.com:443")
    return _Address(host.lower(), port, scheme=scheme)


def _host_and_port(text: str, part: Part) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise UnresolvableError(part, "is no IPv6 address in brackets", "write [2001:db8::1]:443")
        port = rest.removeprefix(":") if rest else None
    elif text.count(":") > 1:
        raise UnresolvableError(part, "has several colons", "put an IPv6 address in brackets: [2001:db8::1]:443")
    else:
        host, colon, after = text.partition(":")
        port = after if colon else None
    if port is None:
        return host, None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise UnresolvableError(part, "has no port from 1 to 65535 after its colon", "write host:port")
    return host, int(port)


# --- TLS, Host, path ------------------------------------------------------------------------------------------------


def _tls(wish: Wish, address: _Address) -> BackendTls | None:
    if address.scheme is _Scheme.HTTP and wish.tls is not None:
        raise UnresolvableError(
            Part.ADDRESS,
            "says plaintext (`http://`), and backendTLS says TLS",
            "write https:// or leave the scheme out if it is TLS; remove backendTLS if it is not",
        )
    if wish.tls is None and address.scheme is _Scheme.HTTPS:
        return BackendTls()
    return wish.tls


def _authority(wish: Wish, tls: BackendTls | None) -> Authority:
    """RFC 9110, section 4.2: the scheme's own port is left out."""
    if wish.authority is None:
        return Authority()
    if wish.authority.kind is AuthorityKind.FULL:
        return Authority(AuthorityKind.FULL, wish.authority.value.removesuffix(f":{_scheme_port(tls)}"))
    return wish.authority


def _path(wish: Wish, otherwise: PathRule) -> PathRule:
    """What the route rewrites comes first: it is the plainest wish, and the one a reader of the file sees first."""
    if wish.path is not None:
        return wish.path
    if wish.path_override is not None:
        return PathRule(PathKind.OVERRIDE, wish.path_override)
    if wish.path_prefix is not None:
        return PathRule(PathKind.BASE, wish.path_prefix.rstrip("/"))
    return otherwise


def _remarks(wish: Wish, target: Target, tls: BackendTls | None) -> tuple[Remark, ...]:
    remarks = []
    if tls is None and target.port == _HTTPS and target.unix is None:
        part = Part.ADDRESS if wish.address is not None else Part.AUTHORITY
        hint = "add `backendTLS: {}` to the policies if the provider uses HTTPS"
        remarks.append(Remark(part, "is connected to in plaintext, on port 443", hint))
    if wish.path_override is not None and wish.path_prefix is not None:
        remarks.append(Remark(Part.PATH_PREFIX, "has no effect beside pathOverride", "remove one of the two"))
    return tuple(remarks)
