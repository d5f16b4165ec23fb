"""A route's backends: references resolved, the policies of all places merged, and everything decided that can be."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from torana.config.resolve import Part, Remark, UnresolvableError, Wish, resolve
from torana.config.standalone.decode import nearest
from torana.config.standalone.files import Files
from torana.config.standalone.policies import backend_auth, backend_tls, headers, redirect
from torana.config.standalone.schema import policies as schema
from torana.config.standalone.schema.backends import Ai, AiGroup, AiProvider, NamedBackend, RouteBackend
from torana.config.syntax import path_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.backend import Backend, BackendRef, Provider, ProviderKind
from torana.model.policy import Authority, BackendAuth, BackendTls, HeaderModifier, PathRule, Redirect


class OfRoute(NamedTuple):
    """What a backend takes from its route. `path` is where the route's policies stand."""

    name: str
    policies: schema.RoutePolicies | None
    path: Path
    authority: Authority | None
    rewrite: PathRule | None


class _Place(NamedTuple):
    """Policies, and where they stand."""

    policies: schema.BackendPolicies | schema.RoutePolicies | None
    path: Path


class _Written(NamedTuple):
    """A place upstream as it was written, on the route or under a name; `places` has the more specific policies first.

    `path` is where its address and its provider stand. `label` tells it from the others of its backend.
    """

    name: str | None
    label: str
    host: str | None
    ai: Ai | AiProvider | None
    path: Path
    places: tuple[_Place, ...]


_Groups: TypeAlias = tuple[tuple[_Written, ...], ...]
"""A backend: its places upstream, in groups by priority."""


class _Named(NamedTuple):
    """A backend under its name; `path` is where it stands."""

    groups: _Groups
    path: Path


class _Merged(NamedTuple):
    """The policies that hold for one backend."""

    tls: BackendTls | None
    auth: BackendAuth | None
    request_headers: HeaderModifier | None
    response_headers: HeaderModifier | None
    redirect: Redirect | None


class Backends:
    """The named backends of the file, and the way from a route's backend to the model's."""

    def __init__(self, named: tuple[NamedBackend, ...], findings: Findings, files: Files) -> None:
        self._findings = findings
        self._files = files
        self._named: dict[str, _Named] = {}
        for index, backend in enumerate(named):
            self._register(backend, ("backends", index))

    def translate(self, ref: RouteBackend, path: Path, index: int, route: OfRoute) -> BackendRef | None:
        """None when it cannot be reached or does not exist, which is reported."""
        place = _Place(ref.policies, (*path, "policies"))
        if ref.backend is None:
            groups = self._groups(None, ref.host, ref.ai, path, place)
        else:
            found = self._find(ref.backend, (*path, "backend"))
            if found is None:
                return None
            # More specific first: the provider's entry, this route's use of it, the named backend.
            groups = tuple(
                tuple(each._replace(places=(*each.places[:-1], place, each.places[-1])) for each in group)
                for group in found.groups
            )
        backends = [[self._backend(written, index, route) for written in group] for group in groups]
        resolved = (tuple(backend for backend in group if backend is not None) for group in backends)
        return BackendRef(tuple(group for group in resolved if group), ref.weight)

    # Named backends

    def _register(self, backend: NamedBackend, path: Path) -> None:
        place = _Place(backend.policies, (*path, "policies"))
        named = _Named(self._groups(backend.name, backend.host, backend.ai, path, place), path)
        reference = f"{backend.namespace or ''}/{backend.name}"
        first = self._named.setdefault(reference, named)
        if first is not named:
            quoted = self._findings.quote((*path, "name"), backend.name)
            self._findings.error((*path, "name"), f"{quoted} is the name of backends[{first.path[1]}] already")
        for written in chain.from_iterable(named.groups):  # a backend that no route uses is checked too
            for each in written.places:
                self._merge((each,), None)

    def _find(self, reference: str, path: Path) -> _Named | None:
        found = self._named.get(reference)
        if found is None:
            quoted = self._findings.quote(path, reference)
            self._findings.error(path, f"{quoted} is no backend", self._suggestion(reference, path))
        return found

    def _suggestion(self, reference: str, path: Path) -> str:
        known = [key for key, named in self._named.items() if not self._findings.hides((*named.path, "name"))]
        meant = None if self._findings.hides(path) else nearest("/" + reference.removeprefix("/"), known)
        return f'did you mean "{meant}"?' if meant else "give the top-level `backends` one of that name"

    # One backend

    def _groups(self, name: str | None, host: str | None, ai: Ai | None, path: Path, outer: _Place) -> _Groups:
        if ai is None:
            return ((_Written(name, "", host, None, (*path, "host"), (outer,)),),)
        path = (*path, "ai")
        if ai.provider is not None:
            place = _Place(ai.policies, (*path, "policies"))
            return ((_Written(name, "", None, ai, path, (place, outer)),),)
        path, written = (*path, "groups"), ai.groups or ()
        if not any(group.providers for group in written):
            self._findings.error(path, "no provider is in any group", "give a group `providers`")
        return tuple(
            self._group(name, f"/group{number}", group, (*path, number), outer) for number, group in enumerate(written)
        )

    def _group(self, name: str | None, label: str, group: AiGroup, path: Path, outer: _Place) -> tuple[_Written, ...]:
        names: dict[str, int] = {}
        written: list[_Written] = []
        for number, ai in enumerate(group.providers):
            here = (*path, "providers", number)
            if ai.name is not None and names.setdefault(ai.name, number) != number:
                what = f"providers[{names[ai.name]}] has this name already"
                self._findings.error((*here, "name"), what, "names tell them apart in logs and metrics")
            place = _Place(ai.policies, (*here, "policies"))
            written.append(_Written(name, f"{label}/provider{number}", None, ai, here, (place, outer)))
        return tuple(written)

    def _backend(self, written: _Written, index: int, route: OfRoute) -> Backend | None:
        merged = self._merge(written.places, _Place(route.policies, route.path))
        wish = Wish(provider=None, address=written.host, tls=merged.tls, authority=route.authority, path=route.rewrite)
        name = (written.name or written.host or f"{route.name}/backend{index}") + written.label
        provider = None
        if written.ai is not None:
            provider, wish = self._ai(written.ai, written.path, wish)
            name = written.ai.name or name
        try:
            destination = resolve(wish)
        except UnresolvableError as error:
            self._point(error, written, route, self._findings.error)
            return None
        for remark in destination.remarks:
            self._point(remark, written, route, self._findings.warning)
        return Backend(
            name=name,
            target=destination.target,
            tls=destination.tls,
            authority=destination.authority,
            path=destination.path,
            auth=merged.auth,
            provider=provider,
            request_headers=merged.request_headers,
            response_headers=merged.response_headers,
            redirect=merged.redirect,
        )

    def _ai(self, ai: Ai | AiProvider, path: Path, wish: Wish) -> tuple[Provider, Wish]:
        if ai.path_override is not None:
            # It is sent as it stands, so it may hold a query.
            bare = ai.path_override.partition("?")[0]
            self._findings.fault((*path, "pathOverride"), ai.path_override, path_fault(bare))
        if ai.path_prefix is not None:
            self._findings.fault((*path, "pathPrefix"), ai.path_prefix, path_fault(ai.path_prefix))
        if ai.tokenize:
            self._findings.error((*path, "tokenize"), "counting tokens before the call is not supported yet")
        spoken = ai.provider
        if spoken is not None and spoken.open_ai is not None:
            provider = Provider(ProviderKind.OPENAI, spoken.open_ai.model)
        else:
            provider = Provider(ProviderKind.CUSTOM, spoken.custom.model if spoken and spoken.custom else None)
        return provider, Wish(
            provider=provider.kind,
            address=ai.host_override,
            tls=wish.tls,
            authority=wish.authority,
            path=wish.path,
            path_override=ai.path_override,
            path_prefix=ai.path_prefix,
        )

    def _point(self, fault: UnresolvableError | Remark, written: _Written, route: OfRoute, tell: Any) -> None:
        """Report a fault at the key that it is about, after a quotation of its value."""
        ai = written.ai
        match fault.part:
            case Part.ADDRESS if ai is not None:
                path, text = (*written.path, "hostOverride"), ai.host_override
            case Part.ADDRESS:
                path, text = written.path, written.host
            case Part.AUTHORITY:
                kind = route.authority.kind.value if route.authority is not None else "full"
                path = (*route.path, "urlRewrite", "authority", kind)
                text = route.authority.value if route.authority is not None else None
            case Part.PATH_PREFIX:
                path, text = (*written.path, "pathPrefix"), ai.path_prefix if ai is not None else None
            case _:
                path, text = (*written.path, "provider"), None
        subject = f"{self._findings.quote(path, text)} " if text is not None else ""
        tell(path, subject + fault.what, fault.hint)

    # Policies

    def _merge(self, places: tuple[_Place, ...], route: _Place | None) -> _Merged:
        """The more specific place replaces a policy as a whole; TLS and credential may come from the route at last."""
        findings, files = self._findings, self._files
        everywhere = places if route is None else (*places, route)
        tls = _first(everywhere, "backend_tls", "backendTLS")
        auth = _first(everywhere, "backend_auth", "backendAuth")
        request = _first(places, "request_header_modifier", "requestHeaderModifier")
        response = _first(places, "response_header_modifier", "responseHeaderModifier")
        answer = _first(places, "request_redirect", "requestRedirect")
        return _Merged(
            tls=backend_tls(tls.policy, tls.path, findings, files) if tls else None,
            auth=backend_auth(auth.policy, auth.path, findings, files) if auth else None,
            request_headers=headers(request.policy, request.path, findings) if request else None,
            response_headers=headers(response.policy, response.path, findings) if response else None,
            redirect=redirect(answer.policy, answer.path, findings) if answer else None,
        )


class _Given(NamedTuple):
    """A policy, and where it was given."""

    policy: Any
    path: Path


def _first(places: tuple[_Place, ...], field: str, key: str) -> _Given | None:
    for place in places:
        policy = getattr(place.policies, field, None)
        if policy is not None:
            return _Given(policy, (*place.path, key))
    return None
