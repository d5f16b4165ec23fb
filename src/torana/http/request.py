"""A request as the parser delivers it, and the rules of RFC 9112 that llhttp leaves to its user."""

from __future__ import annotations

import re
from typing import NamedTuple

from torana.errors import GatewayError, Reason
from torana.http.body import Body
from torana.http.message import Fields, field

_METHODS_REFUSED = frozenset((b"CONNECT", b"TRACE"))
_MAX_TARGET = 16 * 1024  # bytes; RFC 9112, 3 asks for 8,000 at least
_SETTINGS = "frontendPolicies.http."
_NAME = rb"[0-9A-Za-z._~!$&'()*+,;=%-]*"  # RFC 3986, 3.2.2; empty where a target has no authority (RFC 9112, 3.2)
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|" + _NAME + rb")(?::[0-9]*)?\Z").match


class Target(NamedTuple):
    """A request target taken apart. The absolute form's `authority` replaces Host (RFC 9112, 3.2.2)."""

    path: bytes
    query: bytes | None
    authority: bytes | None


class Request:
    """One request: its head, checked, and its body, still arriving."""

    __slots__ = (
        "body", "content_length", "fields", "host", "keep_alive", "method", "path", "query", "upgrade", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fields: Fields = []
        self.method = b""
        self.path = b"/"
        self.query: bytes | None = None
        self.host = b""
        self.version = "1.1"
        self.content_length: int | None = None
        self.keep_alive = True
        self.upgrade = False  # it offers WebSocket (RFC 6455, 4.1)
        self.body: Body

    @property
    def has_body(self) -> bool:
        return self.body.size > 0 or not self.body.done


def split_target(target: bytes) -> Target:
    """Origin form, absolute form and `*`. Raises BAD_HTTP for anything else."""
    authority = None
    if target[:1] != b"/":
        if target == b"*":
            return Target(b"*", None, None)
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise _bad("the request target must be a path or an http(s) URL")
        end = min(i for i in (rest.find(b"/"), rest.find(b"?"), len(rest)) if i >= 0)
        authority, target = rest[:end], rest[end:]
        if not authority or b"@" in authority:
            raise _bad("the request target names no valid host")
        if target[:1] != b"/":
            target = b"/" + target
    target = target.partition(b"#")[0]  # a fragment is the client's own business (RFC 9110, 4.2.5)
    path, mark, query = target.partition(b"?")
    return Target(path, query if mark else None, authority)


def check_head(request: Request, target: bytes, version: str) -> bool:  # noqa: C901, PLR0912 - one branch a rule
    """Fill in what follows from the head; True when the client waits for `100 Continue`.

    What llhttp refuses itself (both lengths, obs-fold, bare CR and LF, space before a colon, ...) never gets here. What
    it lets pass is refused here: no Host or several, a transfer coding that is not just `chunked`, one on HTTP/1.0, a
    version that is not 1.x, methods that make a tunnel. Raises GatewayError.
    """
    if version not in ("1.1", "1.0"):
        raise GatewayError(Reason.HTTP_VERSION, f"HTTP/{version} is not spoken here; use HTTP/1.1.")
    if len(target) > _MAX_TARGET:
        raise _target_too_long()
    if request.method in _METHODS_REFUSED:
        raise GatewayError(Reason.METHOD_NOT_ALLOWED, f"{request.method.decode()} is not served by this gateway.")
    request.version = version
    authority = None
    if target[:1] == b"/" and b"#" not in target:
        request.path, mark, query = target.partition(b"?")
        request.query = query if mark else None
    else:
        request.path, request.query, authority = split_target(target)
    hosts = 0
    waits = False
    for lower, _, value in request.fields:
        if lower == b"host":
            hosts += 1
            request.host = value
        elif lower == b"content-length":
            request.content_length = int(value)
        elif lower == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise _bad("the only transfer coding taken is `chunked`")
            if version == "1.0":
                raise _bad("HTTP/1.0 has no Transfer-Encoding")
        elif lower == b"expect":
            if value.strip().lower() != b"100-continue":
                raise GatewayError(Reason.EXPECTATION_FAILED, "The only expectation met here is `100-continue`.")
            waits = version == "1.1"
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise _bad("a request has exactly one Host field")
    if authority is not None:
        request.host = authority
    if not _HOST(request.host):
        raise _bad("the Host field is not a host")
    if request.path == b"*" and request.method != b"OPTIONS":
        raise _bad("the request target `*` is for OPTIONS only")  # RFC 9112, 3.2.4
    return waits


def framing_lines(request: Request) -> bytes:
    """The fields that tell where the body ends, in wire form; empty when there is none."""
    if request.content_length:
        return b"content-length: %d\r\n" % request.content_length
    return b"transfer-encoding: chunked\r\n" if field(request.fields, b"transfer-encoding") is not None else b""


def size_of_head(request: Request, target: bytes) -> int:
    """Its bytes on the wire, near enough for a limit."""
    return len(target) + sum(len(name) + len(value) + 4 for name, _, value in request.fields)


def head_too_large(target: bytes, most_fields: int, most_bytes: int) -> GatewayError:
    """What is wrong with a head over the limits; without `target`, with a trailer or with what is between chunks."""
    if len(target) > _MAX_TARGET:
        return _target_too_long()
    if len(target) > most_bytes // 2:
        return GatewayError(
            Reason.TARGET_TOO_LONG,
            f"The request target has {len(target):,} bytes, too many where all of the head may have {most_bytes:,}. "
            f"Shorten it, or raise {_SETTINGS}maxHeaderBytes in the gateway's configuration.",
        )
    return GatewayError(
        Reason.HEADERS_TOO_LARGE,
        f"The request's header or trailer is over the limit of {most_fields} fields or {most_bytes:,} bytes. "
        f"Send less, or raise {_SETTINGS}http1MaxHeaders or {_SETTINGS}maxHeaderBytes in the gateway's configuration.",
    )


def _target_too_long() -> GatewayError:
    message = f"The request target is longer than {_MAX_TARGET:,} bytes, a limit that no setting raises."
    return GatewayError(Reason.TARGET_TOO_LONG, message)


def _bad(what: str) -> GatewayError:
    return GatewayError(Reason.BAD_HTTP, f"The request is not valid HTTP/1.1: {what}.")
