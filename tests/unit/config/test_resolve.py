"""Where a backend is; what each form comes to is in tests/golden/standalone/targets.yaml."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.config.resolve import Part, UnresolvableError, Wish, resolve
from torana.llm.providers import PROVIDERS
from torana.model.backend import ProviderKind
from torana.model.policy import Authority, AuthorityKind, BackendTls, PathKind, PathRule

_OPENAI = ProviderKind.OPENAI
_FULL = AuthorityKind.FULL


@pytest.mark.parametrize(
    ("wish", "target", "tls"),
    [
        (Wish(provider=_OPENAI), "api.openai.com:443", True),
        (Wish(provider=_OPENAI, authority=Authority(_FULL, "a.example")), "a.example:80", False),
        (Wish(provider=_OPENAI, authority=Authority(AuthorityKind.NONE)), "api.openai.com:443", True),
        (Wish(provider=_OPENAI, address="A.Example", tls=BackendTls()), "a.example:443", True),
        (Wish(provider=_OPENAI, address="a.example:443"), "a.example:443", False),
        (Wish(provider=_OPENAI, address="https://a.example/"), "a.example:443", True),
        (Wish(provider=_OPENAI, address="http://[::1]"), "[::1]:80", False),
        (Wish(provider=None, address="unix:/s"), "unix:/s", False),
        (Wish(provider=None, address="b:1", authority=Authority(_FULL, "a.example")), "b:1", False),
    ],
)
def test_target(wish: Wish, target: str, tls: bool) -> None:
    """The address comes first, then the authority of an AI backend, then the provider's own place."""
    destination = resolve(wish)
    assert (str(destination.target), destination.tls is not None) == (target, tls)


@pytest.mark.parametrize(
    ("authority", "tls", "value"),
    [
        ("a.example:443", BackendTls(), "a.example"),
        ("a.example:80", BackendTls(), "a.example:80"),
        ("a.example:80", None, "a.example"),
        ("a.example:443", None, "a.example:443"),
    ],
)
def test_host_without_the_schemes_port(authority: str, tls: BackendTls | None, value: str) -> None:
    """The scheme's own port is left out of Host (RFC 9110, section 4.2)."""
    wish = Wish(provider=_OPENAI, address="b.example:1", authority=Authority(_FULL, authority), tls=tls)
    assert resolve(wish).authority == Authority(_FULL, value)


@pytest.mark.parametrize(
    ("wish", "rule"),
    [
        (Wish(provider=_OPENAI), PathRule(PathKind.BASE, "/v1")),
        (Wish(provider=ProviderKind.CUSTOM, address="a:1"), PathRule(PathKind.BASE, "/v1")),
        (Wish(provider=_OPENAI, address="a:1"), PathRule()),
        (Wish(provider=None, address="a:1"), PathRule()),
        (Wish(provider=_OPENAI, path=PathRule(PathKind.FULL, "/x")), PathRule(PathKind.FULL, "/x")),
        (Wish(provider=_OPENAI, path_prefix="/p/"), PathRule(PathKind.BASE, "/p")),
        (Wish(provider=_OPENAI, path_prefix="/p/", path=PathRule(PathKind.FULL, "/x")), PathRule(PathKind.FULL, "/x")),
        (Wish(provider=_OPENAI, path_prefix="/p", path_override="/o"), PathRule(PathKind.OVERRIDE, "/o")),
    ],
)
def test_path(wish: Wish, rule: PathRule) -> None:
    """The route's rewrite comes first, then pathOverride, pathPrefix, and the provider's own base path."""
    assert resolve(wish).path == rule


@pytest.mark.parametrize(
    ("wish", "part"),
    [
        (Wish(provider=ProviderKind.CUSTOM), Part.PROVIDER),
        (Wish(provider=None, address="a"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="ftp://a:1"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="http://a/v1"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="http://a", tls=BackendTls()), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="a:0"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="a:65536"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="user@a:1"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="[::1"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="[a]:1"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address="::1:80"), Part.ADDRESS),
        (Wish(provider=_OPENAI, address=""), Part.ADDRESS),
        (Wish(provider=_OPENAI, authority=Authority(_FULL, "http://a")), Part.AUTHORITY),
        (Wish(provider=_OPENAI, authority=Authority(_FULL, "unix:/a")), Part.AUTHORITY),
    ],
)
def test_faults_name_their_part(wish: Wish, part: Part) -> None:
    """What cannot be reached is refused, and the fault says which part of the wish it is in."""
    with pytest.raises(UnresolvableError) as refused:
        resolve(wish)
    assert refused.value.part is part


@pytest.mark.parametrize(
    ("wish", "parts"),
    [
        (Wish(provider=_OPENAI, address="a:443"), [Part.ADDRESS]),
        (Wish(provider=_OPENAI, authority=Authority(_FULL, "a:443")), [Part.AUTHORITY]),
        (Wish(provider=_OPENAI, address="a:443", tls=BackendTls()), []),
        (Wish(provider=_OPENAI, path_prefix="/p", path_override="/o"), [Part.PATH_PREFIX]),
    ],
)
def test_remarks(wish: Wish, parts: list[Part]) -> None:
    """Port 443 in plaintext is probably a forgotten `backendTLS`, and is remarked on."""
    assert [remark.part for remark in resolve(wish).remarks] == parts


@pytest.mark.parametrize("kind", ProviderKind)
def test_places_are_the_providers_own(kind: ProviderKind) -> None:
    """Where a provider is without an address, and its base path, are what its facts say."""
    facts = PROVIDERS[kind]
    if facts.host is None:
        with pytest.raises(UnresolvableError):
            resolve(Wish(provider=kind))
        assert resolve(Wish(provider=kind, address="a:1")).path == PathRule(PathKind.BASE, facts.base)
    else:
        made = resolve(Wish(provider=kind))
        assert (made.target.host, made.target.port) == (facts.host, facts.port)
        assert made.tls == (BackendTls() if facts.tls else None)
        assert made.path == PathRule(PathKind.BASE, facts.base)


@given(st.text() | st.text(st.sampled_from("ab.:/[]0129@%"), max_size=20), st.sampled_from([None, *ProviderKind]))
def test_any_address_is_resolved_or_refused(address: str, provider: ProviderKind | None) -> None:
    """Every text is a place with a valid port, or a fault; nothing else is raised."""
    with suppress(UnresolvableError):
        assert 1 <= resolve(Wish(provider=provider, address=address)).target.port <= 65535
