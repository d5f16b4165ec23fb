"""Ports by name, and the routes that are attached to them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from torana.config.standalone.schema.listeners import ListenerTls, Route
from torana.config.standalone.schema.record import Name, Port, Record

_PROTOCOL = "`HTTPS` when there is `tls`, else `HTTP`."


class GatewayListener(Record, frozen=True):
    """A host name on a gateway's port."""

    not_yet = ("policies",)

    name: Annotated[Name | None, Meta(description="Its name in logs; `listener<index>` when left out.")] = None
    hostname: Annotated[
        str | None, Meta(description="The host name it takes, exact or `*.example.com`; every host when left out.")
    ] = None
    protocol: Annotated[
        Literal["HTTP", "HTTPS"] | None, Meta(description=_PROTOCOL, extra={"not_yet": ("TLS", "TCP")})
    ] = None
    tls: Annotated[ListenerTls | None, Meta(description="The certificate, for protocol `HTTPS`.")] = None


class Gateway(Record, frozen=True):
    """A port to listen on, for the routes that name it."""

    not_yet = (
        "apiKey",
        "authorization",
        "basicAuth",
        "cors",
        "extAuthz",
        "extProc",
        "jwtAuth",
        "oidc",
        "policies",
        "transformations",
    )

    port: Annotated[Port, Meta(description="The port; on all addresses of the machine.")]
    protocol: Annotated[
        Literal["HTTP", "HTTPS"] | None, Meta(description=_PROTOCOL, extra={"not_yet": ("TLS", "TCP")})
    ] = None
    tls: Annotated[ListenerTls | None, Meta(description="The certificate, for protocol `HTTPS`.")] = None
    listeners: Annotated[
        tuple[GatewayListener, ...],
        Meta(description="Host names with certificates of their own, in place of `protocol` and `tls`."),
    ] = ()


class AttachedRoute(Route, frozen=True, kw_only=True):
    """Requests, what happens to them, and where they go; on the gateways that it names."""

    gateways: Annotated[
        str | tuple[str, ...] | None,
        Meta(description="Where it is: `name` or `name/listener` of `gateways`. Left out: the gateway `default`."),
    ] = None
