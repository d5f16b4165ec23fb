"""A route's backends: references resolved, the policies of all places merged, and everything decided that can be."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from torana.config.resolve import Destination, Part, Remark, UnresolvableError, Wish, resolve
from torana.config.standalone.ai import aliases, check_place, edits, formats, operation_rules
from torana.config.standalone.decode import nearest
from torana.config.standalone.files import Files
from torana.config.standalone.merge import Given, Place, first, merge
from torana.config.standalone.schema import policies as schema
from torana.config.standalone.schema.backends import Ai, AiGroup, AiProvider, NamedBackend, RouteBackend
from torana.config.standalone.schema.connection import BackendPlace
from torana.config.standalone.schema.providers import Provider as WrittenProvider
from torana.config.standalone.traffic import affinity
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.model.backend import Backend, BackendRef, Connecting, Provider, ProviderKind, Tunnel
from torana.model.policy import Affinity, Authority, PathRule
from torana.model.route import OperationRule


class OfRoute(NamedTuple):
    """What a backend takes from its route. `path` is where the route's policies stand."""

    name: str
    policies: schema.RoutePolicies | None
    path: Path
    authority: Authority | None
    rewrite: PathRule | None


class Used(NamedTuple):
    """A backend's share of a route, and what `ai.routes` says of its requests."""

    ref: BackendRef
    operations: tuple[OperationRule, ...]


class _Written(NamedTuple):
    """A place upstream as it was written, on the route or under a name; `places` has the more specific policies first.

    `path` is where its address and its provider stand. `label` tells it from the others of its backend.
    """

    name: str | None
    label: str
    host: str | None
    ai: Ai | AiProvider | None
    path: Path
    places: tuple[Place, ...]


_Groups: TypeAlias = tuple[tuple[_Written, ...], ...]
"""A backend: its places upstream, in groups by priority."""


class _Named(NamedTuple):
    """A backend under its name; `path` is where it stands, and `place` are its policies."""

    groups: _Groups
    place: Place
    path: Path


class Backends:
    """The named backends of the file, and the way from a route's backend to the model's."""

    def __init__(self, named: tuple[NamedBackend, ...], findings: Findings, files: Files) -> None:
        self._findings = findings
        self._files = files
        self._named: dict[str, _Named] = {}
        self._registered: list[_Named] = []
        for index, backend in enumerate(named):
            self._register(backend, ("backends", index))
        for each in self._registered:  # now that tunnels find their proxies
            self._check(each)

    def translate(self, ref: RouteBackend, path: Path, index: int, route: OfRoute) -> Used | None:
        """None when it cannot be reached or does not exist, which is reported."""
        place = Place(ref.policies, (*path, "policies"))
        places: tuple[Place, ...] = (place,)
        if ref.backend is None:
            groups = self._groups(None, ref.host, ref.ai, path, place)
        else:
            found = self._find(ref.backend, (*path, "backend"))
            if found is None:
                return None
            places = (place, found.place)
            # More specific first: the provider's entry, this route's use of it, the named backend.
            groups = tuple(
                tuple(each._replace(places=(*each.places[:-1], place, each.places[-1])) for each in group)
                for group in found.groups
            )
        backends = [[self._backend(written, index, route) for written in group] for group in groups]
        resolved = (tuple(backend for backend in group if backend is not None) for group in backends)
        made = BackendRef(tuple(group for group in resolved if group), ref.weight, self._affinity(places))
        return Used(made, self._operations(groups, route))

    def mirror(self, place: BackendPlace, path: Path, route: OfRoute) -> Backend | None:
        """The backend of a route's copies. The route's credential is not for it."""
        written = self._lone(place, path)
        return self._backend(written, 0, route._replace(policies=None)) if written is not None else None

    # Named backends

    def _operations(self, groups: _Groups, route: OfRoute) -> tuple[OperationRule, ...]:
        """Those of the first place that has any."""
        for written in chain.from_iterable(groups):
            for place in (*written.places, Place(route.policies, route.path)):
                given = first((place,), "ai")
                if given is not None and given.policy.routes and written.ai is not None:
                    return operation_rules(given.policy.routes)
        return ()

    def _register(self, backend: NamedBackend, path: Path) -> None:
        place = Place(backend.policies, (*path, "policies"))
        named = _Named(self._groups(backend.name, backend.host, backend.ai, path, place), place, path)
        reference = f"{backend.namespace or ''}/{backend.name}"
        first = self._named.setdefault(reference, named)
        if first is not named:
            quoted = self._findings.quote((*path, "name"), backend.name)
            self._findings.error((*path, "name"), f"{quoted} is the name of backends[{first.path[1]}] already")
        self._registered.append(named)

    def _check(self, named: _Named) -> None:
        """A backend that no route uses is looked at too, and every place that has a policy."""
        self._affinity((named.place,))
        for each in chain.from_iterable(written.places for written in chain.from_iterable(named.groups)):
            merged = merge((each,), None, None, self._findings, self._files)
            if merged.tunnel is not None:
                self.tunnel(merged.tunnel)

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

    def _groups(self, name: str | None, host: str | None, ai: Ai | None, path: Path, outer: Place) -> _Groups:
        if ai is None:
            return ((_Written(name, "", host, None, (*path, "host"), (outer,)),),)
        path = (*path, "ai")
        if ai.provider is not None:
            place = Place(ai.policies, (*path, "policies"))
            return ((_Written(name, "", None, ai, path, (place, outer)),),)
        path, written = (*path, "groups"), ai.groups or ()
        if not any(group.providers for group in written):
            self._findings.error(path, "no provider is in any group", "give a group `providers`")
        return tuple(
            self._group(name, f"/group{number}", group, (*path, number), outer) for number, group in enumerate(written)
        )

    def _group(self, name: str | None, label: str, group: AiGroup, path: Path, outer: Place) -> tuple[_Written, ...]:
        names: dict[str, int] = {}
        written: list[_Written] = []
        for number, ai in enumerate(group.providers):
            here = (*path, "providers", number)
            if ai.name is not None and names.setdefault(ai.name, number) != number:
                what = f"providers[{names[ai.name]}] has this name already"
                self._findings.error((*here, "name"), what, "names tell them apart in logs and metrics")
            place = Place(ai.policies, (*here, "policies"))
            if ai.policies is not None and ai.policies.session_affinity is not None:
                what = "chooses between providers, and stands here at one of them"
                self._findings.error((*place.path, "sessionAffinity"), what, "put it into the policies of the backend")
            written.append(_Written(name, f"{label}/provider{number}", None, ai, here, (place, outer)))
        return tuple(written)

    def _backend(self, written: _Written, index: int, route: OfRoute) -> Backend | None:
        spoken = written.ai.provider if written.ai is not None else None
        outer = Place(route.policies, route.path)
        kind = _kind(spoken) if spoken is not None else None
        merged = merge(written.places, outer, kind, self._findings, self._files)
        how = merged.connecting
        if merged.tunnel is not None:
            how = structs.replace(how or Connecting(), tunnel=self.tunnel(merged.tunnel))
        wish = Wish(provider=None, address=written.host, tls=merged.tls, authority=route.authority, path=route.rewrite)
        name = (written.name or written.host or f"{route.name}/backend{index}") + written.label
        provider = None
        if written.ai is not None and spoken is not None:
            provider = self._provider(spoken, (*written.path, "provider"), merged.ai)
            wish = self._wish(written.ai, written.path, provider.kind, wish)
            name = written.ai.name or name
        destination = self._resolve(wish, written, route)
        if destination is None:
            return None
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
            health=merged.health,
            request_timeout=merged.request_timeout,
            connecting=how,
        )

    def _provider(self, spoken: WrittenProvider, path: Path, given: Given | None) -> Provider:
        own = spoken.open_ai or spoken.anthropic or spoken.custom
        custom = spoken.custom
        return Provider(
            _kind(spoken),
            own.model if own is not None else None,
            label=custom.provider_override if custom is not None else None,
            formats=formats(custom.formats, (*path, "custom", "formats"), self._findings)
            if custom is not None
            else None,
            aliases=aliases(given.policy, given.path, self._findings) if given is not None else (),
            edits=edits(given.policy) if given is not None else None,
        )

    def _wish(self, ai: Ai | AiProvider, path: Path, kind: ProviderKind, wish: Wish) -> Wish:
        check_place(ai, path, self._findings)
        return Wish(
            provider=kind,
            address=ai.host_override,
            tls=wish.tls,
            authority=wish.authority,
            path=wish.path,
            path_override=ai.path_override,
            path_prefix=ai.path_prefix,
        )

    def _resolve(self, wish: Wish, written: _Written, route: OfRoute) -> Destination | None:
        """None when there is no such place, which is reported."""
        try:
            destination = resolve(wish)
        except UnresolvableError as error:
            self._point(error, written, route, self._findings.error)
            return None
        for remark in destination.remarks:
            self._point(remark, written, route, self._findings.warning)
        return destination

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

    # Places upstream without a share

    def _lone(self, place: BackendPlace, path: Path) -> _Written | None:
        """One place, written here or under a name; None when there is none, which is reported."""
        if place.backend is None:
            return _Written(None, "", place.host, None, (*path, "host"), ())
        here = (*path, "backend")
        found = self._find(place.backend, here)
        if found is None:
            return None
        each, *others = chain.from_iterable(found.groups) if any(found.groups) else (None,)
        if others:
            self._findings.error(here, "has several providers, and this needs one place", "name a backend with one")
            return None
        return each

    def tunnel(self, given: Given) -> Tunnel | None:
        """The proxy of a `backendTunnel`; None when it cannot be reached, which is reported."""
        path = (*given.path, "proxy")
        written = self._lone(given.policy.proxy, path)
        if written is None:
            return None
        if written.ai is not None:
            self._findings.error((*path, "backend"), "serves a language model, and a proxy has to be a `host`")
            return None
        places = (Place(given.policy.policies, (*given.path, "policies")), *written.places)
        merged = merge(places, None, None, self._findings, self._files)
        route = OfRoute("", None, (), None, None)
        destination = self._resolve(Wish(provider=None, address=written.host, tls=merged.tls), written, route)
        if destination is None:
            return None
        if destination.target.unix is not None:
            self._findings.error(written.path, "is a socket of this machine, and a proxy has to be a `host:port`")
        return Tunnel(destination.target, destination.tls, merged.auth)

    # Affinity

    def _affinity(self, places: tuple[Place, ...]) -> Affinity | None:
        given = first(places, "sessionAffinity")
        return affinity(given.policy, given.path, self._findings) if given is not None else None


def _kind(spoken: WrittenProvider) -> ProviderKind:
    if spoken.open_ai is not None:
        return ProviderKind.OPENAI
    return ProviderKind.ANTHROPIC if spoken.anthropic is not None else ProviderKind.CUSTOM
