"""Ports and listeners, from the file's words to the model's, with what only all of a port together can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torana.config.standalone.files import Files
from torana.config.standalone.routes import hostname
from torana.config.standalone.schema import listeners as schema
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.config import Bind, Listener, Protocol, ServerTls
from torana.model.policy import TlsVersion
from torana.model.route import Route
from torana.model.secret import Secret


class Standing(NamedTuple):
    """A listener as it was written, where, and its routes."""

    written: schema.Listener
    path: Path
    routes: list[Route]


def bind(number: int, path: Path, standing: Sequence[Standing], findings: Findings, files: Files) -> Bind:
    """A port with its listeners, of which each is told from the others."""
    hosts: dict[str | None, int] = {}
    names: dict[str, int] = {}
    listeners: list[Listener] = []
    for index, each in enumerate(standing):
        here = each.path
        listener = _listener(each, index, findings, files)
        if (other := names.setdefault(listener.name, index)) != index:
            findings.error(
                (*here, "name"), f"listeners[{other}] has this name already", "names tell them apart in logs"
            )
        if (other := hosts.setdefault(listener.hostname, index)) != index:
            hint = "give each listener of a port a hostname of its own, or one listener all routes"
            findings.error((*here, "hostname"), f"listeners[{other}] takes the same hosts", hint)
        if each.written.protocol != standing[0].written.protocol:
            hint = "give HTTP and HTTPS a port each"
            findings.error((*here, "protocol"), "HTTP and HTTPS on one port are not supported yet", hint)
        if _handshake(listener) != _handshake(listeners[0] if listeners else listener):
            # OpenSSL takes these from the listener a handshake begins with, before it knows the server name.
            what = "another root, minTLSVersion or maxTLSVersion than listeners[0] is not supported yet"
            findings.error((*here, "tls"), what, "make them the same, or give the listener a port of its own")
        listeners.append(listener)
    if not listeners:
        findings.warning((*path, "listeners"), "nothing listens on this port", "give it a listener with routes")
    return Bind(number, tuple(listeners))


def _handshake(listener: Listener) -> tuple[object, ...]:
    """What must be the same for all HTTPS listeners of a port."""
    tls = listener.tls
    return () if tls is None else (tls.client_roots, tls.min_version, tls.max_version)


def _listener(standing: Standing, index: int, findings: Findings, files: Files) -> Listener:
    written, path = standing.written, standing.path
    if written.protocol == "HTTPS" and written.tls is None:
        findings.error(path, "protocol HTTPS needs `tls`", "give it tls: {cert: <file>, key: <file>}")
    if written.protocol == "HTTP" and written.tls is not None:
        findings.error((*path, "tls"), "has no effect with protocol HTTP", "add protocol: HTTPS")
    return Listener(
        name=written.name or f"listener{index}",
        hostname=hostname((*path, "hostname"), written.hostname, findings) if written.hostname is not None else None,
        protocol=Protocol(written.protocol),
        tls=_server_tls(written.tls, (*path, "tls"), findings, files) if written.tls is not None else None,
        routes=tuple(standing.routes),
    )


def _server_tls(tls: schema.ListenerTls, path: Path, findings: Findings, files: Files) -> ServerTls:
    if tls.min_version == "TLS_V1_3" and tls.max_version == "TLS_V1_2":
        findings.error((*path, "maxTLSVersion"), "is older than minTLSVersion", "no version is left to speak")
    cert = files.certificates(tls.cert, (*path, "cert"))
    key = files.key(tls.key, (*path, "key"), cert)
    return ServerTls(
        cert=cert or "",
        key=Secret(key or ""),
        client_roots=files.certificates(tls.root, (*path, "root")) if tls.root is not None else None,
        min_version=TlsVersion(tls.min_version) if tls.min_version is not None else None,
        max_version=TlsVersion(tls.max_version) if tls.max_version is not None else None,
    )
