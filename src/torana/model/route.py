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


class ModelRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """What calls of a model get. `name` is exact, `*`, or has one `*` at its beginning or its end.

    `headers` and `condition` (CEL) must hold too. Of several that fit, an exact name comes first, then the longest,
    then the order. `virtual`: its name stands for others.
    """

    name: str
    backends: tuple[BackendRef, ...]
    policies: RoutePolicies = RoutePolicies()
    headers: tuple[ValueMatch, ...] = ()
    condition: str | None = None
    virtual: bool = False


class OperationRule(msgspec.Struct, frozen=True):
    """What paths with this ending are, whatever they look like: the name of an Operation, or `passthrough`."""

    suffix: str
    operation: str


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any one of `matches` suffices. `hostnames` empty means every host; an entry is exact or starts with `*.`.

    With `models` the model of a call says where it goes, and there are no `backends`. Without `operations` the path
    says what a request is; with them the longest ending that fits, `*` being any.
    """

    name: str
    hostnames: tuple[str, ...] = ()
    matches: tuple[RouteMatch, ...] = (RouteMatch(),)
    policies: RoutePolicies = RoutePolicies()
    backends: tuple[BackendRef, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    models: tuple[ModelRoute, ...] = ()
    operations: tuple[OperationRule, ...] = ()
