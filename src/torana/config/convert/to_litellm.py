"""`torana export --to litellm`: the models as LiteLLM's `model_list`, and what its router does between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from torana.config.convert.emit import emit
from torana.config.convert.litellm_deployments import AT_ROOT
from torana.config.convert.original import Original
from torana.config.convert.places import CHAT, chat_path, own_spot, preset_at, spot_at
from torana.config.convert.report import Converted, Fidelity
from torana.llm.providers import PROVIDERS
from torana.model.backend import Backend, BackendRef, ProviderKind
from torana.model.policy import CredentialPlace, PathKind
from torana.model.route import ModelRoute, Route, RouteMatch

_PREFIXES: Final = {
    ProviderKind.TOGETHERAI: "together_ai",
    ProviderKind.FIREWORKS: "fireworks_ai",
    ProviderKind.LMSTUDIO: "lm_studio",
    ProviderKind.VLLM: "hosted_vllm",
    ProviderKind.OLLAMA: "ollama_chat",
    ProviderKind.CUSTOM: "openai",
}
"""LiteLLM's names of providers that are not ours. Source: https://docs.litellm.ai/docs/providers."""
_WORDS: Final = {
    "cors": "cors",
    "request_headers": "requestHeaderModifier",
    "redirect": "requestRedirect",
    "direct_response": "directResponse",
    "conditional_responses": "directResponse.conditional",
    "response_headers": "responseHeaderModifier",
    "csrf": "csrf",
    "delay": "delay",
    "buffer": "buffer",
    "rate_limits": "localRateLimit",
}
"""Policies of routes that LiteLLM has not, and the file's words for them."""
_ALL: Final = "*"
_KEYLESS: Final = "hosted_vllm"
"""Any server with OpenAI's API: LiteLLM wants a key for `openai`, and none for this."""


def to_litellm(original: Original) -> Converted:
    return Converted(emit(original.restored(_Export(original).tree())), original.report)


class _Export:
    def __init__(self, original: Original) -> None:
        self._original = original
        self._report = original.report
        self._router: dict[str, Any] = {}

    def tree(self) -> dict[str, Any]:
        self._original.tell_settings()
        deployments: list[dict[str, Any]] = []
        routes = [route for bind in self._original.config.binds for each in bind.listeners for route in each.routes]
        for route in routes:
            before = len(deployments)
            for model in route.models or self._as_model(route):
                deployments += self._deployments(model)
            if len(deployments) > before:
                self._policies(route)
        return {"model_list": deployments, "router_settings": self._router or None}

    def _as_model(self, route: Route) -> tuple[ModelRoute, ...]:
        """A route that has no models: every model when it takes everything, else the one that it asks for."""
        served = [each for ref in route.backends for each in ref.backends if each.provider is not None]
        subject = f"route {self._original.plain(route.name)}"
        if not served:
            self._report.add(Fidelity.UNSUPPORTED, subject, "serves no language model")
            return ()
        provider = served[0].provider
        name = _ALL
        if route.matches != (RouteMatch(),) or route.hostnames:
            name = (provider.model if provider is not None else None) or _ALL
            what = f"is chosen by the model's name, {self._original.plain(name)}, no longer by host, path or headers"
            self._report.add(Fidelity.APPROXIMATE, subject, what)
        return (ModelRoute(name, route.backends),)

    def _policies(self, route: Route) -> None:
        given = route.policies
        timeout = given.timeout
        if timeout is not None:
            self._router |= {"timeout": _number(timeout.request)} if timeout.request is not None else {}
            self._router |= {"stream_timeout": _number(timeout.first_byte)} if timeout.first_byte is not None else {}
        if given.retry is not None:
            self._router["num_retries"] = given.retry.attempts
        lost = {_WORDS[name]: getattr(given, name) for name in _WORDS} | {"requestMirror": route.mirrors}
        for name, value in lost.items():
            if value:
                subject = f"route {self._original.plain(route.name)}: {name}"
                self._report.add(Fidelity.UNSUPPORTED, subject, "has no counterpart")

    # Deployments

    def _deployments(self, model: ModelRoute) -> Iterator[dict[str, Any]]:
        """The backends of a name; `order` are groups of priority, `weight` shares."""
        subject = f"model {self._original.plain(model.name)}"
        if model.headers or model.condition is not None:
            self._report.add(Fidelity.UNSUPPORTED, subject, "is chosen by more than its name")
            return
        before = len(self._report.findings)
        made = []
        for ref in model.backends:
            for order, group in enumerate(ref.groups):
                made += [
                    self._deployment(model.name, backend, self._share(ref, model, order))
                    for backend in group
                    if backend.provider is not None and self._has_place(backend)
                ]
        if len(model.backends) > 1 and any(len(ref.groups) > 1 for ref in model.backends):
            what = "shares of several groups of priority are mixed: LiteLLM has one order"
            self._report.add(Fidelity.APPROXIMATE, subject, what)
        if len(self._report.findings) == before:
            self._report.add(Fidelity.EXACT, subject)
        yield from made

    @staticmethod
    def _share(ref: BackendRef, model: ModelRoute, order: int) -> dict[str, Any]:
        return {
            "weight": ref.weight if len(model.backends) > 1 else None,
            "order": order + 1 if len(ref.groups) > 1 else None,
        }

    def _deployment(self, name: str, backend: Backend, share: dict[str, Any]) -> dict[str, Any]:
        assert backend.provider is not None
        prefix, base = self._place(backend)
        plain = self._original.plain
        subject, model = plain(backend.name), backend.provider.model or name
        if "*" in model and model.startswith(f"{prefix}/"):
            what = "LiteLLM takes the provider's name off the model's, which goes on whole here"
            self._report.add(Fidelity.APPROXIMATE, f"model {plain(name)}", what)
            model = model.removeprefix(f"{prefix}/")
        params: dict[str, Any] = {
            "model": self._written(f"{prefix}/{model}", f"{subject}: model"),
            "api_base": self._written(base, f"{subject}: api_base") if base is not None else None,
            "api_key": self._key(backend),
            **share,
        }
        edits = backend.provider.edits
        if edits is not None:
            members = {plain(key): self._json(value, f"{subject}: {plain(key)}") for key, value in edits.defaults}
            params |= members
            members = {plain(key): self._json(value, f"{subject}: {plain(key)}") for key, value in edits.overrides}
            params["extra_body"] = members or None
            if edits.prepend or edits.append:
                self._lost(backend, "prompts")
        headers = backend.request_headers
        if headers is not None:
            params["extra_headers"] = {
                plain(key): self._written(value, f"{subject}: requestHeaders.{plain(key)}")
                for key, value in (*headers.set, *headers.add)
            } or None
            if headers.remove:
                self._lost(backend, "requestHeaders.remove")
        self._others(backend)
        return {"model_name": plain(name), "litellm_params": params}

    def _others(self, backend: Backend) -> None:
        assert backend.provider is not None
        tls = backend.tls
        facts = PROVIDERS[backend.provider.kind]
        auth = backend.auth
        usual = (CredentialPlace.HEADER, facts.key_header, facts.key_prefix)
        lost = {
            "backendAuth.key.location": auth is not None and (auth.place, auth.name, auth.prefix) != usual,
            "tls": tls is not None and (tls.roots or tls.cert or tls.insecure or tls.insecure_host),
            "responseHeaders": backend.response_headers,
            "health": backend.health,
            "backendTunnel": backend.connecting is not None and backend.connecting.tunnel,
            "modelAliases": backend.provider.aliases,
        }
        for key, given in lost.items():
            if given:
                self._lost(backend, key)

    def _lost(self, backend: Backend, key: str) -> None:
        self._report.add(Fidelity.UNSUPPORTED, f"{self._original.plain(backend.name)}: {key}", "has no counterpart")

    # Where it is

    def _has_place(self, backend: Backend) -> bool:
        if backend.target.unix is not None:
            self._lost(backend, "a Unix socket")
        return backend.target.unix is None

    def _place(self, backend: Backend) -> tuple[str, str | None]:
        """LiteLLM's prefix, and the api_base where the provider is not at its own place."""
        assert backend.provider is not None
        kind = backend.provider.kind
        spot = spot_at(backend.target, tls=backend.tls is not None)
        if kind in (ProviderKind.OPENAI, ProviderKind.CUSTOM):
            kind = preset_at(spot) or kind
        facts = PROVIDERS[kind]
        prefix = _PREFIXES.get(kind, kind.value)
        base = self._base(backend)
        if own_spot(facts) == spot and base + CHAT in (chat_path(facts), facts.base + CHAT):
            return prefix, None
        if prefix in AT_ROOT:
            base = base.removesuffix("/v1")
        return (_KEYLESS if prefix == "openai" and backend.auth is None else prefix), spot.url(base)

    def _base(self, backend: Backend) -> str:
        """The path that chat completions are under."""
        match backend.path.kind:
            case PathKind.BASE | PathKind.CHAT:
                return backend.path.value
            case PathKind.FULL | PathKind.OVERRIDE:
                if not backend.path.value.endswith(CHAT):
                    what = f"LiteLLM's path ends with {CHAT}"
                    self._report.add(Fidelity.MANUAL, f"{self._original.plain(backend.name)}: path", what)
                return self._original.plain(backend.path.value.removesuffix(CHAT))
            case _:
                return "/v1"

    # Texts

    def _key(self, backend: Backend) -> str | None:
        if backend.auth is None:
            return None
        text, subject = backend.auth.key.reveal(), f"{self._original.plain(backend.name)}: api_key"
        if self._original.has_variable(text) or self._original.file(text) is None:
            return self._environ(
                self._original.key(backend.auth.key, self._original.plain(backend.name)), text, subject
            )
        name = self._original.plain(backend.name)
        return self._environ(self._original.placeholder(backend.auth.key, name, "is read from a file"), text, subject)

    def _environ(self, written: str, text: str, subject: str) -> str:
        """A reference as LiteLLM writes it; a literal stays."""
        name = self._original.variable(text) or (written[1:] if written.startswith("$") and written != text else None)
        if name is None:
            return self._written(text, subject)
        if ":-" in written:
            self._report.add(Fidelity.APPROXIMATE, subject, f"${name} has no default in LiteLLM")
        return f"os.environ/{name}"

    def _written(self, text: str, subject: str) -> str:
        if (name := self._original.variable(text)) is not None:
            return f"os.environ/{name}"
        if self._original.has_variable(text):
            what = "LiteLLM has variables for whole values only: write this one out"
            self._report.add(Fidelity.MANUAL, subject, what)
        return self._original.plain(text)

    def _json(self, value: str, subject: str) -> Any:
        return self._texts(msgspec.json.decode(value), subject)

    def _texts(self, value: Any, subject: str) -> Any:
        """All texts in it as LiteLLM has them, which looks for variables at any depth."""
        match value:
            case str():
                return self._written(value, subject)
            case list():
                return [self._texts(each, subject) for each in value]
            case dict():
                return {key: self._texts(each, subject) for key, each in value.items()}
            case _:
                return value


def _number(seconds: float) -> float:
    return int(seconds) if seconds.is_integer() else seconds
