"""The problems met while a document is decoded and translated, pointed at by key path.

Who finds a fault says at which path; here that becomes a line and a column. What a variable held is never shown: ask
`quote` for every piece of the user's text that goes into a message.
"""

from __future__ import annotations

from torana.config.problem import Problem, Severity
from torana.config.yaml.nodes import Document, Mapping, Node, Path, Scalar, Sequence, path_text

_HIDDEN_KEY = "***"
_LONGEST_QUOTE = 80


class Findings:
    """Collects; `failed` once there is an error among them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.failed = False

    def error(self, path: Path, what: str, hint: str = "", *, offset: int | None = None) -> None:
        """A fault at the node of this path, or at an offset of the text when that says it better."""
        self.failed = True
        self._add(path, what, hint, offset, Severity.ERROR)

    def warning(self, path: Path, what: str, hint: str = "") -> None:
        self._add(path, what, hint, None, Severity.WARNING)

    def fault(self, path: Path, text: str, fault: str | None) -> None:
        """An error made of a quotation and the words that follow it; None is no fault."""
        if fault is not None:
            self.error(path, f"{self.quote(path, text)} {fault}")

    def elsewhere(self, problem: Problem) -> None:
        """A fault that is not in this document, but in the environment."""
        self.failed = True
        self.problems.append(problem)

    def quote(self, path: Path, text: str) -> str:
        """The text in quotes, or words for it when it came from a variable."""
        return self.quote_node(self.node(path), text)

    def hides(self, path: Path) -> bool:
        """Whether the value at this path came from a variable."""
        node = self.node(path)
        return self.document.source.hides(node.start, node.end)

    def quote_node(self, node: Node, text: str) -> str:
        if self.document.source.hides(node.start, node.end):
            return "the value of this variable"
        return f'"{text}"' if len(text) <= _LONGEST_QUOTE else f'"{text[:_LONGEST_QUOTE]}..."'

    def node(self, path: Path) -> Node:
        """The node at this path, or the nearest one above it that is there."""
        node = self.document.root
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            node = found
        return node

    def _add(self, path: Path, what: str, hint: str, offset: int | None, severity: Severity) -> None:
        source = self.document.source
        place = source.place(self.node(path).start if offset is None else offset)
        text = path_text(self._shown(path))
        self.problems.append(Problem(source.where, place.line, place.column, text, what, hint, severity))

    def _shown(self, path: Path) -> Path:
        """The path with every key that came from a variable masked."""
        node: Node | None = self.document.root
        shown: list[str | int] = []
        for part in path:
            key = _key(node, part) if node is not None else None
            hidden = key is not None and self.document.source.hides(key.start, key.end)
            shown.append(_HIDDEN_KEY if hidden else part)
            node = _child(node, part) if node is not None else None
        return tuple(shown)


def _key(node: Node, part: str | int) -> Scalar | None:
    if isinstance(node, Mapping) and isinstance(part, str):
        name = _spelling(node, part)
        return node.entries[name].key if name is not None else None
    return None


def _child(node: Node, part: str | int) -> Node | None:
    match node, part:
        case Mapping(), str():
            name = _spelling(node, part)
            return node.entries[name].value if name is not None else None
        case Sequence(), int():
            return node.items[part] if part < len(node.items) else None
    return None


def _spelling(node: Mapping, name: str) -> str | None:
    """How the user spelled a key: second spellings (`openai`, `minTlsVersion`) differ from the first in case only."""
    if name in node.entries:
        return name
    return next((key for key in node.entries if key.lower() == name.lower()), None)
