"""kgateway's Backend as a Draft: types AI and Static."""

from __future__ import annotations

import json
from typing import Any

from torana.config.kubernetes import conditions
from torana.config.kubernetes.conditions import Fault, judged
from torana.config.kubernetes.contents import bare_token, token
from torana.config.kubernetes.drafts import (
    HTTPS,
    PLAINTEXT,
    Draft,
    Outcome,
    address_fault,
    address_of,
    closed,
    full_path_fault,
    glued,
    header_credential,
    lone,
    of_groups,
    own_place,
    secured,
    unspoken,
)
from torana.config.kubernetes.objects import Object
from torana.config.kubernetes.resources import backend as schema
from torana.config.kubernetes.store import Store
from torana.config.kubernetes.tls_policies import TlsPolicies
from torana.config.resolve import credential
from torana.config.syntax import header_value_fault
from torana.model.backend import Provider, ProviderKind
from torana.model.policy import BackendAuth, BackendTls
from torana.model.secret import Secret

_PROVIDERS = ("openai", "azureopenai", "anthropic", "gemini", "vertexai", "bedrock")
_MEMBERS = {
    "AI": "ai",
    "AWS": "aws",
    "Static": "static",
    "DynamicForwardProxy": "dynamic_forward_proxy",
    "MCP": "mcp",
}


def read(obj: Object, store: Store, policies: TlsPolicies) -> Outcome:
    written = store.read(schema.Backend, obj)
    if written is None:
        return Outcome(faults=(store.why(obj),))
    given = [member for member in _MEMBERS.values() if getattr(written, member) is not None]
    if _MEMBERS[written.type] not in given:
        what = f"{written.type.lower()} backend must be specified when type is '{written.type}'"
        return Outcome(faults=(what,))
    if len(given) > 1:
        return Outcome(faults=("exactly one of ai, aws, static, dynamicForwardProxy and mcp must be set",))
    if written.static is not None:
        return _static(obj, written.static, policies)
    if written.ai is not None:
        return _ai(obj, written.ai, store, policies)
    return Outcome(faults=(f"type {written.type} is not supported yet",))


def status(obj: Object, outcome: Outcome) -> dict[str, Any]:
    """Reasons and messages are kgateway's: `Backend error: "..."`, the errors joined by line breaks."""
    fault = None
    if outcome.faults:
        text = json.dumps("\n".join(dict.fromkeys(outcome.faults)), ensure_ascii=False)
        fault = Fault("Invalid", f"Backend error: {text}")
    message = "; ".join(("Backend accepted", *outcome.warnings))
    return {"conditions": [judged(conditions.ACCEPTED, fault, message, obj.generation)]}


def _static(obj: Object, static: schema.Static, policies: TlsPolicies) -> Outcome:
    if len(static.hosts) != 1:
        return Outcome(faults=("multiple hosts are currently not supported: give exactly one",))
    host = static.hosts[0]
    address = address_of(host.host, host.port)
    fault = address_fault(None, address)
    if fault is not None:
        return Outcome(faults=(fault,))
    ruling = policies.ruling(obj.key, None)
    if closed(ruling):
        return Outcome()
    tls = secured(ruling, None)
    warnings = (f"{host.host} {PLAINTEXT}",) if tls is None and host.port == HTTPS else ()
    return lone(Draft(f"{obj.namespace}/{obj.name}", address, tls=tls), warnings)


def _ai(obj: Object, ai: schema.Ai, store: Store, policies: TlsPolicies) -> Outcome:
    if (ai.llm is None) == (not ai.priority_groups):
        return Outcome(faults=("exactly one of llm and priorityGroups must be set",))
    name = f"{obj.namespace}/{obj.name}"
    if ai.llm is not None:
        return _Reader(obj, ai.llm, store, policies).outcome(name, schema.LONE_PROVIDER)

    def read_one(provider: schema.LlmProvider, label: str) -> Outcome:
        return _Reader(obj, provider, store, policies).outcome(f"{name}/{label}", provider.name)

    return of_groups((group.providers for group in ai.priority_groups), read_one)


class _Reader:
    """One provider, with what is wrong with it."""

    def __init__(self, obj: Object, written: schema.LlmProvider, store: Store, policies: TlsPolicies) -> None:
        self._obj = obj
        self._written = written
        self._store = store
        self._policies = policies
        self._faults: list[str] = []
        self.warnings: list[str] = []

    def outcome(self, name: str, section: str | None) -> Outcome:
        """`name` is the backend's in logs and metrics, `section` that by which policies mean this provider."""
        written = self._written
        provider = self._provider()
        spoken = written.openai or written.anthropic
        if provider is None or spoken is None:
            return Outcome((), tuple(self._faults), tuple(self.warnings))
        auth = self._auth(spoken.auth_token, provider.kind)
        version = self._version()
        path = self._path()
        ruling = self._policies.ruling(self._obj.key, section)
        address = self._address(provider)
        tls = secured(ruling, BackendTls() if written.host is None else None)
        if written.host is not None and written.port == HTTPS and ruling is None:
            self.warnings.append(f"{written.host} {PLAINTEXT}")
        if address is None or self._faults or closed(ruling):
            return Outcome((), tuple(self._faults), tuple(self.warnings))
        return lone(Draft(name, address, provider, tls, auth, path_override=path, version=version), self.warnings)

    def _provider(self) -> Provider | None:
        given = [name for name in _PROVIDERS if getattr(self._written, name) is not None]
        if len(given) > 1:
            self._faults.append(f"exactly one provider must be set, not {' and '.join(given)}")
        elif not given:
            self._faults.append("no supported LLM provider configured")
        elif self._written.openai is not None:
            return Provider(ProviderKind.OPENAI, self._written.openai.model or None)
        elif self._written.anthropic is not None:
            return Provider(ProviderKind.ANTHROPIC, self._written.anthropic.model or None)
        else:
            self._faults.append(unspoken(given[0], "path.full {}/chat/completions"))
        return None

    def _address(self, provider: Provider) -> str | None:
        host, port = self._written.host, self._written.port
        if (host is None) != (port is None):
            self._faults.append("both host and port must be set together")
            return None
        if host is None or port is None:
            return own_place(provider.kind)
        address = address_of(host, port)
        fault = address_fault(provider, address)
        if fault is not None:
            self._faults.append(fault)
        return address

    def _path(self) -> str | None:
        path = self._written.path.full if self._written.path is not None else None
        fault = full_path_fault(path) if path is not None else None
        if fault is not None:
            self._faults.append(fault)
        return path

    def _version(self) -> str | None:
        version = self._written.anthropic.api_version if self._written.anthropic is not None else None
        fault = header_value_fault(version) if version else None
        if fault is not None:
            self._faults.append(f"anthropic.apiVersion {fault}")
        return version or None

    def _auth(self, written: schema.AuthToken, kind: ProviderKind) -> BackendAuth | None:
        """Where the provider wants it; `authHeader` overrides header and prefix, each independently of the other.

        Nothing is put between prefix and token.
        """
        if written.inline is not None and written.secret_ref is not None:
            self._faults.append("at most one of the fields in [inline secretRef] may be set")
            return None
        if written.kind == "Passthrough":
            if self._written.auth_header is not None:
                self.warnings.append("authHeader has no effect with authToken.kind Passthrough")
            return None
        found = self._token(written)
        if isinstance(found, str):
            self._faults.append(found)
            return None
        usual, header = credential(kind, found), self._written.auth_header
        if header is None:
            return usual
        if (remark := glued(header.prefix)) is not None:
            self.warnings.append(remark)
        prefix = header.prefix if header.prefix is not None else usual.prefix
        made = header_credential(found, header.header_name or usual.name, prefix)
        if isinstance(made, str):
            self._faults.append(f"authHeader: {made}")
            return None
        return made

    def _token(self, written: schema.AuthToken) -> Secret | str:
        """The API server does not check that `kind` and its member belong together."""
        if written.kind == "Inline":
            made = bare_token(written.inline or "")
            if not made.reveal():
                return "authToken.kind is Inline, and inline is missing or empty"
            fault = header_value_fault(made.reveal())
            return "authToken.inline has characters that no header can carry" if fault is not None else made
        if written.secret_ref is None:
            return "authToken.kind is SecretRef, and secretRef is missing"
        found = token(self._store, self._obj.namespace, written.secret_ref.name)
        return found.message if isinstance(found, Fault) else found
