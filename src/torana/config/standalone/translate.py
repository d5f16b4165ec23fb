"""From the schema's records to the model's Config, with the faults that only the meaning of the file shows."""

from __future__ import annotations

from collections.abc import Mapping

from torana.config.standalone.backends import Backends
from torana.config.standalone.files import Files
from torana.config.standalone.routes import hostname, route
from torana.config.standalone.schema import listeners as schema
from torana.config.standalone.schema.file import File
from torana.config.standalone.schema.process import Process
from torana.config.standalone.settings import limits, settings
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.config import Bind, Config, Limits, Listener, Protocol, ServerTls
from torana.model.policy import TlsVersion
from torana.model.secret import Secret


def translate(file: File, env: Mapping[str, str], cpus: int, findings: Findings, files: Files) -> Config:
    """What it gives is of use only when the findings have not failed. `cpus`: see `settings`."""
    backends = Backends(file.backends, findings, files)
    http = file.frontend_policies.http if file.frontend_policies else None
    if not file.binds:
        findings.warning((), "there is no port to listen on", "give `binds` an entry")
    _check_ports(file.binds, findings)
    return Config(
        binds=tuple(_bind(bind, ("binds", i), backends, findings, files) for i, bind in enumerate(file.binds)),
        limits=limits(http) if http is not None else Limits(),
        settings=settings(file.config or Process(), env, cpus, findings),
    )


def _check_ports(binds: tuple[schema.Bind, ...], findings: Findings) -> None:
    first: dict[int, int] = {}
    for index, bind in enumerate(binds):
        other = first.setdefault(bind.port, index)
        if other != index:
            hint = "give one bind both listeners, or change the port"
            findings.error(("binds", index, "port"), f"binds[{other}] has this port already", hint)


def _bind(bind: schema.Bind, path: Path, backends: Backends, findings: Findings, files: Files) -> Bind:
    path = (*path, "listeners")
    hosts: dict[str | None, int] = {}
    names: dict[str, int] = {}
    listeners: list[Listener] = []
    for index, written in enumerate(bind.listeners):
        here = (*path, index)
        listener = _listener(written, here, index, backends, findings, files)
        if (other := names.setdefault(listener.name, index)) != index:
            findings.error(
                (*here, "name"), f"listeners[{other}] has this name already", "names tell them apart in logs"
            )
        if (other := hosts.setdefault(listener.hostname, index)) != index:
            hint = "give each listener of a port a hostname of its own, or one listener all routes"
            findings.error((*here, "hostname"), f"listeners[{other}] takes the same hosts", hint)
        if written.protocol != bind.listeners[0].protocol:
            hint = "give HTTP and HTTPS a port each"
            findings.error((*here, "protocol"), "HTTP and HTTPS on one port are not supported yet", hint)
        if _handshake(listener) != _handshake(listeners[0] if listeners else listener):
            # OpenSSL takes these from the listener a handshake begins with, before it knows the server name.
            what = "another root, minTLSVersion or maxTLSVersion than listeners[0] is not supported yet"
            findings.error((*here, "tls"), what, "make them the same, or give the listener a port of its own")
        listeners.append(listener)
    if not listeners:
        findings.warning(path, "nothing listens on this port", "give it a listener with routes")
    return Bind(bind.port, tuple(listeners))


def _handshake(listener: Listener) -> tuple[object, ...]:
    """What must be the same for all HTTPS listeners of a port."""
    tls = listener.tls
    return () if tls is None else (tls.client_roots, tls.min_version, tls.max_version)


def _listener(
    written: schema.Listener, path: Path, index: int, backends: Backends, findings: Findings, files: Files
) -> Listener:
    if written.protocol == "HTTPS" and written.tls is None:
        findings.error(path, "protocol HTTPS needs `tls`", "give it tls: {cert: <file>, key: <file>}")
    if written.protocol == "HTTP" and written.tls is not None:
        findings.error((*path, "tls"), "has no effect with protocol HTTP", "add protocol: HTTPS")
    routes = tuple(route(each, (*path, "routes", i), i, backends, findings) for i, each in enumerate(written.routes))
    return Listener(
        name=written.name or f"listener{index}",
        hostname=hostname((*path, "hostname"), written.hostname, findings) if written.hostname is not None else None,
        protocol=Protocol(written.protocol),
        tls=_server_tls(written.tls, (*path, "tls"), findings, files) if written.tls is not None else None,
        routes=routes,
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
