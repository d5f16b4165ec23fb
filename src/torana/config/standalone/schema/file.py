"""The top of the file."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from torana.config.standalone.schema.backends import NamedBackend
from torana.config.standalone.schema.listeners import Bind
from torana.config.standalone.schema.process import FrontendPolicies, Process
from torana.config.standalone.schema.record import Record


class File(Record, frozen=True):
    """A Torana configuration."""

    not_yet = (
        "policies",
        "workloads",
        "services",
        "routeGroups",
        "gateways",
        "routes",
        "tcpRoutes",
        "llm",
        "mcp",
        "ui",
    )

    config: Annotated[Process | None, Meta(description="Settings of the process, read once at start.")] = None
    binds: Annotated[tuple[Bind, ...], Meta(description="The ports to listen on.")] = ()
    backends: Annotated[tuple[NamedBackend, ...], Meta(description="Backends that routes refer to by name.")] = ()
    frontend_policies: Annotated[
        FrontendPolicies | None, Meta(description="What holds for every client connection.")
    ] = None
