"""Where a provider is: addresses and paths of one form told as a preset, or as the `baseUrl` of another."""

from __future__ import annotations

from typing import NamedTuple

from torana.llm.operation import Operation
from torana.llm.providers import PROVIDERS
from torana.llm.providers.facts import ProviderFacts
from torana.model.backend import ProviderKind, Target

CHAT = "/chat/completions"
HTTPS = 443
HTTP = 80


class Spot(NamedTuple):
    """Where a provider is reached; texts may hold references to variables. An IPv6 address has its brackets."""

    host: str
    port: str
    tls: bool

    def url(self, base: str) -> str:
        usual = str(HTTPS if self.tls else HTTP)
        port = "" if self.port == usual else f":{self.port}"
        return f"{'https' if self.tls else 'http'}://{self.host}{port}{base}"


def spot_of(address: str, *, tls: bool) -> Spot | None:
    """Of `host`, `host:port` or either with a scheme; None for a Unix socket, and what is no address."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        scheme, rest = "", address
    if scheme not in ("", "http", "https") or rest.startswith("unix:"):
        return None
    rest = rest.rstrip("/")
    secure = scheme == "https" or (tls and scheme != "http")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(HTTPS if secure else HTTP)
    if not host or "/" in rest:
        return None
    return Spot(host.lower() if "torana-variable" not in host else host, port, secure)


def preset_at(spot: Spot) -> ProviderKind | None:
    """The provider whose own place this is."""
    for kind, facts in PROVIDERS.items():
        if (facts.host, str(facts.port), facts.tls) == spot:
            return kind
    return None


def chat_path(facts: ProviderFacts) -> str:
    """Where chat completions go at this provider's own place."""
    own = (facts.operations or {}).get(Operation.CHAT_COMPLETIONS)
    return own if own is not None else facts.base.rstrip("/") + CHAT


def spot_at(target: Target, *, tls: bool) -> Spot:
    """Of the address of a backend, which is no socket."""
    return Spot(f"[{target.host}]" if ":" in target.host else target.host, str(target.port), tls)


def own_spot(facts: ProviderFacts) -> Spot | None:
    return Spot(facts.host, str(facts.port), facts.tls) if facts.host is not None else None
