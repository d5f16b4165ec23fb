"""Exchange: one request and its answer as they travel; what policies read and change."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from torana.http.message import Fields
from torana.llm.operation import Operation
from torana.telemetry.record import Record


class LocalReply(NamedTuple):
    """An answer the gateway makes itself. Content-Length and Date are added when it is sent."""

    status: int
    fields: Fields
    body: bytes = b""


class Quota(NamedTuple):
    """The rate limit that has the least left for this client, and the seconds until it has more."""

    limit: int
    remaining: int
    reset: float


class Exchange(msgspec.Struct, gc=False):
    """The state of one request between its head and its account.

    `fields` are the request's, `path`, `query` and `host` what the client asked for; policies may change `fields`
    before they go upstream, and the fields of the answer they are handed. `matched_prefix` is the length of the
    route's matched path prefix, None when the route matched otherwise. `origin` is the client's, where cross-origin
    rules are on: what goes upstream may have another, or none. `quota` is set where there are rate limits, and `charge`
    where one of them waits for the tokens of the answer. `operation` is what the route says that it is, whatever its
    path looks like, and `opaque` that nobody is to look into it. `content` is the body, where the route had to read it
    to know where the call goes, and `model` the one that decided it: no other is to be read upstream.
    """

    record: Record
    method: bytes
    scheme: bytes
    host: bytes
    path: bytes
    query: bytes | None
    fields: Fields
    sni: str | None = None
    matched_prefix: int | None = None
    origin: bytes | None = None
    quota: Quota | None = None
    charge: Callable[[Record], None] | None = None
    operation: Operation | None = None
    opaque: bool = False
    content: bytes | None = None
    model: str | None = None
