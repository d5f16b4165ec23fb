"""A place upstream, fully decided: where to connect and what it sees."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import chain
from typing import TypeAlias

import msgspec

from torana.model.policy import (
    Affinity,
    Authority,
    BackendAuth,
    BackendTls,
    HeaderModifier,
    Health,
    Keepalive,
    PathRule,
    Redirect,
)


class Target(msgspec.Struct, frozen=True):
    """Where to connect: a host and a port, or a Unix socket path (then `host` is `localhost` for the Host header)."""

    host: str
    port: int
    unix: str | None = None

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ProviderKind(Enum):
    """The provider an AI backend is: where it is and what it serves; each is one file in `llm/providers/`."""

    OPENAI = "openai"
    CUSTOM = "custom"
    ANTHROPIC = "anthropic"
    BASETEN = "baseten"
    CEREBRAS = "cerebras"
    COHERE = "cohere"
    DEEPINFRA = "deepinfra"
    DEEPSEEK = "deepseek"
    FIREWORKS = "fireworks"
    GROQ = "groq"
    HUGGINGFACE = "huggingface"
    LMSTUDIO = "lmstudio"
    MISTRAL = "mistral"
    OLLAMA = "ollama"
    OPENROUTER = "openrouter"
    PERPLEXITY = "perplexity"
    TOGETHERAI = "togetherai"
    VLLM = "vllm"
    XAI = "xai"


class Format(msgspec.Struct, frozen=True):
    """An operation a provider serves (the name of a `llm.operation.Operation`), and its path where it is unusual."""

    operation: str
    path: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One that is put into every conversation."""

    role: str
    content: str


class BodyEdits(msgspec.Struct, frozen=True):
    """What changes in the body of a call; values are JSON as text.

    `overrides` set top-level members whatever the client says, `defaults` those it left out. `prepend` and `append` are
    messages before and behind the client's.
    """

    overrides: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    prepend: tuple[Message, ...] = ()
    append: tuple[Message, ...] = ()


class Provider(msgspec.Struct, frozen=True, omit_defaults=True):
    """The language-model side of a backend. `model` always wins over the request's; None leaves the request's.

    `aliases` then name another for it: an exact name, or one with a `*` (the longest that fits). `formats` are what it
    serves, where that is not what its kind does: what a client asks for beside them is translated. `label` is its name
    in logs and metrics, its kind's without one.
    """

    kind: ProviderKind
    model: str | None = None
    label: str | None = None
    formats: tuple[Format, ...] | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    edits: BodyEdits | None = None


class Tunnel(msgspec.Struct, frozen=True):
    """A forward proxy that connections are made through (CONNECT, RFC 9110, 9.3.6); `tls` is TLS towards it."""

    target: Target
    tls: BackendTls | None = None
    auth: BackendAuth | None = None


class Connecting(msgspec.Struct, frozen=True):
    """How connections to a backend are made. `timeout`: seconds, None the process's. `keepalive`: None is no probes."""

    timeout: float | None = None
    keepalive: Keepalive | None = Keepalive()
    tunnel: Tunnel | None = None


class Backend(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place upstream. `tls` None is plaintext; `provider` None is a plain HTTP backend whose bodies are streamed.

    `health` None is `Health()`. `request_timeout` is seconds until the head of an answer, for each attempt. `name` is
    stable across reloads: it names the backend in logs and metrics, and keys what outlives a snapshot.
    """

    name: str
    target: Target
    tls: BackendTls | None = None
    authority: Authority = Authority()
    path: PathRule = PathRule()
    auth: BackendAuth | None = None
    provider: Provider | None = None
    request_headers: HeaderModifier | None = None
    response_headers: HeaderModifier | None = None
    redirect: Redirect | None = None
    health: Health | None = None
    request_timeout: float | None = None
    connecting: Connecting | None = None


Group: TypeAlias = tuple[Backend, ...]
"""Backends of one priority, among which requests are balanced."""


class Mirror(msgspec.Struct, frozen=True):
    """A copy of `share` (0 to 1) of a route's requests, body and all, for a backend whose answers nobody reads."""

    backend: Backend
    share: float = 1.0


class BackendRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A share of a route: drawn in proportion to `weight`; 0 is never drawn.

    `groups` are in order of priority: the next one takes what the ones before it cannot. Without any it is a reference
    to something that is missing or wrong: its share of the traffic answers 500 (Gateway API, HTTPRoute backendRefs),
    and the rest is served.
    """

    groups: tuple[Group, ...]
    weight: int = 1
    affinity: Affinity | None = None

    @property
    def backends(self) -> Iterator[Backend]:
        return chain.from_iterable(self.groups)


def alone(backend: Backend, weight: int = 1) -> BackendRef:
    """The share of a backend that has no other beside it."""
    return BackendRef(((backend,),), weight)
