"""Draft: a backend as its own resource describes it, before a route says which Host and path it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias, TypeVar

import msgspec

from torana.config.kubernetes.tls_policies import Ruling
from torana.config.like_openai import LIKE_OPENAI
from torana.config.resolve import UnresolvableError, Wish, resolve
from torana.config.syntax import changed_header_fault, header_value_fault, path_fault
from torana.llm.operation import operation_of
from torana.llm.providers import PROVIDERS
from torana.llm.providers.facts import path_for
from torana.model.backend import Backend, Connecting, Group, Provider, ProviderKind
from torana.model.policy import (
    Authority,
    AuthorityKind,
    BackendAuth,
    BackendTls,
    CredentialPlace,
    HeaderModifier,
    Health,
    PathKind,
    PathRule,
    Redirect,
)
from torana.model.secret import Secret

HTTPS: Final = 443
_VERSION: Final = "anthropic-version"
_VERTEX_AI: Final = "/v1beta1/projects/PROJECT/locations/REGION/endpoints/openapi"
_LIKE_OPENAI: Final = {
    **LIKE_OPENAI,
    "azureopenai": LIKE_OPENAI["azure"],
    "vertexai": ("https://REGION-aiplatform.googleapis.com", _VERTEX_AI),  # its token is for an hour
}
PLAINTEXT: Final = "is reached in plaintext, on port 443: there is no BackendTLSPolicy for it"


class Draft(msgspec.Struct, frozen=True):
    """`address` is host:port, or https:// and a host for a provider's own place. `keeps_host`: a Service's way.

    `version` is that of Anthropic's API, whatever the client's is.
    """

    name: str
    address: str
    provider: Provider | None = None
    tls: BackendTls | None = None
    auth: BackendAuth | None = None
    path_override: str | None = None
    path_prefix: str | None = None
    version: str | None = None
    keeps_host: bool = False
    health: Health | None = None
    request_timeout: float | None = None
    connecting: Connecting | None = None


Groups: TypeAlias = tuple[tuple[Draft, ...], ...]
"""As in the model, by priority. Without any it fails closed; a group of none is a Service without ready endpoints."""


class OfRoute(msgspec.Struct, frozen=True):
    """What a backend gets from the route: URLRewrite, and the filters of its own backendRef."""

    hostname: str | None = None
    path: PathRule | None = None
    request_headers: HeaderModifier | None = None
    response_headers: HeaderModifier | None = None
    redirect: Redirect | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of a backend's resource. Without groups it fails closed; without a fault, the fault is a policy's."""

    groups: Groups = ()
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def lone(draft: Draft | None, warnings: Iterable[str] = ()) -> Outcome:
    """Of a backend that is one place, or of one provider among several."""
    return Outcome(((draft,),) if draft is not None else (), (), tuple(warnings))


class _Named(Protocol):
    @property
    def name(self) -> str | None: ...


_P = TypeVar("_P", bound=_Named)


def of_groups(groups: Iterable[Iterable[_P]], read: Callable[[_P, str], Outcome]) -> Outcome:
    """Several providers by priority; `read` gets each with a label that no other has.

    One that cannot be used closes them all. Left out, it would send its requests to the next one unseen: to another
    company, at another price, for as long as nobody looks at the status.
    """
    labels: set[str] = set()
    made: list[list[Outcome]] = []
    faults: list[str] = []
    warnings: list[str] = []
    for number, group in enumerate(groups):
        made.append([])
        for place, provider in enumerate(group):
            label = provider.name or f"group{number}/provider{place}"
            label = f"{label}/group{number}/provider{place}" if label in labels else label
            labels.add(label)
            outcome = read(provider, label)
            made[-1].append(outcome)
            faults += (f"provider {label}: {fault}" for fault in outcome.faults)
            warnings += (f"provider {label}: {warning}" for warning in outcome.warnings)
    if not any(made):
        faults.append("no valid AI provider groups were translated")
    whole = all(outcome.groups for group in made for outcome in group)
    drafts = (tuple(draft for each in group for (draft,) in each.groups) for group in made)
    return Outcome(tuple(filter(None, drafts)) if whole else (), tuple(faults), tuple(warnings))


def finished(groups: Groups, route: OfRoute) -> tuple[Group, ...]:
    """The model's; none at all where one of them is nowhere."""
    made = tuple(tuple(finish(draft, route) for draft in group) for group in groups if group)
    found = tuple(tuple(each for each in group if each is not None) for group in made)
    return found if found == made else ()


def finish(draft: Draft, route: OfRoute) -> Backend | None:
    """None when there is no such place; a faulty address was reported with the draft."""
    authority = Authority(AuthorityKind.FULL, route.hostname) if route.hostname is not None else None
    wish = Wish(
        provider=draft.provider.kind if draft.provider is not None else None,
        address=draft.address,
        tls=draft.tls,
        authority=authority,
        path=route.path if draft.provider is None else None,
        path_override=draft.path_override,
        path_prefix=draft.path_prefix,
    )
    try:
        destination = resolve(wish)
    except UnresolvableError:
        return None
    keeps_host = draft.keeps_host and authority is None
    return Backend(
        name=draft.name,
        target=destination.target,
        tls=_plainest(destination.tls, destination.target.host),
        authority=Authority(AuthorityKind.NONE) if keeps_host else destination.authority,
        path=destination.path if draft.provider is None else _call_path(draft, draft.provider.kind, route.path),
        auth=draft.auth,
        provider=draft.provider,
        request_headers=_request_headers(draft, route),
        response_headers=route.response_headers,
        redirect=route.redirect,
        health=draft.health,
        request_timeout=draft.request_timeout,
        connecting=draft.connecting,
    )


def _plainest(tls: BackendTls | None, host: str) -> BackendTls | None:
    """The host connected to is what is checked when nothing is said: one way to write it, so that equals are equal."""
    if tls is None or tls.hostname != host:
        return tls
    return msgspec.structs.replace(tls, hostname=None)


def _request_headers(draft: Draft, route: OfRoute) -> HeaderModifier | None:
    if draft.version is None:
        return route.request_headers
    given = route.request_headers or HeaderModifier()
    return msgspec.structs.replace(given, set=(*given.set, (_VERSION, draft.version)))


def _call_path(draft: Draft, kind: ProviderKind, rewritten: PathRule | None) -> PathRule:
    """A Backend's path, or else that of its operation below the provider's base, whatever the route's prefix is.

    The route's rewrite comes before the backend's (agentgateway): it shows only in the operation that it names.
    """
    if draft.path_override is not None:
        return PathRule(PathKind.OVERRIDE, draft.path_override)
    base = (draft.path_prefix or PROVIDERS[kind].base).rstrip("/")
    operation = operation_of(rewritten.value.encode()) if rewritten is not None else None
    if operation is not None:
        return PathRule(PathKind.FULL, path_for(base, operation).decode())
    return PathRule(PathKind.CHAT, base)


# --- What all kinds of backends are made of -------------------------------------------------------------------------


def address_of(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unspoken(provider: str, prefix: str) -> str:
    """Why it cannot be used, with `openai` at another place in its stead; `prefix` says how a base path is given."""
    if provider not in _LIKE_OPENAI:
        return f"provider {provider} is not supported yet"
    place, path = _LIKE_OPENAI[provider]
    host = place.removeprefix("https://")
    instead = f"provider openai with host {host}, port {HTTPS} and {prefix.format(path)}, over TLS"
    return f"provider {provider} is not supported yet; its API like OpenAI's can be had by {instead}"


def own_place(kind: ProviderKind) -> str | None:
    """The address of a provider that needs no host, always over TLS."""
    facts = PROVIDERS[kind]
    return f"https://{address_of(facts.host, facts.port)}" if facts.host is not None else None


def address_fault(provider: Provider | None, address: str) -> str | None:
    try:
        resolve(Wish(provider=provider.kind if provider is not None else None, address=address))
    except UnresolvableError as error:
        return f'"{address}" {error.what}'
    return None


def full_path_fault(path: str) -> str | None:
    """It is sent as it stands, so it may hold a query."""
    fault = path_fault(path.partition("?")[0])
    return f'path "{path}" {fault}' if fault is not None else None


def header_credential(token: Secret, name: str, prefix: str) -> BackendAuth | str:
    """A credential in a header, or what is wrong with its name or prefix."""
    if (fault := changed_header_fault(name)) is not None:
        return f'header "{name}" {fault}'
    if (fault := header_value_fault(prefix)) is not None:
        return f"the prefix {fault}"
    return BackendAuth(token, CredentialPlace.HEADER, name.lower(), prefix)


def glued(prefix: str | None) -> str | None:
    """Prefix and token are put together as they are: a prefix that ends in a letter is probably missing its space."""
    if prefix and prefix[-1].isalnum():
        return f'the prefix "{prefix}" is put before the token without a space'
    return None


def secured(ruling: Ruling | None, otherwise: BackendTls | None) -> BackendTls | None:
    return ruling.tls if ruling is not None else otherwise


def closed(ruling: Ruling | None) -> bool:
    """Whether a policy asks for TLS and cannot say how."""
    return ruling is not None and ruling.tls is None
