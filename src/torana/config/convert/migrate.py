"""`torana migrate`: the `binds` form as `llm`, and as `gateways` and `routes` what that cannot say.

Works on the nodes of the text, so that variables, quotes and comments stay as they were written. A port with one
listener that has one route for everything becomes `llm`; of several such ports the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torana.config.convert.emit import Extended, emit
from torana.config.convert.migrate_model import NotLlmError, model_of
from torana.config.convert.report import Converted, Fidelity, Report
from torana.config.convert.written import WrittenFile, items, member
from torana.config.problem import ConfigError, Problem
from torana.config.yaml.nodes import Mapping, Node, Scalar, Sequence

_DEFAULT = "default"


def migrate(text: str, where: str) -> Converted:
    """Raises ConfigError when the text is no YAML, or has no `binds`."""
    file = WrittenFile(text, where)
    if not items(member(file.root, "binds")):
        hint = "`llm`, `gateways` and `routes` are today's form: there is nothing to migrate"
        raise ConfigError([Problem(where, 1, 1, "", "this file has no `binds`", hint)])
    report = Report(where)
    return Converted(emit(_Migration(file, report).tree(), file), report)


class _Gateway(NamedTuple):
    name: str
    tree: dict[str, Any]


class _Migration:
    def __init__(self, file: WrittenFile, report: Report) -> None:
        self._file = file
        self._report = report
        self._llm: dict[str, Any] | None = None
        self._gateways: dict[str, Any] = {}
        self._routes: list[Extended] = []
        self._tcp_routes: list[Any] = []

    def tree(self) -> dict[str, Any]:
        for index, bind in enumerate(items(member(self._file.root, "binds"))):
            self._bind(bind, index)
        assert isinstance(self._file.root, Mapping)
        others: dict[str, Any] = {
            name: entry.value for name, entry in self._file.root.entries.items() if name != "binds"
        }
        backends = others.pop("backends", None)
        if (targeted := others.get("policies")) is not None:
            what = "targets that name a bind or a listener have other names now"
            self._report.add(Fidelity.MANUAL, "policies", what, line=self._file.line(targeted))
        head: dict[str, Any] = {name: others.pop(name) for name in ("config", "frontendPolicies") if name in others}
        return {
            **head,
            "gateways": self._gateways or None,
            "llm": self._llm,
            "backends": self._still_named(backends),
            **others,
            "routes": self._routes or None,
            "tcpRoutes": self._tcp_routes or None,
        }

    def _bind(self, bind: Node, index: int) -> None:
        gateway = self._gateway(bind, index)
        self._gateways[gateway.name] = gateway.tree
        for key in ("tunnelProtocol", "mode"):
            found = member(bind, key)
            if found is not None and self._file.text(found) not in ("direct", "standard"):
                what = "gateways have no such key"
                self._report.add(Fidelity.UNSUPPORTED, f"binds[{index}].{key}", what, line=self._file.line(found))
        reason = self._as_llm(bind, gateway)
        if reason is None:
            return
        for number, listener in enumerate(items(member(bind, "listeners"))):
            self._listener(listener, number, gateway, reason)

    # A port

    def _gateway(self, bind: Node, index: int) -> _Gateway:
        port = member(bind, "port")
        name = _DEFAULT if not self._gateways else f"port{self._file.text(port)}"
        if name in self._gateways or (port is not None and self._file.has_reference(port)):
            name = _DEFAULT if not self._gateways else f"gateway{index}"
        tree: dict[str, Any] = {"port": port}
        listeners = items(member(bind, "listeners"))
        if self._inline(listeners):
            own = _without(listeners[0], "name", "namespace", "routes", "tcpRoutes", "policies", "hostname")
            protocol = own.get("protocol")
            if self._file.text(protocol) == "HTTP":
                del own["protocol"]
            return _Gateway(name, tree | own)
        tree["listeners"] = [
            {"name": member(each, "name") or f"listener{number}"}
            | _without(each, "name", "namespace", "routes", "tcpRoutes")
            for number, each in enumerate(listeners)
        ]
        return _Gateway(name, tree)

    @staticmethod
    def _inline(listeners: list[Node]) -> bool:
        """One listener for every host is its gateway."""
        if len(listeners) != 1:
            return False
        return member(listeners[0], "hostname") is None and member(listeners[0], "policies") is None

    # The port of the models

    def _as_llm(self, bind: Node, gateway: _Gateway) -> str | None:
        """Why not, as words; None when it is `llm` now."""
        listeners = items(member(bind, "listeners"))
        routes = [route for listener in listeners for route in items(member(listener, "routes"))]
        if self._llm is not None:
            return "there is one `llm`, and another port has it"
        if not self._inline(listeners):
            return "`llm` takes every host, without policies of a listener"
        if len(routes) != 1:
            return "`llm` chooses by the model's name alone, and this port has several routes, or none"
        try:
            made = model_of(routes[0], member(self._file.root, "backends"), self._file)
        except NotLlmError as reason:
            return self._file.restored(str(reason))
        self._llm = {"gateways": gateway.name, "models": [made.tree], "policies": made.policies or None}
        self._report.add(Fidelity.EXACT, "route", "is llm.models[0] now", line=self._file.line(routes[0]))
        for note in made.notes:
            self._report.add(note.fidelity, note.subject, note.what, line=note.line)
        return None

    # Routes that stay

    def _listener(self, listener: Node, number: int, gateway: _Gateway, reason: str) -> None:
        attached: str | None = gateway.name
        if "listeners" in gateway.tree:
            attached = f"{gateway.name}/{self._file.text(member(listener, 'name')) or f'listener{number}'}"
        elif attached == _DEFAULT:
            attached = None
        more = {"gateways": attached} if attached is not None else {}
        for route in items(member(listener, "routes")):
            if not isinstance(route, Mapping):
                self._report.add(Fidelity.MANUAL, "route", "is no object", line=self._file.line(route))
                continue
            self._routes.append(Extended(more, route))
            self._report.add(Fidelity.EXACT, "route", f"stays a route: {reason}", line=self._file.line(route))
        for route in items(member(listener, "tcpRoutes")):
            self._tcp_routes.append(Extended(more, route) if isinstance(route, Mapping) else route)

    def _still_named(self, backends: Node | None) -> Node | None:
        """Named backends, without those that became a model."""
        if not isinstance(backends, Sequence) or self._llm is None:
            return backends
        used = {text for route in self._routes for text in self._references(route.node)}
        used |= {text for backend in backends.items for text in self._references(backend)}
        migrated = {
            text for listener in items(member(self._file.root, "binds")) for text in self._references(listener)
        } - used
        kept = [each for each in backends.items if self._reference_of(each) not in migrated]
        return Sequence(kept, backends.start, backends.end) if kept else None

    def _reference_of(self, backend: Node) -> str:
        namespace = self._file.text(member(backend, "namespace")) or ""
        return f"{namespace}/{self._file.text(member(backend, 'name'))}"

    def _references(self, node: Node) -> Iterator[str]:
        match node:
            case Mapping(entries=entries):
                for key, entry in entries.items():
                    if key == "backend" and isinstance(entry.value, Scalar):
                        yield self._file.restored(entry.value.text)
                    yield from self._references(entry.value)
            case Sequence():
                for item in node.items:
                    yield from self._references(item)
            case Scalar():
                pass


def _without(node: Node, *names: str) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {}
    return {key: entry.value for key, entry in node.entries.items() if key not in names}
