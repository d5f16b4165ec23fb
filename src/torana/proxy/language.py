"""Language: what a backend's provider understands, and what is done to a call so that it does."""

from __future__ import annotations

from typing import Final

import msgspec

from torana.http.message import Fields, field
from torana.llm.edits import Aliases, Edits
from torana.llm.formats import TRANSLATIONS
from torana.llm.formats.translation import Translation
from torana.llm.operation import Operation, operation_of
from torana.llm.providers import PROVIDERS
from torana.llm.providers.facts import path_for
from torana.model.backend import Provider
from torana.model.policy import PathKind, PathRule

_MADE_OF: Final = (PathKind.BASE, PathKind.CHAT)
_WHOLE: Final = (PathKind.FULL, PathKind.OVERRIDE)
_NAMED: Final = frozenset(
    (
        Operation.CHAT_COMPLETIONS,
        Operation.RESPONSES,
        Operation.MESSAGES,
        Operation.COUNT_TOKENS,
        Operation.EMBEDDINGS,
        Operation.RERANK,
    )
)
"""The operations that a list of formats is about; a provider may serve others without a list saying so."""


class Language:
    """A Provider, compiled; that of a plain backend, which has none, is empty.

    `model` is what is set whatever the client says, which `aliases` are then not about.
    `translations` are by the client's operation: those the provider does not serve and can be asked in other words.
    `unserved` are those it cannot be asked at all. `detours` are those whose path may not be the one that the path rule
    makes. `headers` are lines by lower-case name, for requests that have none of it. `one_path`: all requests go to one
    path, and what the provider serves there is known, so that only what can be told in its words can be asked.
    """

    def __init__(self, provider: Provider | None, path: PathRule) -> None:
        self.model: str | None = None
        self.label = ""
        self.edits: Edits | None = None
        self.aliases: Aliases | None = None
        self.translations: dict[Operation, Translation] = {}
        self.unserved: frozenset[Operation] = frozenset()
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.one_path = False
        self._paths: dict[Operation, bytes] = {}
        self._rule = path.kind
        self._base = path.value if path.kind in _MADE_OF else "/v1"
        if provider is not None:
            self._learn(provider, _operation_at(path))
        self.detours = frozenset((*self.translations, *self._paths))

    def _learn(self, provider: Provider, there: Operation | None) -> None:
        """`there` is what the one path is, where there is one that all requests go to."""
        facts = PROVIDERS[provider.kind]
        self.label = provider.label or facts.name
        self.edits = Edits(provider.edits) if provider.edits is not None else None
        self.aliases = Aliases(provider.aliases) if provider.aliases else None
        model = _model_of(provider)
        self.model = (self.aliases.of(model) or model) if model and self.aliases else model
        self.headers = tuple((name.encode(), f"{name}: {value}\r\n".encode()) for name, value in facts.headers)
        if self._rule not in _MADE_OF:
            self._base = facts.base
        served = facts.operations
        if provider.formats is not None:
            served = {Operation[entry.operation.upper()]: entry.path for entry in provider.formats}
        if there is not None and (served is None or there in served):
            self.one_path = True
            self.translations = {spoken: made for (spoken, meant), made in TRANSLATIONS.items() if meant is there}
            self.unserved = frozenset((Operation.COUNT_TOKENS,)) - {there}
        if served is None:
            return
        self._paths = {operation: path.encode() for operation, path in served.items() if path is not None}
        if not self.one_path:
            for (spoken, understood), translation in TRANSLATIONS.items():
                if spoken not in served and understood in served:
                    self.translations.setdefault(spoken, translation)
        self.unserved |= _NAMED.difference(served, self.translations)

    def path_of(self, path: bytes, operation: Operation) -> bytes:
        """Where the provider has `operation`, or what it is translated into, when the path rule made `path` of it."""
        translation = self.translations.get(operation)
        meant = operation if translation is None else translation.operation
        own = self._paths.get(meant)
        if self._rule is PathKind.OVERRIDE:  # said outright, whatever is asked
            return path
        if own is not None:
            return own
        if path.endswith(operation.suffix):
            return path.removesuffix(operation.suffix) + meant.suffix
        if operation_of(path) is meant or self._rule is PathKind.FULL:
            return path
        # A path that only the route's rules know, or one that is spelled oddly. It is made anew where its maker would.
        if translation is not None or self._rule in _MADE_OF:
            return path_for(self._base, meant)
        return path

    def list_path(self, path: bytes) -> bytes:
        """Where the provider lists its models, when the path rule made `path`, which may be that of its calls."""
        own = self._paths.get(Operation.MODELS)
        if own is not None:
            return own
        operation = operation_of(path)
        if operation is not None and path.endswith(operation.suffix):
            return path.removesuffix(operation.suffix) + Operation.MODELS.suffix
        return path_for(self._base, Operation.MODELS)


def _operation_at(path: PathRule) -> Operation | None:
    """What all requests are that go by a rule, when it makes one path of all."""
    return operation_of(path.value.partition("?")[0].encode()) if path.kind in _WHOLE else None


def _model_of(provider: Provider) -> str | None:
    """The model that is set whatever the client says: an override of the body's member comes after the provider's."""
    overrides = dict(provider.edits.overrides) if provider.edits is not None else {}
    try:
        return msgspec.json.decode(overrides.get("model", "null"), type=str | None) or provider.model
    except msgspec.ValidationError:
        return provider.model


# --- what a client's API has beside its body ---

CREDENTIALS: Final = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))
"""Where clients of the known APIs have their keys."""

PROTOCOLS: Final = b"sec-websocket-protocol"
_KEY_AMONG_PROTOCOLS: Final = b"openai-insecure-api-key."
"""https://platform.openai.com/docs/guides/realtime-websocket: browsers can set no other field of a WebSocket."""

_OAUTH: Final = b"sk-ant-oat"  # Anthropic takes keys in x-api-key, and these tokens in Authorization
_VERSION: Final = b"2023-06-01"
_JSON: Final = b"application/json"


def without_key(protocols: bytes) -> bytes:
    """The subprotocols that a client offers, less the one that is its key; nothing when that is the only one."""
    offered = map(bytes.strip, protocols.split(b","))
    return b", ".join(each for each in offered if not each.startswith(_KEY_AMONG_PROTOCOLS))


def translated_fields(fields: Fields, understood: Operation) -> Fields:
    """A client's fields for a request in another API's words: what is meant for its own API stays behind.

    A key goes where the other API has it: `Authorization: Bearer` or, with Anthropic, `x-api-key`.
    """
    anthropic = understood is Operation.MESSAGES
    foreign = b"openai-" if anthropic else b"anthropic-"
    left_out = {b"content-type", b"x-api-key"}
    key = field(fields, b"x-api-key")
    bearer = field(fields, b"authorization")
    if bearer is not None and bearer[:7].lower() == b"bearer ":
        token = bearer[7:].strip()
        if anthropic and not token.startswith(_OAUTH):
            left_out.add(b"authorization")
            key = key or token
    kept = [each for each in fields if each[0] not in left_out and not each[0].startswith(foreign)]
    kept.append((b"content-type", b"content-type", _JSON))
    if anthropic and field(fields, b"anthropic-version") is None:
        kept.append((b"anthropic-version", b"anthropic-version", _VERSION))
    if key is not None and anthropic:
        kept.append((b"x-api-key", b"x-api-key", key))
    elif key is not None and bearer is None:
        kept.append((b"authorization", b"authorization", b"Bearer " + key))
    return kept
