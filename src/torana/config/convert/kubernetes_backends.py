"""Backends of the model as AgentgatewayBackends, and their credentials as Secrets of variables."""

from __future__ import annotations

from typing import Any, Final

from torana.config.convert.kubernetes_names import Names, gateway_duration, label
from torana.config.convert.original import Original
from torana.config.convert.places import CHAT
from torana.config.convert.report import Fidelity
from torana.config.kubernetes.contents import TOKEN_KEY
from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.model.backend import Backend, BackendRef, Connecting, Provider, ProviderKind, Target, Tunnel
from torana.model.policy import (
    Authority,
    AuthorityKind,
    BackendAuth,
    BackendTls,
    CredentialPlace,
    Health,
    PathKind,
)

AGENTGATEWAY: Final = "agentgateway.dev"
KIND: Final = "AgentgatewayBackend"
_MISSING: Final = {"host": "missing.invalid", "port": 80}
"""Stands for a place that there is not; RFC 6761, section 6.4, has no name in it resolve."""


class Backends:
    """Objects are made as they are asked for; equal ones are made once."""

    def __init__(self, original: Original) -> None:
        self._original = original
        self._report = original.report
        self._names = Names()
        self._secrets: dict[str, str] = {}
        self._made: list[dict[str, Any]] = []

    def documents(self) -> list[dict[str, Any]]:
        secrets = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {TOKEN_KEY: value}}
            for value, name in self._secrets.items()
        ]
        return [*self._made, *secrets]

    def ref(self, ref: BackendRef, route: str) -> str:
        """The name of the object that this share of a route is."""
        if ref.affinity is not None:
            what = "is left out: an AgentgatewayBackend has none here"
            self._report.add(Fidelity.MANUAL, f"route {route}: sessionAffinity", what)
        groups = ref.groups
        if not groups:
            self._report.add(Fidelity.MANUAL, f"route {route}: backends", "one of them is missing or wrong here, too")
            return self._object("missing", {"static": dict(_MISSING)})
        if len(groups) == 1 and len(groups[0]) == 1:
            return self.lone(groups[0][0])
        providers = [
            {"providers": [self._provider(each) | {"policies": self._policies(each)} for each in group]}
            for group in groups
        ]
        return self._object(route, {"ai": {"groups": providers}})

    def lone(self, backend: Backend) -> str:
        if backend.provider is not None:
            provider = self._provider(backend)
            del provider["name"]
            spec: dict[str, Any] = {"ai": {"provider": provider}}
        else:
            spec = {"static": self._static(backend.target)}
            if backend.path.kind in (PathKind.OVERRIDE, PathKind.BASE, PathKind.CHAT):
                self._report.add(Fidelity.MANUAL, f"{self._called(backend)}: path", "a static backend has none")
        return self._object(self._called(backend), {**spec, "policies": self._policies(backend)})

    def _object(self, name: str, spec: dict[str, Any]) -> str:
        for each in self._made:
            if each["spec"] == spec:
                return str(each["metadata"]["name"])
        chosen = self._names.fresh(name)
        made = {"apiVersion": f"{AGENTGATEWAY}/v1alpha1", "kind": KIND, "metadata": {"name": chosen}, "spec": spec}
        self._made.append(made)
        return chosen

    def _called(self, backend: Backend) -> str:
        return self._original.plain(backend.name)

    def _static(self, target: Target) -> dict[str, Any]:
        if target.unix is not None:
            self._report.add(
                Fidelity.UNSUPPORTED, f"unix:{target.unix}", "a socket of a machine is nothing of a cluster"
            )
            return dict(_MISSING)
        return {"host": self._original.plain(target.host), "port": target.port}

    # Language models

    def _provider(self, backend: Backend) -> dict[str, Any]:
        assert backend.provider is not None
        provider = backend.provider
        kind = provider.kind.value if provider.kind in (ProviderKind.OPENAI, ProviderKind.ANTHROPIC) else "custom"
        model = self._original.plain(provider.model) if provider.model is not None else None
        tree: dict[str, Any] = {"name": self._called(backend), kind: {"model": model}}
        if not _is_default(backend):
            tree |= self._static(backend.target) | self._path(backend, provider)
        self._told(backend, provider)
        return tree

    def _path(self, backend: Backend, provider: Provider) -> dict[str, Any]:
        """A path for every call, or the base of all of them."""
        subject, value = f"{self._called(backend)}: path", self._original.plain(backend.path.value)
        own = (PROVIDERS[provider.kind].operations or {}).get(Operation.CHAT_COMPLETIONS)
        match backend.path.kind:
            case PathKind.OVERRIDE:
                return {"path": value}
            case PathKind.FULL if value.endswith(CHAT):
                return {"pathPrefix": value.removesuffix(CHAT) or "/"}
            case PathKind.FULL:
                self._report.add(Fidelity.APPROXIMATE, subject, "the query of a call is dropped")
                return {"path": value}
            case PathKind.BASE if own is not None:
                self._report.add(Fidelity.APPROXIMATE, subject, "every call goes where chat completions go")
                return {"path": own}
            case PathKind.BASE | PathKind.CHAT:
                return {"pathPrefix": value or "/"}
            case _:
                keeps = backend.path.kind is PathKind.KEEP
                what = "a path that is no known operation is a chat completion, not passed on as it is"
                other = "a prefix of it cannot be replaced for a language model"
                fidelity = Fidelity.APPROXIMATE if keeps else Fidelity.MANUAL
                self._report.add(fidelity, subject, what if keeps else other)
                return {"pathPrefix": "/v1"}

    def _told(self, backend: Backend, provider: Provider) -> None:
        said = (ProviderKind.OPENAI, ProviderKind.ANTHROPIC, ProviderKind.CUSTOM)
        if provider.formats is not None or provider.kind not in said:
            what = "what it does not serve is not said: calls are passed on, not translated"
            self._report.add(Fidelity.APPROXIMATE, f"{self._called(backend)}: formats", what)
        if provider.edits is not None or provider.aliases:
            what = "defaults, overrides, prompts and modelAliases are left out: `policies.ai` has them in another form"
            self._report.add(Fidelity.MANUAL, f"{self._called(backend)}: policies.ai", what)

    # Policies

    def _policies(self, backend: Backend) -> dict[str, Any] | None:
        name = self._called(backend)
        made: dict[str, Any] = {
            "auth": self._auth(backend.auth, name),
            "tls": None if _is_default(backend) and backend.tls == BackendTls() else self._tls(backend.tls, name),
            "health": self._health(backend.health, name),
            "http": {"requestTimeout": gateway_duration(backend.request_timeout)} if backend.request_timeout else None,
            **self._connecting(backend.connecting, name),
        }
        return made if any(value is not None for value in made.values()) else None

    def _auth(self, auth: BackendAuth | None, name: str) -> dict[str, Any] | None:
        if auth is None:
            return None
        value = self._value(auth, name)
        secret = self._secrets.get(value)
        if secret is None:
            secret = self._secrets[value] = self._names.fresh(f"{label(name)}-key")
        tree: dict[str, Any] = {"secretRef": {"name": secret}}
        if (auth.place, auth.name, auth.prefix) != (CredentialPlace.HEADER, "authorization", "Bearer "):
            location: dict[str, Any] = {"name": self._original.plain(auth.name)}
            if auth.place is CredentialPlace.HEADER:
                location["prefix"] = self._original.plain(auth.prefix) or None
            tree["location"] = {auth.place.value: location}
        return tree

    def _value(self, auth: BackendAuth, name: str) -> str:
        """A variable, whatever the user's file had: a manifest is often kept where others read it."""
        text = auth.key.reveal()
        if self._original.has_variable(text):
            written = self._original.text(text)
            if ":-" in written:
                what = "has a default, which envsubst does not know; `--expand-env` does"
                self._report.add(Fidelity.APPROXIMATE, f"{name}: key", what)
            return written
        file = self._original.file(text)
        why = f"is read from {self._original.plain(file)}" if file is not None else "is not written into manifests"
        return self._original.placeholder(auth.key, name, why)

    def _tls(self, tls: BackendTls | None, name: str) -> dict[str, Any] | None:
        if tls is None:
            return None
        made: dict[str, Any] = {
            "sni": self._original.plain(tls.hostname) if tls.hostname is not None else None,
            "insecureSkipVerify": "Hostname" if tls.insecure_host else "All" if tls.insecure else None,
            "verifySubjectAltNames": [self._original.plain(each) for each in tls.subject_alt_names] or None,
        }
        if tls.roots is not None:
            config_map = f"{self._names.fresh(f'{name}-ca')}"
            what = f"make it: kubectl create configmap {config_map} --from-file=ca.crt=FILE"
            self._report.add(Fidelity.MANUAL, f"{name}: backendTLS.root", what)
            made["caCertificateRefs"] = [{"name": config_map}]
        if tls.cert is not None:
            secret = self._names.fresh(f"{name}-client")
            what = f"make it: kubectl create secret tls {secret} --cert FILE --key FILE"
            self._report.add(Fidelity.MANUAL, f"{name}: backendTLS.cert", what)
            made["mtlsCertificateRef"] = [{"name": secret}]
        return made

    def _health(self, health: Health | None, name: str) -> dict[str, Any] | None:
        if health is None:
            return None
        given = health.eviction
        if given.duration < 1:
            self._report.add(Fidelity.APPROXIMATE, f"{name}: health.eviction.duration", "is at least 1 second here")
        return {
            "unhealthyCondition": self._original.plain(health.unhealthy) if health.unhealthy is not None else None,
            "eviction": {
                "duration": gateway_duration(max(given.duration, 1.0)),
                "consecutiveFailures": given.consecutive_failures,
                "healthThreshold": round(given.health_threshold * 100) if given.health_threshold is not None else None,
                "restoreHealth": round(given.restore_health * 100),
            },
        }

    def _connecting(self, how: Connecting | None, name: str) -> dict[str, Any]:
        if how is None:
            return {}
        kept = how.keepalive
        if kept is None:
            self._report.add(Fidelity.APPROXIMATE, f"{name}: tcp.keepalives", "cannot be switched off: there are some")
        tcp = {
            "connectTimeout": gateway_duration(how.timeout) if how.timeout is not None else None,
            "keepalive": {
                "time": gateway_duration(kept.idle),
                "interval": gateway_duration(kept.interval),
                "retries": kept.probes,
            }
            if kept is not None
            else None,
        }
        return {
            "tcp": tcp if any(tcp.values()) else None,
            "tunnel": self._tunnel(how.tunnel, name) if how.tunnel is not None else None,
        }

    def _tunnel(self, tunnel: Tunnel, name: str) -> dict[str, Any]:
        policies = {"auth": self._auth(tunnel.auth, f"{name}-proxy"), "tls": self._tls(tunnel.tls, f"{name}-proxy")}
        given = policies if any(value is not None for value in policies.values()) else None
        proxy = self._object(f"{name}-proxy", {"static": self._static(tunnel.target), "policies": given})
        return {"backendRef": {"group": AGENTGATEWAY, "kind": KIND, "name": proxy}}


def _is_default(backend: Backend) -> bool:
    """Whether it is where its provider's name alone leads to: a place that is said has TLS only when that is said."""
    if backend.provider is None or backend.provider.kind is not ProviderKind.OPENAI:
        return False
    facts, path = PROVIDERS[backend.provider.kind], backend.path
    at_home = backend.target == Target(facts.host or "", facts.port)
    return at_home and path.kind in (PathKind.BASE, PathKind.CHAT) and path.value == facts.base


def full_authority(backend: Backend) -> Authority:
    """The Host of its own address, as a rule."""
    usual = 443 if backend.tls is not None else 80
    host = backend.target.host if backend.target.port == usual else str(backend.target)
    return Authority(AuthorityKind.FULL, host)
