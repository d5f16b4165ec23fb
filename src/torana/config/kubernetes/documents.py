"""From the texts of manifest files to Manifests: one for each object in them, with where it stands.

YAML documents, JSON, and the items of a `List`. Scalars mean what they mean to kubectl, whose YAML is 1.1 in part:
`yes` and `on` are true, `0644` is octal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from torana.config.kubernetes.objects import Place
from torana.config.kubernetes.structural import Path
from torana.config.problem import Problem, Severity
from torana.config.yaml.compose import compose_all
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Document, Mapping, Node, Scalar, Sequence, core_value, path_text
from torana.config.yaml.source import Source

# sigs.k8s.io/yaml reads by go-yaml v2: YAML 1.1's truth values and octal numbers.
_TRUTH = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_OCTAL = re.compile(r"[-+]?0[0-7]+")


class Manifest(msgspec.Struct):
    """One object of a file: what was written, and the means to point into it. `at` is its path in its document."""

    body: dict[str, Any]
    findings: Findings
    at: Path

    @property
    def place(self) -> Place:
        return self.place_of(())

    @property
    def title(self) -> str:
        """`Backend gloo-system/mistral`, as far as it is known."""
        metadata = self.body.get("metadata")
        names = metadata if isinstance(metadata, dict) else {}
        namespace, name = names.get("namespace"), names.get("name")
        kind = self.body.get("kind")
        words = kind if isinstance(kind, str) else "object"
        if isinstance(name, str):
            words += f" {namespace}/{name}" if isinstance(namespace, str) else f" {name}"
        return words

    def place_of(self, path: Path) -> Place:
        """Where the node of this path stands, or the nearest above it that is there."""
        source = self.findings.document.source
        place = source.place(self._start((*self.at, *path)))
        return Place(source.where, place.line, place.column)

    def problem(self, path: Path, what: str, hint: str = "", severity: Severity = Severity.ERROR) -> Problem:
        place = self.place_of(path)
        title = f"{self.title}: {path_text(path)}" if path else self.title
        return Problem(place.where, place.line, place.column, title, what, hint, severity)

    def _start(self, path: Path) -> int:
        """Of a member its key, where an eye looks for it; of an item the item; of what is absent what is above."""
        if not path:
            return self.findings.document.root.start
        match self.findings.node(path[:-1]), path[-1]:
            case Mapping() as above, str() as key if key in above.entries:
                return above.entries[key].key.start
            case Sequence() as above, int() as index if index < len(above.items):
                return above.items[index].start
        return self._start(path[:-1])


def manifests(text: str, where: str) -> tuple[list[Manifest], list[Problem]]:
    """All objects of a text. Raises NotYamlError."""
    source = Source(where, text, text)
    found: list[Manifest] = []
    problems: list[Problem] = []
    for document in compose_all(source):
        for node, at in _objects(document.root):
            if isinstance(node, Mapping):
                found.append(Manifest(plain(node), Findings(document), at))
            else:
                problems.append(_no_object(document, node))
    return found, problems


def plain(node: Mapping) -> dict[str, Any]:
    return {key: _plain(entry.value) for key, entry in node.entries.items()}


def _objects(root: Node, at: Path = ()) -> Iterator[tuple[Node, Path]]:
    """The object itself, or those of a List, as `kubectl get -o yaml` prints."""
    if not isinstance(root, Mapping) or not _is_list(root):
        yield root, at
        return
    items = root.entries.get("items")
    if items is not None and isinstance(items.value, Sequence):
        for index, item in enumerate(items.value.items):
            yield from _objects(item, (*at, "items", index))


def _is_list(node: Mapping) -> bool:
    """`List`, or a list of one kind, such as SecretList."""
    kind = node.entries.get("kind")
    return (
        kind is not None
        and isinstance(kind.value, Scalar)
        and kind.value.text.endswith("List")
        and "items" in node.entries
    )


def _plain(node: Node) -> Any:
    match node:
        case Mapping():
            return plain(node)
        case Sequence():
            return [_plain(item) for item in node.items]
        case Scalar():
            return _meaning(node)


def _meaning(scalar: Scalar) -> Any:
    if scalar.plain and scalar.text in _TRUTH:
        return _TRUTH[scalar.text]
    if scalar.plain and _OCTAL.fullmatch(scalar.text):
        return int(scalar.text, 8)
    return core_value(scalar)


def _no_object(document: Document, node: Node) -> Problem:
    place = document.source.place(node.start)
    what = "this is no Kubernetes object"
    return Problem(
        document.source.where, place.line, place.column, "", what, "an object has apiVersion, kind and metadata"
    )
