"""From YAML text to nodes. libyaml gives the events, where PyYAML was built with it; what they make is decided here.

Bounds are kept on depth and on what aliases add up to, because a configuration may be written by somebody else. JSON is
YAML, so it works too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from torana.config.problem import Problem
from torana.config.yaml.nodes import Document, Entry, Mapping, Node, Path, Scalar, Sequence, core_value
from torana.config.yaml.refusal import refusal
from torana.config.yaml.source import Source

try:
    from yaml import CSafeLoader as _Loader
except ImportError:
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_DEPTH = 64
"""Deeper than any configuration; the composer calls itself once a level."""
MAX_NODES = 2_000_000
"""Nodes with every alias written out. A file of 10,000 routes has about 400,000; an alias bomb has billions."""

_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_MERGE = "<<"
_NOT_UTF_8 = re.compile("[\ud800-\udfff]")
"""What is left, by PEP 383, of bytes in the environment that are no UTF-8."""


class NotYamlError(Exception):
    """The text has no nodes; `problems` says why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def compose(source: Source) -> Document:
    """The one document of this text. Raises NotYamlError with all problems that could be found."""
    composer = _Composer(source)
    root = composer.document()
    if composer.problems or root is None:
        raise NotYamlError(composer.problems)
    return Document(source, root)


def compose_all(source: Source) -> list[Document]:
    """Every document of this text that is not empty. Raises NotYamlError with all problems that could be found."""
    composer = _Composer(source)
    roots = composer.documents()
    if composer.problems:
        raise NotYamlError(composer.problems)
    return [Document(source, root) for root in roots]


def scan(text: str) -> Iterator[yaml.Token]:
    """YAML's tokens, as far as the text is YAML."""
    return yaml.scan(text, Loader=_Loader)


def path_at(text: str, offset: int) -> Path:
    """The path of the node around this offset of the text; empty when the text is no YAML."""
    try:
        node: Node | None = compose(Source("", text, text)).root
    except NotYamlError:
        return ()
    path: Path = ()
    while node is not None:
        node, step = _child_at(node, offset)
        path += step
    return path


def _child_at(node: Node, offset: int) -> tuple[Node | None, Path]:
    match node:
        case Mapping():
            for key, entry in node.entries.items():
                if entry.key.start <= offset < max(entry.key.end, entry.value.end):
                    return entry.value, (key,)
        case Sequence():
            for index, item in enumerate(node.items):
                if item.start <= offset < item.end:
                    return item, (index,)
        case Scalar():
            pass
    return None, ()


# --- Composing ------------------------------------------------------------------------------------------------------


class _UnreadableError(Exception):
    """Nothing sensible can be said about the rest of the text."""


class _Composer:
    """Reads documents from events. Faults that leave the rest readable are collected on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()
        self._depth = 0
        self._loader: Any

    def document(self) -> Node | None:
        try:
            self._begin()
            self._loader.get_event()  # the stream begins
            if self._loader.check_event(yaml.StreamEndEvent):
                self._empty(0)
                return None
            self._loader.get_event()  # the document begins
            root = self._node()
            self._loader.get_event()  # the document ends
            if not self._loader.check_event(yaml.StreamEndEvent):
                self._several()
            if isinstance(root, Scalar) and core_value(root) is None:
                self._empty(root.start)
                return None
        except yaml.YAMLError as error:
            self._syntax(error)
        except _UnreadableError:
            pass
        else:
            return root
        return None

    def documents(self) -> list[Node]:
        roots: list[Node] = []
        try:
            self._begin()
            self._loader.get_event()  # the stream begins
            while not self._loader.check_event(yaml.StreamEndEvent):
                self._loader.get_event()  # the document begins
                self._anchors = {}  # YAML 1.2.2, section 3.2.2.2: an anchor is known in its own document only
                root = self._node()
                self._loader.get_event()  # the document ends
                if not (isinstance(root, Scalar) and core_value(root) is None):
                    roots.append(root)
        except yaml.YAMLError as error:
            self._syntax(error)
        except _UnreadableError:
            pass
        return roots

    def _begin(self) -> None:
        text = self.source.text
        if (found := _NOT_UTF_8.search(text)) is not None:
            self._problem(found.start(), "the value of this variable is not UTF-8 text", "")
            raise _UnreadableError
        self._loader = _Loader(text)

    def _node(self) -> Node:
        event: Any = self._loader.get_event()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None and event.tag != "!" and event.tag not in _TAGS:
            self._problem(
                event.start_mark.index,
                "YAML tags of an application's own have no meaning here",
                "leave it out; text that begins with `!` has to be in quotes",
            )
        node: Node
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.ScalarEvent):
            plain = event.tag != "!" and (
                event.implicit[0] or (event.tag or "").endswith((":int", ":float", ":bool", ":null"))
            )
            node = Scalar(event.value, plain, start, end)
        else:
            node = self._collection(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _collection(self, event: Any) -> Sequence | Mapping:
        start = event.start_mark.index
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._problem(start, f"nested more than {MAX_DEPTH} levels deep", "no configuration needs that")
            raise _UnreadableError
        self._open.add(event.anchor)
        node = self._sequence(start) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(start)
        self._open.discard(event.anchor)
        self._depth -= 1
        if node.weight > MAX_NODES:
            self._problem(start, "aliases make this file too large", "write out what differs, or use fewer aliases")
            raise _UnreadableError
        return node

    def _sequence(self, start: int) -> Sequence:
        items: list[Node] = []
        weight = 1
        while not self._loader.check_event(yaml.SequenceEndEvent):
            item = self._node()
            items.append(item)
            weight += item.weight
        return Sequence(items, start, self._loader.get_event().end_mark.index, weight)

    def _mapping(self, start: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: list[Mapping] = []
        weight = 1
        while not self._loader.check_event(yaml.MappingEndEvent):
            key, value = self._node(), self._node()
            weight += 1 + value.weight
            if not isinstance(key, Scalar):
                self._problem(key.start, "a key has to be text", "")
            elif key.plain and key.text == _MERGE:
                merged += self._merged(value)
            elif key.text in entries:
                first = self.source.place(entries[key.text].key.start)
                shown = "this key" if self.source.hides(key.start, key.end) else f'"{key.text}"'
                self._problem(key.start, f"{shown} is given twice", f"it is in line {first.line} already")
            else:
                entries[key.text] = Entry(key, value)
        for other in merged:
            for name, entry in other.entries.items():
                entries.setdefault(name, entry)
        return Mapping(entries, start, self._loader.get_event().end_mark.index, weight)

    def _merged(self, value: Node) -> list[Mapping]:
        """YAML merge keys: one mapping, or a list of them of which the earlier ones win."""
        candidates = value.items if isinstance(value, Sequence) else [value]
        mappings = [candidate for candidate in candidates if isinstance(candidate, Mapping)]
        if len(mappings) < len(candidates):
            self._problem(value.start, "`<<` merges objects only", "give it the alias of an object, or a list of such")
        return mappings

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if event.anchor not in self._open and node is not None:
            return node
        what = (
            "this alias refers to what it is part of"
            if event.anchor in self._open
            else "this alias has no anchor before it"
        )
        self._problem(event.start_mark.index, what, "text that begins with `*` has to be in quotes")
        return Scalar("", plain=True, start=event.start_mark.index, end=event.end_mark.index)

    # Faults of the whole text

    def _empty(self, offset: int) -> None:
        hint = "the least that runs is a port with a listener, a route and a backend: see examples/"
        self._problem(offset, "the configuration is empty", hint)

    def _several(self) -> None:
        event = self._loader.get_event()
        hint = "a `---` begins a new document: remove it, or give each document a file of its own"
        self._problem(event.start_mark.index, "one configuration is one YAML document; here begins another", hint)

    def _syntax(self, error: yaml.YAMLError) -> None:
        """Only libyaml's fixed words are shown; what stands in the file is not, as it may be a secret."""
        offset, words, hint = refusal(error, self.source.text)
        if self.source.hides_line(offset):
            hint = 'the value of a variable in this line may have a meaning in YAML: write "$NAME", with quotes'
            self._problem(offset, "this is not YAML", hint)
        else:
            self._problem(offset, f"this is not YAML: {words}", hint)

    def _problem(self, offset: int, what: str, hint: str) -> None:
        place = self.source.place(offset)
        self.problems.append(Problem(self.source.where, place.line, place.column, "", what, hint))
