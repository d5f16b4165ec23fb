"""Backends of the model in the words of agentgateway's file: `host`, `ai`, and their policies."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from torana.config.convert.agentgateway_policies import header_modifier, redirect, span
from torana.config.convert.original import Original
from torana.config.convert.report import Fidelity
from torana.llm.providers import PROVIDERS
from torana.model.backend import Backend, BackendRef, Connecting, Format, Provider, ProviderKind, Target
from torana.model.policy import (
    BackendAuth,
    BackendTls,
    CredentialPlace,
    Eviction,
    Health,
    Keepalive,
    PathKind,
)

FORMATS: Final[dict[str, str]] = {
    "chat_completions": "completions",
    "messages": "messages",
    "responses": "responses",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "realtime": "realtime",
    "count_tokens": "anthropicTokenCount",
}
"""An operation -> the name of its format."""
_ITS_OWN: Final = (ProviderKind.OPENAI, ProviderKind.ANTHROPIC)
"""Providers that agentgateway has by name in this form."""


class Backends:
    def __init__(self, original: Original) -> None:
        self._original = original
        self._report = original.report
        self.named: list[dict[str, Any]] = []
        """Backends that have to have a name, since policies come with them."""

    def ref(self, ref: BackendRef) -> dict[str, Any]:
        tree: dict[str, Any] = {"weight": ref.weight if ref.weight != 1 else None}
        groups = ref.groups
        if not groups:
            self._report.add(Fidelity.MANUAL, "backends", "one of them is missing or wrong here, too")
            return {**tree, "host": "missing.invalid:80"}
        (first, *_), *_ = groups
        if len(groups) == 1 and len(groups[0]) == 1:
            tree |= self._one(first)
        else:
            providers = [{"providers": [self.ai(each) for each in group]} for group in groups]
            tree["ai"] = {"groups": providers}
        if ref.affinity is not None:
            own = ref.affinity.expression
            source = own or f'request.headers["{ref.affinity.header}"]'
            if own is None and ref.affinity.header is None:
                self._report.add(Fidelity.UNSUPPORTED, "sessionAffinity.cookie", "is Torana's own")
            else:
                tree["policies"] = {**(tree.get("policies") or {}), "sessionAffinity": {"source": source}}
        return tree

    def _one(self, backend: Backend) -> dict[str, Any]:
        if backend.provider is not None:
            return {"ai": self.ai(backend)}
        if backend.path.kind is PathKind.OVERRIDE:
            self._report.add(Fidelity.UNSUPPORTED, f"{backend.name}: path", "a plain backend has none of its own")
        return {"host": self._address(backend.target), "policies": self.policies(backend)}

    def _address(self, target: Target) -> str:
        if ":" in target.host:
            what = "agentgateway reads no IPv6 address here: give it a name"
            self._report.add(Fidelity.MANUAL, self._original.plain(str(target)), what)
        return self._original.text(str(target))

    def place(self, backend: Backend) -> dict[str, Any]:
        """A backend that is named where no policies can stand."""
        tree = self._one(backend)
        if backend.provider is None and tree["policies"] is None:
            return {"host": tree["host"]}
        name = f"mirror{len(self.named)}"
        self.named.append({"name": name, **tree})
        return {"backend": f"/{name}"}

    # Language models

    def ai(self, backend: Backend) -> dict[str, Any]:
        assert backend.provider is not None
        provider, facts = backend.provider, PROVIDERS[backend.provider.kind]
        at_home = provider.kind in _ITS_OWN and backend.target == Target(facts.host or "", facts.port)
        tree: dict[str, Any] = {
            "name": self._original.text(backend.name),
            "provider": self._provider(provider),
            "hostOverride": None if at_home else self._address(backend.target),
        }
        if not at_home and self._original.has_variable(backend.target.host):
            what = "the port stands behind the variable now: leave it out if the variable has one"
            self._report.add(Fidelity.APPROXIMATE, f"{self._original.plain(backend.name)}: hostOverride", what)
        match backend.path.kind:
            case PathKind.OVERRIDE:
                tree["pathOverride"] = self._original.text(backend.path.value)
            case PathKind.BASE | PathKind.CHAT if not (at_home and backend.path.value == facts.base):
                tree["pathPrefix"] = self._original.text(backend.path.value or "/")
            case _:
                pass
        if backend.path.kind is PathKind.CHAT:
            what = "a path that is no known operation was a chat completion, and is passed on as it is now"
            self._report.add(Fidelity.APPROXIMATE, f"{self._original.plain(backend.name)}: path", what)
        return {**tree, "policies": self.policies(backend, at_home=at_home)}

    def _provider(self, provider: Provider) -> dict[str, Any]:
        model = self._original.text(provider.model) if provider.model is not None else None
        if provider.kind is ProviderKind.OPENAI:
            return {"openAI": {"model": model}}
        if provider.kind is ProviderKind.ANTHROPIC:
            return {"anthropic": {"model": model}}
        name = provider.label
        formats = provider.formats
        if provider.kind is not ProviderKind.CUSTOM:
            facts = PROVIDERS[provider.kind]
            name = facts.name
            formats = tuple(Format(each.name.lower(), path) for each, path in (facts.operations or {}).items())
        return {
            "custom": {
                "model": model,
                "providerOverride": self._original.text(name) if name is not None else None,
                "formats": self._formats(formats) if formats is not None else None,
            }
        }

    def _formats(self, formats: tuple[Format, ...]) -> list[dict[str, Any]]:
        return [
            {"type": FORMATS[each.operation], "path": self._original.text(each.path) if each.path else None}
            for each in formats
            if each.operation in FORMATS
        ]

    # Policies

    def policies(self, backend: Backend, *, at_home: bool = False) -> dict[str, Any] | None:
        text, name = self._original.text, self._original.plain(backend.name)
        made: dict[str, Any] = {
            "backendTLS": None if at_home and backend.tls == BackendTls() else self._tls(backend.tls, name),
            "backendAuth": self._auth(backend),
            "requestHeaderModifier": header_modifier(backend.request_headers, text),
            "responseHeaderModifier": header_modifier(backend.response_headers, text),
            "requestRedirect": redirect(backend.redirect, text),
            "health": self._health(backend.health, name),
            "http": {"requestTimeout": span(backend.request_timeout)} if backend.request_timeout else None,
            **self._connecting(backend.connecting, name),
            "ai": self._calls(backend.provider),
        }
        return made if any(value is not None for value in made.values()) else None

    def _tls(self, tls: BackendTls | None, name: str) -> dict[str, Any] | None:
        if tls is None:
            return None
        return {
            "hostname": self._original.text(tls.hostname) if tls.hostname is not None else None,
            "root": self.file(tls.roots, f"{name}: backendTLS.root"),
            "cert": self.file(tls.cert, f"{name}: backendTLS.cert"),
            "key": self.file(tls.key.reveal() if tls.key is not None else None, f"{name}: backendTLS.key"),
            "insecure": tls.insecure or None,
            "insecureHost": tls.insecure_host or None,
            "subjectAltNames": [self._original.text(each) for each in tls.subject_alt_names] or None,
        }

    def _auth(self, backend: Backend) -> dict[str, Any] | None:
        return self.credential(backend.auth, backend.provider, self._original.plain(backend.name))

    def credential(self, auth: BackendAuth | None, provider: Provider | None, name: str) -> dict[str, Any] | None:
        if auth is None:
            return None
        file = self._original.file(auth.key.reveal())
        key: Any = {"file": self._original.text(file)} if file is not None else self._original.key(auth.key, name)
        facts = PROVIDERS[provider.kind if provider is not None else ProviderKind.OPENAI]
        if (auth.place, auth.name, auth.prefix) == (CredentialPlace.HEADER, facts.key_header, facts.key_prefix):
            return {"key": key}
        location: dict[str, Any] = {"name": self._original.text(auth.name)}
        if auth.place is CredentialPlace.HEADER:
            location["prefix"] = self._original.text(auth.prefix) if auth.prefix else None
        return {"key": {"value": key, "location": {auth.place.value: location}}}

    def _health(self, health: Health | None, name: str) -> dict[str, Any] | None:
        if health is None:
            return None
        given, usual = health.eviction, Eviction()
        if given.max_duration not in (usual.max_duration, given.duration):
            self._report.add(Fidelity.UNSUPPORTED, f"{name}: health.eviction.maxDuration", "is Torana's own")
        return {
            "unhealthyExpression": self._original.text(health.unhealthy) if health.unhealthy is not None else None,
            "eviction": {
                "duration": span(given.duration),
                "consecutiveFailures": given.consecutive_failures,
                "healthThreshold": given.health_threshold,
                "restoreHealth": given.restore_health,
            },
        }

    def _connecting(self, how: Connecting | None, name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"tcp": None, "backendTunnel": None}
        if how is None:
            return made
        kept = how.keepalive
        if how.timeout is not None or kept != Keepalive():
            made["tcp"] = {  # where there is `tcp`, agentgateway wants `keepalives` in it
                "connectTimeout": span(how.timeout) if how.timeout is not None else None,
                "keepalives": {"time": span(kept.idle), "interval": span(kept.interval), "retries": kept.probes}
                if kept is not None
                else {"enabled": False},
            }
        if how.tunnel is not None:
            policies = {"backendTLS": self._tls(how.tunnel.tls, name)}
            if how.tunnel.auth is not None:
                policies["backendAuth"] = self.credential(how.tunnel.auth, None, f"{name} proxy")
            given = policies if any(value is not None for value in policies.values()) else None
            made["backendTunnel"] = {"proxy": {"host": self._address(how.tunnel.target)}, "policies": given}
        return made

    def _calls(self, provider: Provider | None) -> dict[str, Any] | None:
        """What is done to the calls of a language model."""
        if provider is None or (provider.edits is None and not provider.aliases):
            return None
        edits, text = provider.edits, self._original.text
        made: dict[str, Any] = {"modelAliases": {text(name): text(model) for name, model in provider.aliases} or None}
        if edits is not None:
            for key, members in (("overrides", edits.overrides), ("defaults", edits.defaults)):
                made[key] = {text(name): self._json(value) for name, value in members} or None
            prompts = {
                key: [{"role": each.role, "content": text(each.content)} for each in messages] or None
                for key, messages in (("prepend", edits.prepend), ("append", edits.append))
            }
            made["prompts"] = prompts if any(prompts.values()) else None
        return made

    def _json(self, value: str) -> Any:
        return self._texts(msgspec.json.decode(value))

    def _texts(self, value: Any) -> Any:
        match value:
            case str():
                return self._original.text(value)
            case list():
                return [self._texts(each) for each in value]
            case dict():
                return {self._original.text(key): self._texts(each) for key, each in value.items()}
            case _:
                return value

    def file(self, text: str | None, subject: str) -> str | None:
        if text is None:
            return None
        name = self._original.file(text)
        if name is None:
            self._report.add(Fidelity.MANUAL, subject, "stands in no file: write it to one, and name that")
            return "PATH"
        return self._original.text(name)
