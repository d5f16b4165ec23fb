"""What a backend gets: request line, Host, fields and credential, exactly."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import exchange
from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.dial import Dialler
from torana.http.pool import Pool
from torana.http.sweep import Sweep
from torana.model.backend import Backend, Provider, ProviderKind, Target
from torana.model.policy import (
    Authority,
    AuthorityKind,
    BackendAuth,
    BackendTls,
    CredentialPlace,
    HeaderModifier,
    PathKind,
    PathRule,
)
from torana.model.secret import Secret
from torana.proxy.runtime import Runtime
from torana.proxy.upstream import Upstream

TARGET = Target("api.example", 80)
KEY = Secret("k&1=é")


def upstream(backend: Backend) -> Upstream:
    sweep = Sweep()
    return Upstream(backend, Runtime(Pool(Dialler(sweep, {}, 0, 0), sweep, 1, 0)))


def composed(backend: Backend, request: Exchange, *, plain: bool = False) -> list[str]:
    """The lines of the head, the request line first."""
    up = upstream(backend)
    outgoing = up.compose(request, up.target(request), plain=plain)
    return b"".join(outgoing.parts).decode().split("\r\n")[:-1]


def sent(request: Exchange, auth: BackendAuth | None = None, **others: HeaderModifier) -> list[str]:
    """The fields after Host."""
    return composed(Backend("it", TARGET, auth=auth, **others), request)[2:]  # type: ignore[arg-type]  # only headers


# fields


def test_head_is_the_clients() -> None:
    """What no rule names goes on as it came: order, case, repetitions, empty values."""
    headers = (
        ("Content-Type", "application/json"),
        ("X-A", "1"),
        ("traceparent", "00-1-2-01"),
        ("x-a", "2"),
        ("X-Empty", ""),
        ("Authorization", "Bearer sk-client"),
        ("cookie", "a=1"),
        ("X-Forwarded-For", "10.0.0.1"),
    )
    request = exchange("/v1/x?b=1&a=2", *headers, method="PATCH")
    assert composed(Backend("it", TARGET), request) == [
        "PATCH /v1/x?b=1&a=2 HTTP/1.1",
        "host: api.example",
        *(f"{name}: {value}" for name, value in headers),
    ]


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
     "Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Host"],
)  # fmt: skip
def test_fields_of_one_hop(name: str) -> None:
    """A field that speaks about the client's connection, or is written anew, does not go on."""
    assert sent(exchange("/", ("A", "1"), (name, "keep-alive"), ("B", "2"))) == ["A: 1", "B: 2"]


@pytest.mark.parametrize(
    ("accept", "limited"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.8, gzip;q=0.1"),
        ("br", "identity"),
        ("", "identity"),
        ("identity", "identity"),
        ("X-GZip", "X-GZip"),
        ("*", "gzip"),
    ],
)
def test_accept_encoding(accept: str, limited: str) -> None:
    """A client's codings are cut down to those the gateway can read, in place; a stream is asked for uncompressed."""
    request = exchange("/", ("A", "1"), ("Accept-Encoding", accept), ("B", "2"))
    assert sent(request) == ["A: 1", f"Accept-Encoding: {limited}", "B: 2"]
    assert composed(Backend("it", TARGET), request, plain=True)[3] == "Accept-Encoding: identity"


def test_accept_encoding_is_not_made_up() -> None:
    """A client that names no codings is not spoken for."""
    assert sent(exchange("/", ("A", "1"))) == ["A: 1"]


def test_backend_headers() -> None:
    """A backend's own header rules work on what goes to it, and leave the request as it was for others."""
    rules = HeaderModifier(set=(("X-A", "new"),), add=(("B", "3"),), remove=("c",))
    request = exchange("/", ("x-a", "1"), ("b", "2"), ("C", "x"))
    before = [*request.fields]
    assert sent(request, request_headers=rules) == ["b: 2", "X-A: new", "B: 3"]
    assert request.fields == before


# credentials


CLIENT = (("Authorization", "Bearer sk-client"), ("X-Api-Key", "mine"), ("authorization", "Basic eA=="), ("A", "1"))


@pytest.mark.parametrize(
    ("auth", "lines"),
    [
        (None, ["Authorization: Bearer sk-client", "X-Api-Key: mine", "authorization: Basic eA==", "A: 1"]),
        (BackendAuth(Secret("k")), ["authorization: Bearer k", "X-Api-Key: mine", "A: 1"]),
        (BackendAuth(Secret("k"), name="X-API-Key", prefix=""), ["X-API-Key: k", "A: 1"]),
        (BackendAuth(Secret("k"), name="api-key", prefix="Key "), ["api-key: Key k", "X-Api-Key: mine", "A: 1"]),
        (BackendAuth(Secret("k"), CredentialPlace.QUERY, "key"), ["X-Api-Key: mine", "A: 1"]),
        (BackendAuth(Secret("k"), CredentialPlace.COOKIE, "s"), ["X-Api-Key: mine", "A: 1", "cookie: s=k"]),
    ],
)
def test_the_credential_replaces_the_clients(auth: BackendAuth | None, lines: list[str]) -> None:
    """Wherever the credential goes, the client's Authorization and every field of the credential's name stay here."""
    assert sent(exchange("/", *CLIENT), auth) == lines


def test_a_header_rule_cannot_replace_the_credential() -> None:
    """The credential is what `backendAuth` says, whatever header rules set."""
    rules = HeaderModifier(set=(("Authorization", "Bearer other"),))
    assert sent(exchange(), BackendAuth(Secret("k")), request_headers=rules) == ["authorization: Bearer k"]


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        ("/p", "/p?key="),
        ("/p?", "/p?key="),
        ("/p?a=1&b", "/p?a=1&b&key="),
        ("/p?key=mine", "/p?key="),
        ("/p?key=1&a=2&key&key=", "/p?a=2&key="),
        ("/p?k%65y=mine&%6B%65%79", "/p?key="),
        ("/p?keys=1&akey=2&KEY=3", "/p?keys=1&akey=2&KEY=3&key="),
        ("/p?a=%2F+b", "/p?a=%2F+b&key="),
    ],
)
def test_credential_in_the_query(target: str, outcome: str) -> None:
    """The parameter is set once, however the client spelled its own; all others stay as they were."""
    backend = Backend("it", TARGET, auth=BackendAuth(KEY, CredentialPlace.QUERY, "key"))
    assert composed(backend, exchange(target))[0] == f"GET {outcome}k%261%3D%C3%A9 HTTP/1.1"


def test_credential_parameter_is_escaped() -> None:
    """A parameter's name may hold anything; one the client spelled with `+` or escapes is the same one."""
    backend = Backend("it", TARGET, auth=BackendAuth(Secret("v"), CredentialPlace.QUERY, "a b&c"))
    assert composed(backend, exchange("/p?a+b%26c=1&a%20b%26c=2&a+b=3"))[0] == "GET /p?a+b=3&a%20b%26c=v HTTP/1.1"


@pytest.mark.parametrize(
    ("cookies", "line"),
    [
        ([], "s=k"),
        (["a=1"], "a=1; s=k"),
        (["a=1; b=2", "c=3;"], "a=1; b=2; c=3; s=k"),
        (["s=mine"], "s=k"),
        (["a=1;s=mine; b=2; s =other; s"], "a=1; b=2; s=k"),
        (["S=1; ss=2"], "S=1; ss=2; s=k"),
        (['a="x=y"'], 'a="x=y"; s=k'),
        ([""], "s=k"),
    ],
)
def test_credential_in_a_cookie(cookies: list[str], line: str) -> None:
    """There is one Cookie line: the client's cookies in order, less those of the credential's name, and it."""
    request = exchange("/", *(("Cookie", text) for text in cookies), ("A", "1"))
    assert sent(request, BackendAuth(Secret("k"), CredentialPlace.COOKIE, "s")) == ["A: 1", f"cookie: {line}"]


# host


@pytest.mark.parametrize(
    ("authority", "target", "tls", "host", "outcome"),
    [
        (Authority(), Target("api.example", 443), True, "c:1", "api.example"),
        (Authority(), Target("api.example", 443), False, "c:1", "api.example:443"),
        (Authority(), Target("api.example", 80), False, "c:1", "api.example"),
        (Authority(), Target("api.example", 80), True, "c:1", "api.example:80"),
        (Authority(), Target("::1", 8080), False, "c:1", "[::1]:8080"),
        (Authority(), Target("::1", 80), False, "c:1", "[::1]"),
        (Authority(), Target("localhost", 0, unix="/run/x.sock"), False, "c:1", "localhost"),
        (Authority(AuthorityKind.FULL, "new.example:81"), TARGET, False, "c:1", "new.example:81"),
        (Authority(AuthorityKind.HOST, "new.example"), TARGET, False, "c:1", "new.example:1"),
        (Authority(AuthorityKind.HOST, "new.example"), TARGET, False, "c", "new.example"),
        (Authority(AuthorityKind.HOST, "new.example"), TARGET, False, "[::1]:1", "new.example:1"),
        (Authority(AuthorityKind.HOST, "new.example"), TARGET, False, "[::1]", "new.example"),
        (Authority(AuthorityKind.PORT, "81"), TARGET, False, "c:1", "c:81"),
        (Authority(AuthorityKind.PORT, "81"), TARGET, False, "c", "c:81"),
        (Authority(AuthorityKind.PORT, "81"), TARGET, False, "[::1]:1", "[::1]:81"),
        (Authority(AuthorityKind.NONE), TARGET, False, "C.example:1", "C.example:1"),
    ],
)
def test_host(authority: Authority, target: Target, tls: bool, host: str, outcome: str) -> None:
    """Host is what the authority rule says; made from the target, it has a port only where the scheme's is another."""
    backend = Backend("it", target, BackendTls() if tls else None, authority)
    assert composed(backend, exchange(host=host))[1] == f"host: {outcome}"


# paths


@pytest.mark.parametrize(
    ("rule", "target", "outcome"),
    [
        (PathRule(), "/a%20b//c/?x=1&y", "/a%20b//c/?x=1&y"),
        (PathRule(), "/a?", "/a?"),
        (PathRule(PathKind.FULL, "/new"), "/a", "/new"),
        (PathRule(PathKind.FULL, "/new"), "/a?x=1", "/new?x=1"),
        (PathRule(PathKind.OVERRIDE, "/new"), "/a?x=1", "/new"),
        (PathRule(PathKind.OVERRIDE, "/new?v=2"), "/a?x=1", "/new?v=2"),
        (PathRule(PathKind.BASE, "/api/v1"), "/v1/chat/completions?x=1", "/api/v1/chat/completions?x=1"),
        (PathRule(PathKind.BASE, "/api/"), "/openai/v1/embeddings", "/api/embeddings"),
        (PathRule(PathKind.BASE, "/api"), "/v1/models/a/b", "/api/models/a/b"),
        (PathRule(PathKind.BASE, "/api"), "/v1/moderations", "/api/moderations"),
        (PathRule(PathKind.BASE, "/api"), "/v1", "/api"),
        (PathRule(PathKind.BASE, "/api"), "/v12/x", "/v12/x"),
        (PathRule(PathKind.BASE, "/api"), "/other", "/other"),
        (PathRule(PathKind.CHAT, "/v1"), "/mistral", "/v1/chat/completions"),
        (PathRule(PathKind.CHAT, "/v1"), "/mistral/anything?x=1", "/v1/chat/completions?x=1"),
        (PathRule(PathKind.CHAT, "/v1"), "/mistral/v1/embeddings", "/v1/embeddings"),
        (PathRule(PathKind.CHAT, "/v1"), "/mistral/models/a/b", "/v1/models/a/b"),
    ],
)
def test_path(rule: PathRule, target: str, outcome: str) -> None:
    """The path is what the path rule says; the query goes on except where a path stands for the whole target."""
    backend = Backend("it", TARGET, path=rule, provider=Provider(ProviderKind.OPENAI))
    assert composed(backend, exchange(target))[0] == f"GET {outcome} HTTP/1.1"


@pytest.mark.parametrize(
    ("matched", "replacement", "path", "outcome"),
    [
        # Gateway API, HTTPPathModifier.replacePrefixMatch: its table
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "", "/foo/", "/"),
        ("/foo", "", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/foo", "/", "/foo", "/"),
        # and what it leaves out
        ("/foo", "/", "/foo/bar", "/bar"),
        ("/foo", "/xyz/", "/foo", "/xyz"),
        ("/foo", "/xyz/", "/foo/", "/xyz/"),
        ("/foo", "/xyz", "/foo/bar/", "/xyz/bar/"),
        ("/foo", "/xyz", "/foo//bar", "/xyz/bar"),
        ("/", "/xyz", "/bar", "/xyz/bar"),
        ("/", "/xyz", "/", "/xyz/"),
        ("/", "/", "/bar/", "/bar/"),
        ("/", "/", "/", "/"),
        ("/", "", "/bar", "/bar"),
        ("/", "", "/", "/"),
        ("/foo/bar", "/xyz", "/foo/bar/foo/bar", "/xyz/foo/bar"),
    ],
)
def test_prefixes(matched: str, replacement: str, path: str, outcome: str) -> None:
    """The matched prefix is swapped in whole segments, with one slash where the two meet; the query stays."""
    backend = Backend("it", TARGET, path=PathRule(PathKind.PREFIX, replacement))
    length = len(matched.rstrip("/"))
    assert composed(backend, exchange(path, prefix=length))[0] == f"GET {outcome} HTTP/1.1"
    assert composed(backend, exchange(path + "?a=/foo", prefix=length))[0] == f"GET {outcome}?a=/foo HTTP/1.1"


def test_a_prefix_needs_a_prefix() -> None:
    """A prefix cannot be swapped on a route that matched otherwise: the request fails, by configuration."""
    with pytest.raises(GatewayError) as caught:
        composed(Backend("it", TARGET, path=PathRule(PathKind.PREFIX, "/x")), exchange("/a"))
    assert caught.value.reason is Reason.FILTER_FAILED


@pytest.mark.parametrize(
    ("backend", "likely"),
    [
        (Backend("it", Target("a", 443)), True),
        (Backend("it", Target("a", 443), tls=BackendTls()), False),
        (Backend("it", Target("a", 80)), False),
        (Backend("it", Target("localhost", 443, unix="/x")), False),
    ],
)
def test_plaintext_443(backend: Backend, likely: bool) -> None:
    """Port 443 without TLS is taken for a slip."""
    assert upstream(backend).plaintext_443 is likely
