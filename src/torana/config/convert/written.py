"""A text of the user as it stands: composed to nodes, with its variables and its comments still in it."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Collection
from typing import NamedTuple

import yaml

from torana.config.problem import ConfigError, Problem
from torana.config.standalone.expand import references
from torana.config.yaml.compose import NotYamlError, compose, scan
from torana.config.yaml.nodes import Mapping, Node, Scalar, Sequence
from torana.config.yaml.source import Source, Span

_UNPRINTABLE = re.compile(r"[\x7f-\x9f\ufeff\u2028\u2029\ufffe\uffff]")
_STAND_IN = re.compile(r"torana-variable-([0-9]+)-x")


class Masked(NamedTuple):
    """A text with a name in place of each reference to a variable; `references` are those, as they were written."""

    source: Source
    references: tuple[str, ...]

    def restored(self, text: str) -> str:
        """The text with the references back in it."""
        return _STAND_IN.sub(lambda match: self.references[int(match[1])], text)

    def reference(self, text: str) -> str | None:
        """The reference that this text is the name of, when it is one and nothing else."""
        found = _STAND_IN.fullmatch(text)
        return self.references[int(found[1])] if found else None


def masked(text: str, where: str) -> Masked:
    """References outside comments are masked, each written form with a name of its own; `$$` is none."""
    names: dict[str, int] = {}
    pieces: list[str] = []
    spans: list[Span] = []
    done = length = 0
    for match in references(text):
        name = f"torana-variable-{names.setdefault(match[0], len(names))}-x"
        start = length + match.start() - done
        pieces += (text[done : match.start()], name)
        length, done = start + len(name), match.end()
        spans.append(Span(start, length, match.start(), done))
    pieces.append(text[done:])
    return Masked(Source(where, text, "".join(pieces), tuple(spans)), tuple(names))


class WrittenFile:
    """Nodes of a text whose scalars hold the references to variables, and its comments."""

    def __init__(self, text: str, where: str, *, variables: bool = True) -> None:
        """Without `variables` a `$` is nothing special. Raises ConfigError when the text is no YAML."""
        self.where = where
        self._masked = masked(text, where) if variables else Masked(Source(where, text, text), ())
        try:
            self.root = compose(self._masked.source).root
        except NotYamlError as error:
            raise ConfigError(error.problems) from None
        if not isinstance(self.root, Mapping):
            raise ConfigError([Problem(where, 1, 1, "", "this is no configuration", "its top has to be an object")])
        self.comments = Comments(self._masked.source.text, self.root)

    def line(self, node: Node) -> int:
        return self._masked.source.place(node.start).line

    def restored(self, text: str) -> str:
        """A piece of a scalar's text, in which each reference is one word, with references as they were written."""
        return self._masked.restored(text)

    def text(self, node: Node | None) -> str | None:
        """What a scalar says, with references as they were written; None for anything else."""
        return self._masked.restored(node.text) if isinstance(node, Scalar) else None

    def has_reference(self, node: Node) -> bool:
        return self._masked.source.hides(node.start, node.end)

    def as_written(self, node: Scalar) -> str:
        """The scalar as YAML: as it stood, when that was in one line."""
        raw = self._masked.source.text[node.start : node.end].rstrip()
        if "\n" in raw or raw.startswith(("|", ">", "&", "*", "!")) or not raw:
            return _requoted(self._masked.restored(node.text), plain=node.plain)
        return self._masked.restored(raw)


def quoted(text: str) -> str:
    """In double quotes. JSON's escapes are YAML's, too, and YAML wants more characters escaped."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def _requoted(text: str, *, plain: bool) -> str:
    return text if plain and text else ("null" if plain else quoted(text))


# --- Comments -------------------------------------------------------------------------------------------------------


class _Comment(NamedTuple):
    """`anchor` is the start of the scalar it is about; `behind` when it stands in that scalar's own line."""

    text: str
    anchor: int
    behind: bool


class Placed(NamedTuple):
    """The comments that have a line to stand by, by the scalar of that line."""

    comments: tuple[_Comment, ...]

    def above(self, nodes: Collection[int]) -> list[str]:
        return [each.text for each in self.comments if each.anchor in nodes and not each.behind]

    def behind(self, nodes: Collection[int]) -> list[str]:
        return [each.text for each in self.comments if each.anchor in nodes and each.behind]


class Comments:
    """The comments of a text. Each belongs to the scalar before it in its line, or else to the next one."""

    def __init__(self, text: str, root: Node) -> None:
        self._scalars = sorted(_starts(root))
        found = [self._attached(text, start, end) for start, end in _spans(text)]
        first = self._scalars[0] if self._scalars else len(text)
        self.preamble = [each.text for each in found if each.anchor == first and not each.behind]
        """What stands before everything else: it is about the file."""
        self._found = [each for each in found if each.anchor != first or each.behind]

    def around(self, emitted: Collection[int]) -> tuple[Placed, list[str]]:
        """Where comments go when these scalars are written: one whose scalar is not goes above the next that is.

        The second is what has no scalar after it.
        """
        order = sorted(emitted)
        placed: list[_Comment] = []
        last: list[str] = []
        for comment in self._found:
            if comment.anchor in emitted:
                placed.append(comment)
                continue
            index = bisect_left(order, comment.anchor)
            if index < len(order):
                placed.append(_Comment(comment.text, order[index], behind=False))
            else:
                last.append(comment.text)
        return Placed(tuple(placed)), last

    def _attached(self, text: str, start: int, end: int) -> _Comment:
        begin = text.rfind("\n", 0, start) + 1
        after = bisect_left(self._scalars, start)
        before = self._scalars[after - 1] if after else -1
        if before >= begin:
            return _Comment(text[start:end], before, behind=True)
        anchor = self._scalars[after] if after < len(self._scalars) else len(text)
        return _Comment(text[start:end], anchor, behind=False)


def member(node: Node | None, *keys: str) -> Node | None:
    """The value under these keys, one within the other."""
    for key in keys:
        entry = node.entries.get(key) if isinstance(node, Mapping) else None
        node = entry.value if entry is not None else None
    return node


def items(node: Node | None) -> list[Node]:
    return node.items if isinstance(node, Sequence) else []


def _starts(node: Node) -> set[int]:
    match node:
        case Scalar():
            return {node.start}
        case Sequence():
            return set().union(*map(_starts, node.items))
        case Mapping():
            return set().union(*({entry.key.start} | _starts(entry.value) for entry in node.entries.values()))


def _spans(text: str) -> list[tuple[int, int]]:
    """Where comments are: a `#` after white space in what lies between two of YAML's tokens, to the end of its line."""
    gaps: list[tuple[int, int]] = []
    end = 0
    try:
        for token in scan(text):
            gaps.append((end, token.start_mark.index))
            end = token.end_mark.index
    except yaml.YAMLError:
        return []
    gaps.append((end, len(text)))
    found = []
    for start, stop in gaps:
        found += [
            (start + match.start(), start + match.start() + len(match[0].rstrip()))
            for match in re.finditer(r"(?:^|(?<=\s))#[^\n]*", text[start:stop])
        ]
    return found
