"""What goes into a translation and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from torana.config.problem import Problem
from torana.model.config import Config, Limits, Settings

CONTROLLER_NAME = "torana.dev/gateway-controller"
"""A name of our own: two controllers with one name would fight over statuses."""

CLASS_NAME = "torana"
AGENTGATEWAY_CLASS = "agentgateway"
"""The class that agentgateway's documentation uses; ours in files, and where `Options.class_names` has it."""


class Place(msgspec.Struct, frozen=True):
    """Where an object stands; line and column count from 1, 0 is unknown. `where` is a file name or `<stdin>`."""

    where: str
    line: int = 0
    column: int = 0


class Key(msgspec.Struct, frozen=True, order=True):
    """What tells objects apart: versions of one group are the same object."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Object(msgspec.Struct, frozen=True):
    """A resource as it was written; `body` is the whole of it, decoded. `namespace` is empty for a cluster's own."""

    api_version: str
    kind: str
    namespace: str
    name: str
    body: dict[str, Any]
    place: Place | None = None

    @property
    def group(self) -> str:
        """Empty for the core group."""
        group, slash, _ = self.api_version.rpartition("/")
        return group if slash else ""

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    @property
    def metadata(self) -> dict[str, Any]:
        return _mapping(self.body.get("metadata"))

    @property
    def spec(self) -> dict[str, Any]:
        return _mapping(self.body.get("spec"))

    @property
    def generation(self) -> int:
        """The API server counts changes of the spec; a file's object has none, which is 0."""
        generation = self.metadata.get("generation")
        return generation if isinstance(generation, int) else 0

    @property
    def created(self) -> str:
        """RFC 3339 in UTC, which sorts as text; empty, and so before all others, when the object has none."""
        created = self.metadata.get("creationTimestamp")
        return created if isinstance(created, str) else ""

    @property
    def labels(self) -> dict[str, str]:
        labels = _mapping(self.metadata.get("labels"))
        return {name: value for name, value in labels.items() if isinstance(value, str)}

    @property
    def key(self) -> Key:
        return Key(self.group, self.kind, self.namespace, self.name)

    def __repr__(self) -> str:
        """Without the body: a Secret's would be a secret told."""
        return f"Object({self.key})"


class Options(msgspec.Struct, frozen=True):
    """How to translate.

    `controller_names`: GatewayClasses with one of these are ours; the first is the one written into statuses.
    `class_names`: classes that are ours where no GatewayClass object says otherwise, as in files.
    `implicit_gateway`: the port of the Gateways that are supplied for parents that are absent; None supplies none.
    `addresses`: where the gateway is reached, for the status of Gateways; None says nothing of it, as in files.
    `releases`: of the Gateway API's CRDs, by name, empty where one says none; None says nothing of them, as in files.
    `ports`: what is listened on in place of a listener's port, as in files; redirects lead there, too.
    `unread`: group and kind of what the API server does not let us read; that none is here says nothing about them.
    """

    controller_names: tuple[str, ...] = (CONTROLLER_NAME,)
    class_names: tuple[str, ...] = (CLASS_NAME,)
    implicit_gateway: int | None = None
    addresses: tuple[str, ...] | None = None
    releases: Mapping[str, str] | None = None
    ports: Mapping[int, int] = {}
    unread: frozenset[tuple[str, str]] = frozenset()
    settings: Settings = Settings()
    limits: Limits = Limits()

    @property
    def controller(self) -> str:
        """The name in the statuses that are written; empty when nothing is ours."""
        return self.controller_names[0] if self.controller_names else ""


class Status(msgspec.Struct, frozen=True):
    """What an object's `.status` ought to say, in the members that are ours.

    Conditions have no lastTransitionTime: that is for the writer, who knows what stood there before. Of `parents` and
    `ancestors` only the entries with our controllerName are here.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    generation: int
    status: dict[str, Any]


class Translation(msgspec.Struct, frozen=True):
    """All that came of the objects. The config always runs; what is wrong in it answers 500."""

    config: Config
    statuses: tuple[Status, ...] = ()
    problems: tuple[Problem, ...] = ()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
