"""Gateway API: HTTPRoute (apis/v1/httproute_types.go)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from torana.config.kubernetes.resources.record import Declined, NotYet, ObjectReference, Port, Record, Text


class ParentRef(Record, frozen=True, kw_only=True):
    name: Text
    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: str | None = None
    port: Port | None = None


class PathMatch(Record, frozen=True, kw_only=True):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class ValueMatch(Record, frozen=True, kw_only=True):
    """Of a header or a query parameter."""

    name: Text
    value: str
    type: Literal["Exact", "RegularExpression"] = "Exact"


class Match(Record, frozen=True, kw_only=True):
    path: PathMatch = PathMatch()
    headers: tuple[ValueMatch, ...] = ()
    query_params: tuple[ValueMatch, ...] = ()
    method: str | None = None


class Header(Record, frozen=True, kw_only=True):
    name: Text
    value: str


class HeaderModifier(Record, frozen=True, kw_only=True):
    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class PathModifier(Record, frozen=True, kw_only=True):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class Redirect(Record, frozen=True, kw_only=True):
    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class Rewrite(Record, frozen=True, kw_only=True):
    hostname: str | None = None
    path: PathModifier | None = None


class Cors(Record, frozen=True, kw_only=True):
    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int = 5


class Fraction(Record, frozen=True, kw_only=True):
    numerator: Annotated[int, msgspec.Meta(ge=0)]
    denominator: Annotated[int, msgspec.Meta(ge=1)] = 100


class RequestMirror(Record, frozen=True, kw_only=True):
    """At most one of `percent` and `fraction`; without them every request is copied."""

    backend_ref: ObjectReference
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class Filter(Record, frozen=True, kw_only=True):
    """`type` names the one member that is given."""

    type: Text
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: Redirect | None = None
    url_rewrite: Rewrite | None = None
    cors: Cors | None = None
    request_mirror: RequestMirror | None = None
    extension_ref: Declined = None
    external_auth: Declined = None

    @property
    def mirror(self) -> RequestMirror | None:
        return self.request_mirror if self.type == "RequestMirror" else None


class BackendRef(ObjectReference, frozen=True, kw_only=True):
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    filters: tuple[Filter, ...] = ()


class Timeouts(Record, frozen=True, kw_only=True):
    request: str | None = None
    backend_request: str | None = None


class Retry(Record, frozen=True, kw_only=True):
    """GEP-1731, of the experimental channel. `attempts` are the repetitions, `backoff` the least pause before each.

    The newest CRDs have `attempts` of 1 or more; by older ones 0 is possible, which is no retry.
    """

    codes: tuple[Annotated[int, msgspec.Meta(ge=400, le=599)], ...] = ()
    attempts: Annotated[int, msgspec.Meta(ge=0)] | None = None
    backoff: str | None = None


class Rule(Record, frozen=True, kw_only=True):
    name: str | None = None
    matches: tuple[Match, ...] = ()
    filters: tuple[Filter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: Timeouts = Timeouts()
    retry: Retry | None = None
    session_persistence: NotYet = None


class HTTPRoute(Record, frozen=True, kw_only=True):
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = (Rule(),)
    use_default_gateways: NotYet = None
