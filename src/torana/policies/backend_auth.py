"""backendAuth: the credential that a backend gets instead of the client's.

A header credential replaces every field of that name, so that a client can never add a second one. Wherever the
credential goes, the client's own `Authorization` does not go with it: it was meant for the gateway, not for the
provider.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never
from urllib.parse import quote, unquote_to_bytes

from torana.http.message import Fields
from torana.model.policy import BackendAuth, CredentialPlace


class Credential(NamedTuple):
    """What is added to a request: rendered header lines, names to drop first, and a query parameter or cookie."""

    lines: bytes = b""
    drops: frozenset[bytes] = frozenset((b"authorization",))
    parameter: tuple[bytes, bytes] | None = None
    cookie: tuple[bytes, bytes] | None = None


def compile_credential(auth: BackendAuth | None) -> Credential:
    """Everything is rendered once; per request it is one more entry of a join."""
    if auth is None:
        return Credential(drops=frozenset())
    key = auth.key.reveal()
    match auth.place:
        case CredentialPlace.HEADER:
            line = f"{auth.name}: {auth.prefix}{key}\r\n".encode()
            return Credential(lines=line, drops=frozenset((b"authorization", auth.name.lower().encode())))
        case CredentialPlace.QUERY:
            return Credential(parameter=(quote(auth.name, safe="").encode(), quote(key, safe="").encode()))
        case CredentialPlace.COOKIE:
            # The client's cookies are rendered with it: a request has one Cookie line (RFC 6265, 5.4).
            return Credential(cookie=(auth.name.encode(), key.encode()), drops=frozenset((b"authorization", b"cookie")))
        case _:
            assert_never(auth.place)


def with_parameter(target: bytes, parameter: tuple[bytes, bytes]) -> bytes:
    """`target` with the parameter set: one of that name the client sent is taken out, however it is spelled."""
    name, value = parameter
    plain = unquote_to_bytes(name)
    path, _, query = target.partition(b"?")
    kept = [
        part
        for part in query.split(b"&")
        if part and unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")) != plain
    ]
    return path + b"?" + b"&".join([*kept, name + b"=" + value])


def with_cookie(fields: Fields, cookie: tuple[bytes, bytes]) -> bytes:
    """The Cookie line of a request with the cookie set: the client's others stay, one of that name is taken out."""
    name, value = cookie
    sent = b";".join(value for lower, _, value in fields if lower == b"cookie")
    others = [pair for pair in map(bytes.strip, sent.split(b";")) if pair and pair.partition(b"=")[0].rstrip() != name]
    return b"cookie: " + b"; ".join([*others, name + b"=" + value]) + b"\r\n"
