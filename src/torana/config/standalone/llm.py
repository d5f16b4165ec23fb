"""The file's `llm` as one route of the model: its models, each with the backend it leads to."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from torana.config.resolve import Part, Remark, UnresolvableError, Wish, credential, resolve
from torana.config.standalone.ai import body_edits, check_place, formats
from torana.config.standalone.backends import Backends
from torana.config.standalone.connection import backend_auth, backend_tls, secret_of
from torana.config.standalone.decode import nearest
from torana.config.standalone.files import Files
from torana.config.standalone.merge import Place, first
from torana.config.standalone.policies import headers, route_policies
from torana.config.standalone.routes import header_match
from torana.config.standalone.schema import llm as schema
from torana.config.standalone.schema import policies
from torana.config.standalone.schema.providers import CustomFormats
from torana.config.standalone.traffic import health
from torana.config.standalone.virtual import Entry, virtual_models
from torana.config.syntax import path_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.llm.providers import PROVIDERS
from torana.model.backend import Backend, Connecting, Provider, ProviderKind, alone
from torana.model.policy import BackendAuth, BackendTls, RoutePolicies
from torana.model.route import ModelRoute, Route

_KINDS = {"openAI": ProviderKind.OPENAI} | {kind.value: kind for kind in ProviderKind}
_OWN_API = (ProviderKind.OPENAI, ProviderKind.ANTHROPIC)


class _Source(NamedTuple):
    """What a model takes from: its own words, and those of the provider it refers to."""

    kind: ProviderKind
    custom: CustomFormats | None
    custom_path: Path
    params: schema.LlmParams
    params_path: Path
    places: tuple[Place, ...]


def llm_route(llm: schema.Llm, path: Path, backends: Backends, findings: Findings, files: Files) -> Route:
    models = _Models(llm, path, backends, findings, files)
    entries = [models.entry(model, (*path, "models", index)) for index, model in enumerate(llm.models)]
    _warn_of_hidden(entries, findings)
    if not llm.models and not llm.virtual_models:
        findings.warning(path, "there is no model that clients could ask for", "give `models` an entry")
    return Route(
        "llm",
        policies=_policies(llm.policies, (*path, "policies"), findings),
        models=(
            *(route for entry in entries for route in _routes(entry)),
            *virtual_models(llm.virtual_models, entries, (*path, "virtualModels"), findings),
        ),
    )


def _warn_of_hidden(entries: list[Entry], findings: Findings) -> None:
    """The first model of a name takes all its calls, unless it has `matches`: what comes behind it is never asked."""
    taken: dict[tuple[str, bool], Path] = {}
    for entry in entries:
        whose = (entry.name, entry.public)
        if whose in taken:
            what = f"is never asked: models[{taken[whose][-1]}] has this name already and takes every call of it"
            hint = "give each a name of its own, and let one of `virtualModels` stand for both"
            findings.warning((*entry.path, "name"), what, hint)
        elif () in entry.matches:
            taken[whose] = entry.path


def _policies(written: schema.LlmPolicies | None, path: Path, findings: Findings) -> RoutePolicies:
    if written is None:
        return RoutePolicies()
    given = policies.RoutePolicies(
        cors=written.cors, local_rate_limit=written.local_rate_limit, timeout=written.timeout, retry=written.retry
    )
    return route_policies(given, path, findings)


def _routes(entry: Entry) -> list[ModelRoute]:
    """One for each of its matches, since any suffices; none for an internal model."""
    if not entry.public or entry.backend is None:
        return []
    return [ModelRoute(entry.name, (alone(entry.backend),), headers=match) for match in entry.matches]


class _Models:
    def __init__(self, llm: schema.Llm, path: Path, backends: Backends, findings: Findings, files: Files) -> None:
        self._llm = llm
        self._path = path
        self._backends = backends
        self._findings = findings
        self._files = files
        self._providers: dict[str, int] = {}
        self._names: dict[str, int] = {}
        for index, provider in enumerate(llm.providers):
            if self._providers.setdefault(provider.name, index) != index:
                here = (*path, "providers", index, "name")
                findings.error(here, f"providers[{self._providers[provider.name]}] has this name already")

    def entry(self, model: schema.LlmModel, path: Path) -> Entry:
        self._check_name(model.name, (*path, "name"))
        seen = self._names[model.name] = self._names.get(model.name, 0) + 1
        matches = [
            tuple(
                header_match(header, (*path, "matches", number, "headers", i), self._findings)
                for i, header in enumerate(match.headers)
            )
            for number, match in enumerate(model.matches)
        ]
        source = self._source(model, path)
        name = model.name if seen == 1 else f"{model.name}/{seen}"
        backend = self._backend(model, name, source) if source is not None else None
        return Entry(model.name, path, model.visibility == "public", tuple(matches) or ((),), backend)

    def _check_name(self, name: str, path: Path) -> None:
        if name.count("*") > 1 or "*" in name[1:-1]:
            quoted = self._findings.quote(path, name)
            self._findings.error(path, f"{quoted} has a `*` in the middle", "put one `*` at its beginning or its end")

    # Where it is

    def _source(self, model: schema.LlmModel, path: Path) -> _Source | None:
        """None when it refers to a provider that is not there, which is reported."""
        params, places = model.params or schema.LlmParams(), (Place(model, path),)
        here = (*path, "provider")
        if isinstance(model.provider, str):
            return _Source(_KINDS[model.provider], None, here, params, (*path, "params"), places)
        if model.provider.reference is None:
            custom = model.provider.custom
            return _Source(ProviderKind.CUSTOM, custom, (*here, "custom"), params, (*path, "params"), places)
        index = self._find(model.provider.reference, (*here, "reference"))
        if index is None:
            return None
        for key in ("apiKey", "baseUrl", "hostOverride", "pathOverride", "pathPrefix", "tokenize"):
            if first((Place(model.params, (*path, "params")),), key):
                what = "belongs to the provider that is referred to"
                self._findings.error((*path, "params", key), what, f"put it into providers[{index}].params")
        return self._shared(self._llm.providers[index], (*self._path, "providers", index), params.model, places[0])

    def _shared(self, provider: schema.LlmProvider, path: Path, model: str | None, place: Place) -> _Source:
        params = provider.params or schema.LlmParams()
        params = msgspec.structs.replace(params, model=model or params.model)
        places = (place, Place(provider.defaults, (*path, "defaults")))
        named = isinstance(provider.provider, str)
        kind = _KINDS[provider.provider] if isinstance(provider.provider, str) else ProviderKind.CUSTOM
        custom = None if isinstance(provider.provider, str) else provider.provider.custom
        here = (*path, "provider") if named else (*path, "provider", "custom")
        return _Source(kind, custom, here, params, (*path, "params"), places)

    def _find(self, name: str, path: Path) -> int | None:
        index = self._providers.get(name)
        if index is None:
            hidden = self._findings.hides(path)
            meant = None if hidden else nearest(name, self._providers)
            hint = f'did you mean "{meant}"?' if meant else "give `llm.providers` one of that name"
            self._findings.error(path, f"{self._findings.quote(path, name)} is no provider", hint)
        return index

    # Its backend

    def _backend(self, model: schema.LlmModel, name: str, source: _Source) -> Backend | None:
        findings, places = self._findings, source.places
        request, response = first(places, "requestHeaders"), first(places, "responseHeaders")
        well, tunnel = first(places, "health"), first(places, "backendTunnel")
        overrides, defaults = first(places, "overrides"), first(places, "defaults")
        wish = self._wish(source)
        try:
            destination = resolve(wish)
        except UnresolvableError as error:
            self._point(error, source)
            return None
        for remark in destination.remarks:
            self._point(remark, source)
        return Backend(
            name=name,
            target=destination.target,
            tls=destination.tls,
            authority=destination.authority,
            path=destination.path,
            auth=self._auth(source),
            provider=Provider(
                source.kind,
                source.params.model or (None if "*" in model.name else model.name),
                label=source.custom.provider_override if source.custom else None,
                formats=formats(source.custom.formats, (*source.custom_path, "formats"), findings)
                if source.custom
                else None,
                edits=body_edits(overrides.policy if overrides else None, defaults.policy if defaults else None),
            ),
            request_headers=headers(request.policy, request.path, findings) if request else None,
            response_headers=headers(response.policy, response.path, findings) if response else None,
            health=health(well.policy, well.path, findings) if well else None,
            connecting=Connecting(tunnel=self._backends.tunnel(tunnel)) if tunnel else None,
        )

    def _wish(self, source: _Source) -> Wish:
        params, path = source.params, source.params_path
        address, prefix = params.host_override, params.path_prefix
        if params.base_url is not None:
            for key, other in (("hostOverride", address), ("pathPrefix", prefix)):
                if other is not None:
                    self._findings.error((*path, key), "cannot stand beside baseUrl, which says it too", "remove it")
            address, prefix = self._split(params.base_url, (*path, "baseUrl"))
        elif address is not None and source.kind not in _OWN_API and prefix is None:
            prefix = PROVIDERS[source.kind].base
        check_place(params, path, self._findings)
        return Wish(
            provider=source.kind,
            address=address,
            tls=self._tls(source),
            path_override=params.path_override,
            path_prefix=prefix,
        )

    def _split(self, url: str, path: Path) -> tuple[str, str]:
        """An absolute URL as an address with its scheme and a path."""
        scheme, _, rest = url.partition("://")
        host, slash, base = rest.partition("/")
        fault = None
        if "@" in url or "?" in url or "#" in url:  # what stands there may be a credential, so it is not quoted
            fault = "this URL has user information, a query or a fragment, which a base has not"
        elif scheme not in ("http", "https") or not host:
            fault = f"{self._findings.quote(path, url)} is no absolute URL with http:// or https://"
        elif slash and (why := path_fault(slash + base)) is not None:
            fault = f"the path of this URL {why}"
        if fault is not None:
            self._findings.error(path, fault, "write it like https://api.example.com/v1")
            return "http://localhost", ""
        return f"{scheme}://{host}", (slash + base).rstrip("/")

    def _tls(self, source: _Source) -> BackendTls | None:
        for place in source.places:
            given = [found for key in ("tls", "backendTLS") if (found := first((place,), key))]
            if len(given) > 1:
                self._findings.error(given[1].path, "is an older name of `tls`, which is there too", "remove one")
            if given:
                return backend_tls(given[0].policy, given[0].path, self._findings, self._files)
        return None

    def _auth(self, source: _Source) -> BackendAuth | None:
        """The model's own before the provider's; `params.apiKey` is the short way to say it."""
        findings = self._findings
        given = first(source.places, "auth")
        key = first((Place(source.params, source.params_path),), "apiKey")
        if (
            given is not None
            and key is not None
            and given.path[:-1] in (source.params_path[:-1], source.places[-1].path)
        ):
            findings.error(given.path, "says the credential, and so does params.apiKey", "remove one of the two")
        if given is not None:
            return backend_auth(given.policy, given.path, source.kind, findings, self._files)
        if key is None:
            return None
        return credential(source.kind, secret_of(key.policy, key.path, findings, self._files))

    def _point(self, fault: UnresolvableError | Remark, source: _Source) -> None:
        """Report a fault at the key that it is about, after a quotation of its value."""
        params, path, hint = source.params, source.params_path, fault.hint
        key, text = (
            ("baseUrl", params.base_url) if params.base_url is not None else ("hostOverride", params.host_override)
        )
        match fault.part:
            case Part.PROVIDER:
                path, key, text, hint = path[:-1], "provider", None, "say where it is with params.baseUrl"
            case Part.PATH_PREFIX:
                key, text = "pathPrefix", params.path_prefix
            case _ if isinstance(fault, Remark):
                hint = "write baseUrl with https://, or add `tls: {}`, if the provider uses HTTPS"
            case _:
                pass
        here = (*path, key)
        subject = f"{self._findings.quote(here, text)} " if text is not None else ""
        tell = self._findings.warning if isinstance(fault, Remark) else self._findings.error
        tell(here, subject + fault.what.replace("backendTLS", "tls"), hint.replace("backendTLS", "tls"))
