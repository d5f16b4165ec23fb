"""Upstream: a backend compiled, and the request it gets.

`compose` makes the head of the upstream request from the Exchange; `explain` and the gateway share it, so what is
explained is what is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from torana.exchange import Exchange
from torana.http.dial import Address
from torana.http.message import HOP_BY_HOP, readable_encodings
from torana.http.proxies import Environment
from torana.llm.formats.translation import Translation
from torana.llm.operation import Operation
from torana.model.backend import Backend, Connecting, ProviderKind
from torana.model.policy import Health, PathKind, Timeout
from torana.policies.backend_auth import compile_credential, with_cookie, with_parameter
from torana.policies.expression import compile_optional
from torana.policies.header_modifier import HeaderModifierPolicy
from torana.policies.request_redirect import RequestRedirectPolicy
from torana.policies.url_rewrite import compile_authority, compile_path
from torana.proxy.deadlines import shortest
from torana.proxy.language import CREDENTIALS, PROTOCOLS, Language, translated_fields, without_key
from torana.proxy.runtime import Endpoint, Runtime

_OURS = frozenset((b"host", b"content-length", b"expect", b"accept-encoding"))
"""Fields written anew: by the backend's rules, by the length of the body, and by what the gateway can read."""

_ALL: Final = (b"limit", b"1000")  # https://docs.anthropic.com/en/api/models-list; else there are 20


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """What goes upstream, without the fields that frame the body and without the blank line."""

    target: bytes
    host: bytes
    parts: list[bytes]


class Upstream:
    """One backend of one route. Attributes that do not change with the request are rendered already.

    `attempt_limit` is how long one attempt may take until the head of its answer, by the route or by the backend.
    `public_name` is for clients that are not to know addresses.
    `detours` are the operations for which its provider has a path of its own, or is asked by a translation; `unserved`
    those that it cannot be asked; `one_path` as Language has it.
    """

    __slots__ = (
        "_credential", "_drops", "_headers", "_host_of", "_keys", "_language", "_modify", "_path_of", "after",
        "attempt_limit", "backend", "detours", "edits", "endpoint", "eviction", "has_aliases", "is_llm", "model",
        "one_path", "provider", "public_name", "redirect", "translations", "unhealthy", "unserved",
    )  # fmt: skip

    def __init__(self, backend: Backend, runtime: Runtime, timeout: Timeout | None = None) -> None:
        self.backend = backend
        timeout = timeout or Timeout()
        self.attempt_limit = shortest(
            ("timeout.backendRequestTimeout", timeout.backend_request),
            ("timeout.firstByteTimeout", timeout.first_byte),
            ("http.requestTimeout", backend.request_timeout),
        )
        self.endpoint: Endpoint = runtime.endpoint(backend.name, address_of(backend, runtime.environment))
        place = backend.target.unix or backend.target.host
        self.public_name = "the backend" if place in backend.name else backend.name  # which may be its address
        health = backend.health or Health()
        self.eviction = health.eviction
        self.unhealthy = compile_optional(health.unhealthy)
        self.is_llm = backend.provider is not None
        self._language = language = Language(backend.provider, backend.path)
        self.model = language.model
        self.provider = language.label
        self.edits = language.edits
        self.has_aliases = language.aliases is not None
        self.translations = language.translations
        self.unserved = language.unserved
        self.detours = language.detours
        self.one_path = language.one_path
        self._headers = language.headers
        self._host_of = compile_authority(backend.authority, backend.target, tls=backend.tls is not None)
        self._path_of = compile_path(backend.path)
        self._credential = compile_credential(backend.auth)
        # The client's keys, in whatever field, are not for a provider that has one of its own.
        self._keys = CREDENTIALS if self.is_llm and backend.auth is not None else frozenset()
        self._drops = HOP_BY_HOP | _OURS | self._credential.drops
        if backend.request_headers is None:
            self._drops |= self._keys
        if backend.auth is not None:
            self._drops |= {PROTOCOLS}
        self._modify = HeaderModifierPolicy(backend.request_headers) if backend.request_headers else None
        self.after = HeaderModifierPolicy(backend.response_headers) if backend.response_headers else None
        self.redirect = RequestRedirectPolicy(backend.redirect) if backend.redirect else None

    @property
    def plaintext_443(self) -> bool:
        """A likely slip: the port of HTTPS without TLS."""
        return self.backend.tls is None and self.backend.target.unix is None and self.backend.target.port == 443

    def target(self, exchange: Exchange) -> bytes:
        """Path and query of the upstream request. Raises FILTER_FAILED when no prefix matched that could be swapped."""
        target = self._path_of(exchange)
        return with_parameter(target, self._credential.parameter) if self._credential.parameter else target

    def aliased(self, model: str | None) -> str | None:
        """What the client's model is another name for, else itself."""
        aliases = self._language.aliases
        return model if model is None or aliases is None else (aliases.of(model) or model)

    @property
    def named_models(self) -> Iterable[str]:
        """Those that the configuration names: the one that is set, else the other names that it has for some."""
        if self.model is not None:
            return (self.model,)
        return self._language.aliases.names if self._language.aliases is not None else ()

    def list_target(self, exchange: Exchange) -> bytes:
        """Path and query by which the provider is asked for its models. Raises FILTER_FAILED, as `target` does."""
        path, mark, query = self.target(exchange).partition(b"?")
        target = self._language.list_path(path) + mark + query
        if self.backend.provider is not None and self.backend.provider.kind is ProviderKind.ANTHROPIC:
            return with_parameter(target, _ALL)
        return target

    def directed(self, target: bytes, operation: Operation) -> bytes:
        """`target` with the path that the provider has for an operation, or for what it is translated into.

        With a translation the client's query stays behind: it was meant for the API of the client.
        """
        path, mark, query = target.partition(b"?")
        path = self._language.path_of(path, operation)
        if operation not in self.translations or self.backend.path.kind is PathKind.OVERRIDE:
            return path + mark + query
        return with_parameter(path, self._credential.parameter) if self._credential.parameter else path

    def compose(
        self, exchange: Exchange, target: bytes, *, plain: bool, translation: Translation | None = None
    ) -> Outgoing:
        """The head of the upstream request. `plain` asks for an uncompressed answer, so that its events can be read."""
        credential = self._credential
        host = self._host_of(exchange)
        fields = exchange.fields
        if translation is not None:
            fields = translated_fields(fields, translation.operation)
        if self._modify is not None:
            fields = [each for each in fields if each[0] not in self._keys]
            self._modify.apply(fields)
        drops = self._drops
        parts = [exchange.method, b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n", credential.lines]
        for lower, name, value in fields:
            if lower not in drops:
                parts += (name, b": ", value, b"\r\n")
            elif lower == b"accept-encoding":
                parts += (name, b": ", b"identity" if plain else readable_encodings(value), b"\r\n")
            elif lower == PROTOCOLS and (kept := without_key(value)):
                parts += (name, b": ", kept, b"\r\n")
        if self._headers:
            given = {lower for lower, _, _ in fields}
            parts += [line for lower, line in self._headers if lower not in given]
        if credential.cookie is not None:
            parts.append(with_cookie(fields, credential.cookie))
        return Outgoing(target, host, parts)


def address_of(backend: Backend, environment: Environment) -> Address:
    """A backend's own proxy goes before that of the environment."""
    connecting = backend.connecting or Connecting()
    if connecting.tunnel is None:
        tunnel = environment.tunnel_to(backend.target, tls=backend.tls is not None)
        connecting = msgspec.structs.replace(connecting, tunnel=tunnel)
    return Address(backend.target, backend.tls, connecting)
