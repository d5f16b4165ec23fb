"""The file's ports: `binds`, `gateways` with the routes that name them, and that of `llm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torana.config.standalone.backends import Backends
from torana.config.standalone.decode import nearest
from torana.config.standalone.files import Files
from torana.config.standalone.listeners import Standing, bind
from torana.config.standalone.llm import llm_route
from torana.config.standalone.routes import route
from torana.config.standalone.schema import listeners as schema
from torana.config.standalone.schema.file import File
from torana.config.standalone.schema.gateways import Gateway, GatewayListener
from torana.config.standalone.schema.llm import Llm
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path, path_text
from torana.model.config import Bind
from torana.model.route import Route

_DEFAULT = "default"
_LLM_PORT = 4000


class _Port(NamedTuple):
    """A port that is listened on, and where the file says so."""

    number: int
    path: Path
    listeners: list[Standing]


def binds(file: File, backends: Backends, findings: Findings, files: Files) -> tuple[Bind, ...]:
    ports = [_written(written, ("binds", i), backends, findings) for i, written in enumerate(file.binds)]
    gateways = {name: _gateway(name, written, findings) for name, written in file.gateways.items()}
    for index, each in enumerate(file.routes):
        made = route(each, ("routes", index), index, backends, findings)
        _attach(made, each.gateways or _DEFAULT, ("routes", index, "gateways"), gateways, findings)
    ports += gateways.values()
    if file.llm is not None:
        own = _llm(file.llm, ("llm",), gateways, backends, findings, files)
        ports += [own] if own is not None else []
    if not ports:
        hint = "give the file `llm`, or `gateways` with `routes`, or `binds`"
        findings.warning((), "there is no port to listen on", hint)
    _check_ports(ports, findings)
    return tuple(bind(port.number, port.path, port.listeners, findings, files) for port in ports)


def _written(written: schema.Bind, path: Path, backends: Backends, findings: Findings) -> _Port:
    listeners = []
    for index, listener in enumerate(written.listeners):
        here = (*path, "listeners", index)
        routes = [route(each, (*here, "routes", i), i, backends, findings) for i, each in enumerate(listener.routes)]
        listeners.append(Standing(listener, here, routes))
    return _Port(written.port, path, listeners)


def _check_ports(ports: Sequence[_Port], findings: Findings) -> None:
    first: dict[int, Path] = {}
    for port in ports:
        other = first.setdefault(port.number, port.path)
        if other is not port.path:
            hint = "change one of them"
            if port.path[0] == other[0] == "binds":
                hint = "give one bind both listeners, or change the port"
            findings.error((*port.path, "port"), f"{path_text(other)} has this port already", hint)


# --- Gateways -------------------------------------------------------------------------------------------------------


def _gateway(name: str, written: Gateway, findings: Findings) -> _Port:
    path = ("gateways", name)
    if not written.listeners:
        return _Port(written.port, path, [Standing(_listener(written, name), path, [])])
    for key, given in (("protocol", written.protocol), ("tls", written.tls)):
        if given is not None:
            what = "cannot stand beside `listeners`, which say it each for itself"
            findings.error((*path, key), what, "give it to the listeners, or leave `listeners` out")
    listeners = [
        Standing(_listener(each, each.name), (*path, "listeners", index), [])
        for index, each in enumerate(written.listeners)
    ]
    return _Port(written.port, path, listeners)


def _listener(written: Gateway | GatewayListener, name: str | None) -> schema.Listener:
    return schema.Listener(
        name=name,
        hostname=written.hostname if isinstance(written, GatewayListener) else None,
        protocol=written.protocol or ("HTTPS" if written.tls is not None else "HTTP"),
        tls=written.tls,
    )


def _attach(
    made: Route, names: str | tuple[str, ...], path: Path, gateways: dict[str, _Port], findings: Findings
) -> None:
    """Put a route on the listeners of these gateways: `name`, which is all of its listeners, or `name/listener`."""
    for index, name in enumerate((names,) if isinstance(names, str) else names):
        here = path if isinstance(names, str) else (*path, index)
        gateway, slash, wanted = name.partition("/")
        port = gateways.get(gateway)
        standing = [
            each
            for number, each in enumerate(port.listeners if port is not None else ())
            if not slash or wanted == (each.written.name or f"listener{number}")
        ]
        if not standing:
            _missing(name, here, port, gateways, findings)
        for each in standing:
            each.routes.append(made)


def _missing(name: str, path: Path, port: _Port | None, gateways: dict[str, _Port], findings: Findings) -> None:
    if port is not None:
        what = f"{findings.quote(path, name)} is no listener of this gateway"
        findings.error(path, what, "write the gateway's name alone for all of its listeners")
        return
    meant = None if findings.hides(path) else nearest(name, gateways)
    hint = f'did you mean "{meant}"?' if meant else "give `gateways` one of that name, with its port"
    # The default may be meant without being written.
    quoted = f'"{_DEFAULT}"' if name == _DEFAULT else findings.quote(path, name)
    findings.error(path, f"{quoted} is no gateway", hint)


# --- llm ------------------------------------------------------------------------------------------------------------


def _llm(
    llm: Llm, path: Path, gateways: dict[str, _Port], backends: Backends, findings: Findings, files: Files
) -> _Port | None:
    """Its own port; None where it is attached to gateways."""
    made = llm_route(llm, path, backends, findings, files)
    names = llm.gateways
    if names is not None:
        for key, given in (("port", llm.port), ("tls", llm.tls)):
            if given is not None:
                findings.error((*path, key), "cannot stand beside `gateways`, which say it", "remove one of the two")
    elif llm.port is None and llm.tls is None and _DEFAULT in gateways:
        names = _DEFAULT
    if names is not None:
        _attach(made, names, (*path, "gateways"), gateways, findings)
        return None
    listener = schema.Listener(name="llm", protocol="HTTPS" if llm.tls is not None else "HTTP", tls=llm.tls)
    return _Port(llm.port or _LLM_PORT, path, [Standing(listener, path, [made])])
