"""Language: what a backend's provider understands, and what is done to a call so that it does."""

from __future__ import annotations

from torana.llm.edits import Aliases, Edits
from torana.llm.formats import TRANSLATIONS
from torana.llm.formats.translation import Translation
from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.model.backend import Provider


class Language:
    """A Provider, compiled; that of a plain backend, which has none, is empty.

    `translations` are by the client's operation: those the provider does not serve and can be asked in other words.
    `paths` are the unusual ones. `headers` are lines by lower-case name, for requests that have none of it.
    """

    def __init__(self, provider: Provider | None) -> None:
        self.model: str | None = None
        self.label = ""
        self.edits: Edits | None = None
        self.aliases: Aliases | None = None
        self.translations: dict[Operation, Translation] = {}
        self.paths: dict[Operation, bytes] = {}
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        if provider is None:
            return
        facts = PROVIDERS[provider.kind]
        self.model = provider.model
        self.label = provider.label or facts.name
        self.edits = Edits(provider.edits) if provider.edits is not None else None
        self.aliases = Aliases(provider.aliases) if provider.aliases else None
        self.headers = tuple((name.encode(), f"{name}: {value}\r\n".encode()) for name, value in facts.headers)
        served = facts.operations
        if provider.formats is not None:
            served = {Operation[entry.operation.upper()]: entry.path for entry in provider.formats}
        if served is None:
            return
        self.paths = {operation: path.encode() for operation, path in served.items() if path is not None}
        for (spoken, understood), translation in TRANSLATIONS.items():
            if spoken not in served and understood in served:
                self.translations.setdefault(spoken, translation)


def swapped(path: bytes, spoken: Operation, understood: Operation) -> bytes:
    """A client's path with the ending of another operation. One that was set to something else stays as it was set."""
    if not path.endswith(spoken.suffix):
        return path
    return path.removesuffix(spoken.suffix) + understood.suffix
