"""A route for everything, with one language model behind it, as an entry of `llm.models`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torana.config.convert.places import CHAT, Spot, chat_path, own_spot, preset_at, spot_of
from torana.config.convert.report import Fidelity
from torana.config.convert.written import WrittenFile, items, member
from torana.config.yaml.nodes import Mapping, Node, Scalar
from torana.llm.providers import PROVIDERS
from torana.model.backend import ProviderKind

_OF_ALL = ("cors", "localRateLimit", "timeout", "retry")
"""Policies of a route that `llm.policies` has under the same name."""
_OF_BODIES = ("defaults", "overrides")
_TURNED = ("urlRewrite", "requestHeaderModifier", "responseHeaderModifier", "backendTLS", "backendAuth", "ai")
_PARAMS = {
    "vertex": {"region": "vertexRegion", "projectId": "vertexProject"},
    "bedrock": {"region": "awsRegion"},
    "azure": {
        "resourceName": "azureResourceName",
        "resourceType": "azureResourceType",
        "apiVersion": "azureApiVersion",
        "projectName": "azureProjectName",
    },
}


class NotLlmError(Exception):
    """The route has something that `llm` has no word for; the text says what."""


class Note(NamedTuple):
    fidelity: Fidelity
    subject: str
    what: str
    line: int


class Model(NamedTuple):
    """`policies` are those of `llm`."""

    tree: dict[str, Any]
    policies: dict[str, Any]
    notes: list[Note]


def model_of(route: Node, named: Node | None, file: WrittenFile) -> Model:
    """Raises NotLlmError."""
    return _Reader(route, named, file).model()


class _Reader:
    def __init__(self, route: Node, named: Node | None, file: WrittenFile) -> None:
        self._file = file
        self._route = member(route, "policies")
        self._notes: list[Note] = []
        self._line = file.line(route)
        _check_matches(route, file)
        ref, ai, outer = self._backend(items(member(route, "backends")), named)
        self._ai = ai
        self._places = [member(ai, "policies"), member(ref, "policies"), outer]

    def _backend(self, backends: list[Node], named: Node | None) -> tuple[Node, Node, Node | None]:
        """The route's reference, the `ai` it means, and the policies of the named backend it is."""
        if len(backends) != 1:
            raise NotLlmError("`llm` names models, and here is not one backend for all of them")
        (ref,) = backends
        outer: Node | None = None
        ai = member(ref, "ai")
        if (name := self._file.text(member(ref, "backend"))) is not None:
            found = next((each for each in items(named) if _named(each, self._file) == name), None)
            ai, outer = member(found, "ai"), member(found, "policies")
        if ai is None:
            raise NotLlmError("the backend is no language model")
        if member(ai, "groups") is not None:
            raise NotLlmError("several providers for every model have no form in `llm`")
        return ref, ai, outer

    def model(self) -> Model:
        self._check_policies()
        provider, params = self._provider()
        tree: dict[str, Any] = {"name": "*", "provider": provider, "params": params or None}
        key = self._first("backendAuth", self._route)
        auth = None
        if key is not None:
            value = member(key, "key")
            if isinstance(value, Scalar):
                params["apiKey"] = value
                self._note_literal(value)
            elif isinstance(value, Mapping) and tuple(value.entries) == ("file",):
                params["apiKey"] = value
            else:
                auth = key
        tree["params"] = params or None
        ai = self._first("ai", self._route)
        for name in _OF_BODIES:
            tree[name] = member(ai, name)
        tree["requestHeaders"] = self._modifier("requestHeaderModifier")
        tree["responseHeaders"] = self._modifier("responseHeaderModifier")
        tls = self._first("backendTLS", self._route)
        tree["tls"] = tls if isinstance(tls, Mapping) and tls.entries else None
        tree["auth"] = auth
        tree["health"] = self._first("health", None)
        tree["backendTunnel"] = self._first("backendTunnel", self._route)
        policies = {name: found for name in _OF_ALL if (found := member(self._route, name)) is not None}
        return Model(tree, policies, self._notes)

    # Policies

    def _check_policies(self) -> None:
        for key in _keys(self._route):
            if key not in (*_OF_ALL, *_TURNED, "backendTunnel"):
                raise NotLlmError(f"`llm` has no policy `{key}`")
        for place in self._places:
            for key in _keys(place):
                if key not in (*_TURNED, "health", "backendTunnel"):
                    raise NotLlmError(f"a model has no policy `{key}`")
        for place in (self._route, *self._places):
            for key in _keys(member(place, "ai")):
                if key not in _OF_BODIES:
                    raise NotLlmError(f"a model has no `ai.{key}`")
        if member(self._ai, "tokenize") is not None:
            self._tell(Fidelity.MANUAL, "tokenize", "left out: counting tokens before the call is another matter")

    def _first(self, key: str, last: Node | None) -> Node | None:
        return next((found for place in (*self._places, last) if (found := member(place, key)) is not None), None)

    def _modifier(self, key: str) -> Node | None:
        own, of_route = self._first(key, None), member(self._route, key)
        if own is not None and of_route is not None:
            raise NotLlmError(f"`{key}` stands at the route and at its backend, and a model has one")
        return own if own is not None else of_route

    def _note_literal(self, key: Scalar) -> None:
        if not self._file.has_reference(key):
            what = "the key is written out here, and in the new file: a variable would keep it out of both"
            self._notes.append(Note(Fidelity.EXACT, "backendAuth.key", what, self._file.line(key)))

    def _tell(self, fidelity: Fidelity, subject: str, what: str) -> None:
        self._notes.append(Note(fidelity, subject, what, self._line))

    # The provider, and where it is

    def _provider(self) -> tuple[Any, dict[str, Any]]:
        provider = member(self._ai, "provider")
        keys = list(_keys(provider))
        if len(keys) != 1:
            raise NotLlmError("the backend has no single provider")
        (kind,) = keys
        settings = member(provider, kind)
        params: dict[str, Any] = {"model": member(settings, "model")}
        params = {name: value for name, value in params.items() if value is not None}
        for name, param in _PARAMS.get(kind, {}).items():
            if (value := member(settings, name)) is not None:
                params[param] = value
        kind = "openAI" if kind == "openai" else kind
        spot = self._spot()
        base, path = self._paths()
        formats = member(settings, "formats")
        if formats is not None or path is not None:
            if spot is None:
                raise NotLlmError("a path of its own needs an address here")
            params["baseUrl"] = self._file.restored(spot.url(base if base is not None else "/v1"))
            if path is not None and formats is not None:
                raise NotLlmError("its formats have paths of their own, and the route gives another")
            if path is not None:
                self._tell(Fidelity.APPROXIMATE, "path", "chat completions alone go to it; everything did before")
            own = _custom(settings) if kind == "custom" else {}
            return {"custom": {"formats": [{"type": "completions", "path": path}], **own}}, params
        if spot is None:
            if base is not None or kind == "custom":
                raise NotLlmError("a path, and a provider without a name, need an address here")
            return kind, params
        made, params = self._placed(kind, spot, base, params)
        return ({"custom": _custom(settings)} if isinstance(made, dict) else made), params

    def _placed(self, kind: str, spot: Spot, base: str | None, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        preset = preset_at(spot) if kind in ("openAI", "custom") else None
        if base is not None:
            self._tell(Fidelity.APPROXIMATE, "path", "was for every request; now other operations go beside it")
        wanted = (base if base is not None else "/v1") + CHAT
        url = self._file.restored(spot.url(base if base is not None else "/v1"))
        if preset is None or preset is ProviderKind.OPENAI or not _reaches(preset, wanted):
            facts = PROVIDERS[ProviderKind.OPENAI]
            if kind == "custom" or own_spot(facts) != spot or wanted != chat_path(facts):
                params["baseUrl"] = url
            return ({"custom": {}} if kind == "custom" else kind), params
        name = preset.value
        if chat_path(PROVIDERS[preset]) != wanted:
            params["baseUrl"] = url
        what = f"is the preset {name}: what {name} does not serve is translated or refused"
        self._tell(Fidelity.APPROXIMATE, "provider", what)
        return name, params

    def _spot(self) -> Spot | None:
        """None: the provider's own place."""
        tls = self._first("backendTLS", self._route) is not None
        override = member(self._ai, "hostOverride")
        authority = member(self._route, "urlRewrite", "authority")
        full = member(authority, "full")
        if isinstance(authority, Scalar) and authority.text != "auto":
            raise NotLlmError("a model gets the Host of its own address")
        if isinstance(authority, Mapping) and full is None:
            raise NotLlmError("a model gets the Host of its own address")
        written = override if override is not None else full
        if not isinstance(written, Scalar):
            return None
        spot = spot_of(written.text, tls=tls)
        if spot is None:
            raise NotLlmError("`baseUrl` has no form for this address")
        if isinstance(full, Scalar) and (host := spot_of(full.text, tls=spot.tls)) != spot:
            if host is None or host.host != spot.host:
                raise NotLlmError("a model gets the Host of its own address, and this route gives another")
            self._tell(Fidelity.APPROXIMATE, "urlRewrite.authority", "the Host has the port of the address now")
        return spot

    def _paths(self) -> tuple[str | None, str | None]:
        """The base path, and the path of chat completions where it is not made of the base."""
        rewrite = member(self._route, "urlRewrite", "path")
        if member(rewrite, "prefix") is not None:
            raise NotLlmError("a prefix of the path is replaced, and `llm` has none")
        full = self._file.text(member(rewrite, "full")) or self._file.text(member(self._ai, "pathOverride"))
        if full is None:
            prefix = self._file.text(member(self._ai, "pathPrefix"))
            return (prefix.rstrip("/") if prefix is not None else None), None
        if full.endswith(CHAT):
            return full.removesuffix(CHAT), None
        return "", full


def _custom(settings: Node | None) -> dict[str, Any]:
    """What a provider without a name says of itself, but for its model, which is a parameter."""
    return (
        {key: entry.value for key, entry in settings.entries.items() if key != "model"}
        if isinstance(settings, Mapping)
        else {}
    )


def _reaches(preset: ProviderKind, path: str) -> bool:
    """Whether chat completions of this preset can be had at this path, with a `baseUrl` at most."""
    facts = PROVIDERS[preset]
    return chat_path(facts) == path or chat_path(facts) == facts.base.rstrip("/") + CHAT


def _check_matches(route: Node, file: WrittenFile) -> None:
    if member(route, "hostnames") is not None:
        raise NotLlmError("`llm` takes every host")
    for match in items(member(route, "matches")):
        if tuple(_keys(match)) != ("path",) or file.text(member(match, "path", "pathPrefix")) != "/":
            raise NotLlmError("`llm` takes every path, and this route does not")


def _keys(node: Node | None) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from node.entries


def _named(backend: Node, file: WrittenFile) -> str:
    return f"{file.text(member(backend, 'namespace')) or ''}/{file.text(member(backend, 'name'))}"
