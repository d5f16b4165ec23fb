"""What a route is: the requests it takes, what it does to them, and where they go."""

from __future__ import annotations

from enum import Enum

import msgspec

from torana.model.backend import BackendRef, Mirror
from torana.model.policy import RoutePolicies


class PathMatchKind(Enum):
    """EXACT: the whole path. PREFIX: whole segments, a trailing `/` ignored on both sides. REGEX: the whole path."""

    EXACT = "exact"
    PREFIX = "pathPrefix"
    REGEX = "regex"


class PathMatch(msgspec.Struct, frozen=True):
    kind: PathMatchKind = PathMatchKind.PREFIX
    value: str = "/"


class ValueMatch(msgspec.Struct, frozen=True):
    """A header's or query parameter's name and its value: exact text, or a regular expression for the whole value."""

    name: str
    value: str
    regex: bool = False


class RouteMatch(msgspec.Struct, frozen=True):
    """All parts must hold. Header names have no case; `:method`, `:path`, `:authority`, `:scheme` are allowed."""

    path: PathMatch = PathMatch()
    method: str | None = None
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any one of `matches` suffices. `hostnames` empty means every host; an entry is exact or starts with `*.`."""

    name: str
    hostnames: tuple[str, ...] = ()
    matches: tuple[RouteMatch, ...] = (RouteMatch(),)
    policies: RoutePolicies = RoutePolicies()
    backends: tuple[BackendRef, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
