"""Ports, listeners, and the routes that pick requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from torana.config.standalone.schema.backends import RouteBackend
from torana.config.standalone.schema.policies import RoutePolicies
from torana.config.standalone.schema.record import Name, Port, Record

TlsVersion = Literal["TLS_V1_2", "TLS_V1_3"]


class PathMatch(Record, frozen=True):
    """A rule for the path. Give exactly one key."""

    exactly_one = ("exact", "pathPrefix", "regex")

    exact: Annotated[str | None, Meta(description="The whole path.")] = None
    path_prefix: Annotated[
        str | None, Meta(description="Its first segments: `/v1` takes `/v1` and `/v1/models`, not `/v10`.")
    ] = None
    regex: Annotated[str | None, Meta(description="A regular expression (RE2) for the whole path.")] = None


class TextMatch(Record, frozen=True):
    """A rule for a value. Give exactly one key."""

    exactly_one = ("exact", "regex")

    exact: Annotated[str | None, Meta(description="The whole value.")] = None
    regex: Annotated[str | None, Meta(description="A regular expression (RE2) for the whole value.")] = None


class HeaderMatch(Record, frozen=True):
    """A rule for a header."""

    name: Annotated[Name, Meta(description="The header, or `:method`, `:path`, `:authority`, `:scheme`.")]
    value: Annotated[TextMatch, Meta(description="What it has to be.")]


class QueryMatch(Record, frozen=True):
    """A rule for a query parameter."""

    name: Annotated[Name, Meta(description="The parameter.")]
    value: Annotated[TextMatch, Meta(description="What it has to be.")]


class RouteMatch(Record, frozen=True):
    """Requests that a route takes; all rules given have to hold."""

    path: Annotated[PathMatch | None, Meta(description="A rule for the path; every path when left out.")] = None
    method: Annotated[str | None, Meta(description="The method, such as `POST`.")] = None
    headers: Annotated[tuple[HeaderMatch, ...], Meta(description="Rules for headers.")] = ()
    query: Annotated[tuple[QueryMatch, ...], Meta(description="Rules for query parameters.")] = ()


class Route(Record, frozen=True):
    """Requests, what happens to them, and where they go."""

    name: Annotated[Name | None, Meta(description="Its name in logs; `route<index>` when left out.")] = None
    namespace: Annotated[str | None, Meta(description="Accepted, and without effect.")] = None
    rule_name: Annotated[str | None, Meta(description="Accepted, and without effect.")] = None
    hostnames: Annotated[
        tuple[str, ...], Meta(description="Host names it takes, exact or `*.example.com`; every host when left out.")
    ] = ()
    matches: Annotated[
        tuple[RouteMatch, ...], Meta(description="Requests it takes: any of these; all when left out.")
    ] = ()
    policies: Annotated[RoutePolicies | None, Meta(description="What happens to a request and its answer.")] = None
    backends: Annotated[tuple[RouteBackend, ...], Meta(description="Where requests go.")] = ()


class ListenerTls(Record, frozen=True):
    """The certificate of an HTTPS listener."""

    not_yet = ("spiffe", "cipherSuites", "keyExchangeGroups")
    spellings: ClassVar[Mapping[str, str]] = {"minTlsVersion": "minTLSVersion", "maxTlsVersion": "maxTLSVersion"}

    cert: Annotated[Name, Meta(description="File of the certificate and its chain, PEM.")]
    key: Annotated[Name, Meta(description="File of the certificate's key, PEM.")]
    mode: Annotated[
        Literal["static"], Meta(description="Where the certificate comes from.", extra={"not_yet": ("dynamicCa",)})
    ] = "static"
    root: Annotated[
        str | None, Meta(description="File of certificate authorities, PEM; clients then need a certificate of theirs.")
    ] = None
    min_version: Annotated[TlsVersion | None, Meta(description="The oldest version to speak.")] = field(
        default=None, name="minTLSVersion"
    )
    max_version: Annotated[TlsVersion | None, Meta(description="The newest version to speak.")] = field(
        default=None, name="maxTLSVersion"
    )


class Listener(Record, frozen=True):
    """A host name on a port, and its routes."""

    not_yet = ("tcpRoutes", "policies")

    name: Annotated[Name | None, Meta(description="Its name in logs; `listener<index>` when left out.")] = None
    namespace: Annotated[str | None, Meta(description="Accepted, and without effect.")] = None
    hostname: Annotated[
        str | None, Meta(description="The host name it takes, exact or `*.example.com`; every host when left out.")
    ] = None
    protocol: Annotated[
        Literal["HTTP", "HTTPS"],
        Meta(description="`HTTPS` needs `tls`.", extra={"not_yet": ("TLS", "TCP", "HBONE")}),
    ] = "HTTP"
    tls: Annotated[ListenerTls | None, Meta(description="The certificate, for protocol `HTTPS`.")] = None
    routes: Annotated[tuple[Route, ...], Meta(description="Its routes; the most specific match wins.")] = ()


class Bind(Record, frozen=True):
    """A port to listen on."""

    port: Annotated[Port, Meta(description="The port; on all addresses of the machine.")]
    listeners: Annotated[tuple[Listener, ...], Meta(description="What listens on it.")]
    tunnel_protocol: Annotated[
        Literal["direct"],
        Meta(
            description="What comes before HTTP; `direct` is nothing.",
            extra={"not_yet": ("hboneWaypoint", "hboneGateway", "proxy", "connect")},
        ),
    ] = "direct"
    mode: Annotated[Literal["standard"], Meta(description="How it is bound.", extra={"not_yet": ("internal",)})] = (
        "standard"
    )
