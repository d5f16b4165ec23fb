"""File mode: a configuration made of Kubernetes manifests, with no cluster.

    files ─ Texts ─ documents ─ Manifests ─ admission ─ Objects ─ translate ─ Examined

What a cluster would do on the way is done here: objects are admitted or refused (`admission`), namespaces exist by
being used, objects are as old as they stand early, and a Gateway's class exists by being named. References are held to
the same rules as in a cluster. One object that is refused refuses all of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from torana.config.kubernetes import secrets
from torana.config.kubernetes.admission import DEFAULT_NAMESPACE, Admission
from torana.config.kubernetes.documents import Manifest, manifests
from torana.config.kubernetes.files import read
from torana.config.kubernetes.objects import AGENTGATEWAY_CLASS, CLASS_NAME, Key, Object, Options, Translation
from torana.config.kubernetes.resolved import Resolved, with_endpoints
from torana.config.kubernetes.schemas import GATEWAY_API
from torana.config.kubernetes.store import DISCOVERY
from torana.config.kubernetes.translate import translate
from torana.config.loaded import Loaded
from torana.config.problem import ConfigError, Problem, Severity
from torana.config.yaml.compose import NotYamlError
from torana.model.config import Config
from torana.model.secret import Secret

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Kubernetes puts it on every namespace; selectors of allowedRoutes count on it."""

_LOWEST_FREE = 1024  # ports below it are root's
_NOTHING = Problem("--manifests", 0, 0, "", "there is no object in them", "what was to print them may have failed")
"""kubectl refuses this, too: what makes manifests for a pipe prints nothing when it fails."""


class OnDuplicate(Enum):
    """What to do about an object that is there twice."""

    ERROR = "error"
    LAST = "last"
    """The later one counts, as with `kubectl apply`."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How files are read. `env` is what the variables of Secrets are filled in from; None leaves them alone.

    `addresses` are listened on, all of the machine when there are none. `ports` are put in place of those of Gateways,
    which are below 1024 more often than not. `services` are where Services really are. `options.class_names` empty
    means every class that a Gateway names and no GatewayClass describes.
    """

    paths: tuple[str, ...]
    stdin: str = ""
    namespace: str = DEFAULT_NAMESPACE
    env: Mapping[str, str] | None = None
    on_duplicate: OnDuplicate = OnDuplicate.ERROR
    addresses: tuple[str, ...] = ()
    ports: Mapping[int, int] = {}
    services: Resolved = {}
    options: Options = Options(class_names=())


class Examined(NamedTuple):
    """All that came of the files; `objects` are in the order in which they stand."""

    objects: tuple[Object, ...]
    translation: Translation
    warnings: tuple[Problem, ...]
    watched: tuple[Path, ...]


class Manifests:
    """A configuration's source: the same files read anew each time."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.files = tuple(Path(path) for path in reading.paths if path != "-")

    def load(self) -> Loaded:
        """Raises ConfigError."""
        examined = self.examine()
        texts = (text for found in examined.objects if found.kind == "Secret" for text in secrets.values(found.body))
        hidden = frozenset(Secret(text) for text in texts)
        config = examined.translation.config
        warnings = (*examined.warnings, *_nothing_served(config, self._reading.options))
        return Loaded(config, warnings, examined.watched, hidden)

    def port_hint(self, number: int) -> str:
        """Another port in its place, which a user may have."""
        written = next((first for first, second in self._reading.ports.items() if second == number), number)
        free = number + (8000 if number < _LOWEST_FREE else 1)
        return f"--port-map {written}={free} listens on another port"

    def examine(self) -> Examined:
        """Raises ConfigError with all that is wrong with the files."""
        reading = self._reading
        read_texts = read(reading.paths, reading.stdin)
        problems = list(read_texts.problems)
        admission = Admission(reading.namespace, reading.env)
        for text in read_texts.texts:
            try:
                found, faults = manifests(text.text, text.where)
            except NotYamlError as error:
                problems += error.problems
            else:
                problems += faults
                _take_all(found, admission)
        problems += admission.problems
        if not problems and not admission.objects:
            problems.append(_NOTHING)
        objects, duplicates = _unique(admission.objects, reading.on_duplicate)
        objects, unresolved = with_endpoints(objects, reading.services)
        problems += [*duplicates, *unresolved]
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigError(problems, read_texts.watched)
        objects = tuple(_aged(_labelled(objects))) + tuple(_implied_namespaces(objects))
        translation = translate(objects, _options(reading, objects))
        config = _on_addresses(translation.config, reading.addresses)
        translation = msgspec.structs.replace(translation, config=config)
        return Examined(objects, translation, (*problems, *translation.problems), tuple(read_texts.watched))


def _take_all(found: Iterable[Manifest], admission: Admission) -> None:
    for manifest in found:
        admission.take(manifest)


def _unique(objects: list[Object], on_duplicate: OnDuplicate) -> tuple[tuple[Object, ...], list[Problem]]:
    """An object is what it is by group, kind, namespace and name; two versions of it are still one."""
    kept: dict[Key, Object] = {}
    problems: list[Problem] = []
    for found in objects:
        first = kept.get(found.key)
        if first is not None and on_duplicate is OnDuplicate.ERROR:
            assert first.place is not None
            assert found.place is not None
            what = f"is given twice; the first is at {first.place.where}:{first.place.line}"
            hint = "remove one of them, or give --on-duplicate last"
            problems.append(
                Problem(found.place.where, found.place.line, found.place.column, str(found.key), what, hint)
            )
        kept[found.key] = found
    return tuple(kept.values()), problems


def _aged(objects: Iterable[Object]) -> Iterable[Object]:
    """Where age decides, the object that stands earlier is the older. Longer ago than any real one was created.

    The generation is a new object's, unless it is written, as `kubectl get -o yaml` does.
    """
    for index, found in enumerate(objects):
        created = found.created or f"0001-01-01T00:00:00.{index:09d}Z"
        yield _with_metadata(found, creationTimestamp=created, generation=found.generation or 1)


def _labelled(objects: Iterable[Object]) -> Iterable[Object]:
    for found in objects:
        if found.kind == "Namespace" and not found.group:
            yield _with_metadata(found, labels={**found.labels, _NAMESPACE_LABEL: found.name})
        else:
            yield found


def _implied_namespaces(objects: tuple[Object, ...]) -> Iterable[Object]:
    """A namespace exists when something is in it; written down, it may have labels of its own."""
    written = {found.name for found in objects if found.kind == "Namespace" and not found.group}
    for name in sorted({found.namespace for found in objects} - written - {""}):
        metadata = {"name": name, "labels": {_NAMESPACE_LABEL: name}}
        yield Object("v1", "Namespace", "", name, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def _with_metadata(found: Object, **members: Any) -> Object:
    return msgspec.structs.replace(found, body={**found.body, "metadata": {**found.metadata, **members}})


def _options(reading: Reading, objects: Iterable[Object]) -> Options:
    """Without a GatewayClass to say whose it is, a class is ours: there is no other controller here.

    Nor is there one that writes EndpointSlices: that a Service has none says nothing about it.
    """
    unread = frozenset({(DISCOVERY, "EndpointSlice")})
    reached = tuple(address for address in reading.addresses if not ip_address(address).is_unspecified)
    options = msgspec.structs.replace(reading.options, addresses=reached or None, ports=reading.ports, unread=unread)
    if options.class_names:
        return options
    described = {found.name for found in objects if found.kind == "GatewayClass" and found.group == GATEWAY_API}
    named = {
        str(found.spec.get("gatewayClassName"))
        for found in objects
        if found.kind == "Gateway" and found.group == GATEWAY_API
    }
    names = {CLASS_NAME, AGENTGATEWAY_CLASS, *named} - described
    return msgspec.structs.replace(options, class_names=tuple(sorted(names)))


def _on_addresses(config: Config, addresses: tuple[str, ...]) -> Config:
    """Raises ConfigError when two Gateways' ports would become one."""
    numbers = [bind.port for bind in config.binds]
    for number in numbers:
        if numbers.count(number) > 1:
            raise ConfigError([Problem("--port-map", 0, 0, "", f"two ports of Gateways would both be {number}")])
    binds = tuple(msgspec.structs.replace(bind, addresses=addresses) for bind in config.binds)
    return msgspec.structs.replace(config, binds=binds)


def _nothing_served(config: Config, options: Options) -> Iterable[Problem]:
    """Files that make the gateway listen nowhere are not what anyone wants to serve."""
    if config.binds:
        return
    port = "" if options.implicit_gateway is not None else ", or give --implicit-gateway 8080"
    yield Problem("--manifests", 0, 0, "", "nothing is served: no Gateway here listens", f"write one{port}")
