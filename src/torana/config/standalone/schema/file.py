"""The top of the file."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from torana.config.standalone.schema.backends import NamedBackend
from torana.config.standalone.schema.gateways import AttachedRoute, Gateway
from torana.config.standalone.schema.listeners import Bind
from torana.config.standalone.schema.llm import Llm
from torana.config.standalone.schema.process import FrontendPolicies, Process
from torana.config.standalone.schema.record import Record


class File(Record, frozen=True):
    """A Torana configuration."""

    not_yet = (
        "policies",
        "workloads",
        "services",
        "routeGroups",
        "tcpRoutes",
        "mcp",
        "ui",
    )

    config: Annotated[Process | None, Meta(description="Settings of the process, read once at start.")] = None
    llm: Annotated[Llm | None, Meta(description="One address for many models.")] = None
    gateways: Annotated[dict[str, Gateway], Meta(description="Ports to listen on, by name.")] = field(
        default_factory=dict
    )
    routes: Annotated[tuple[AttachedRoute, ...], Meta(description="Routes of the `gateways`.")] = ()
    binds: Annotated[tuple[Bind, ...], Meta(description="Ports to listen on, each with its routes.")] = ()
    backends: Annotated[tuple[NamedBackend, ...], Meta(description="Backends that routes refer to by name.")] = ()
    frontend_policies: Annotated[
        FrontendPolicies | None, Meta(description="What holds for every client connection.")
    ] = None
