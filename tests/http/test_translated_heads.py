"""Where a translated call goes, and which of the client's headers and keys go with it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.http.apis import (
    ASKED,
    CHAT,
    CHAT_ASKED,
    COMPLETION,
    COUNT,
    MESSAGE,
    MESSAGES,
    anthropic,
    encoded,
    openai,
    post,
)
from tests.http.calls import answer, ask
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import each
from torana.model.backend import Backend, Format, Provider, ProviderKind, Target
from torana.model.policy import BackendAuth, CredentialPlace, HeaderModifier, PathKind, PathRule
from torana.model.secret import Secret

# paths


class Path(NamedTuple):
    """A path rule, what the client asks for, and what a chat provider gets."""

    rule: PathRule
    asked: bytes
    sent: bytes


PATHS = {
    "as it came": Path(PathRule(), b"/v1/messages", b"/v1/chat/completions"),
    "below a prefix": Path(PathRule(), b"/team/v1/messages?beta=true", b"/team/v1/chat/completions"),
    "spelled oddly": Path(PathRule(), b"/v1//messages/", b"/v1/chat/completions"),
    "a base": Path(PathRule(PathKind.BASE, "/openai/v1"), b"/v1/messages", b"/openai/v1/chat/completions"),
    "no base": Path(PathRule(PathKind.BASE, ""), b"/v1/messages?x", b"/chat/completions"),
    "a base for chat": Path(PathRule(PathKind.CHAT, "/api"), b"/v1/messages", b"/api/chat/completions"),
    "a prefix swapped": Path(PathRule(PathKind.PREFIX, "/x/"), b"/v1/messages", b"/x/v1/chat/completions"),
    "said whole": Path(PathRule(PathKind.FULL, "/y/v1/messages"), b"/v1/messages", b"/y/v1/chat/completions"),
    "said whole, odd": Path(PathRule(PathKind.FULL, "/y"), b"/v1/messages", b"/y"),
    "overridden": Path(PathRule(PathKind.OVERRIDE, "/z?api-version=1"), b"/v1/messages?x", b"/z?api-version=1"),
}


@pytest.mark.parametrize("name", PATHS)
async def test_paths(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A translated call goes to the path of its translation, whatever rule made the client's path."""
    path = PATHS[name]
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    started = await line(backend=openai(provider.port, path=path.rule))
    assert (await ask(started, connect, post(ASKED, path.asked))).status == 200
    assert provider.requests[0].start == b"POST " + path.sent + b" HTTP/1.1"


class OnePath(NamedTuple):
    """A rule that makes one path of all, the provider, what the client asks, and what it gets of it."""

    rule: PathRule
    provider: Provider
    asked: bytes
    sent: bytes
    translated: bool


FULL_CHAT = PathRule(PathKind.FULL, "/y/v1/chat/completions")
ANY = Provider(ProviderKind.CUSTOM)
BOTH = Provider(ProviderKind.CUSTOM, formats=(Format("chat_completions"), Format("messages")))
OPENAI = Provider(ProviderKind.OPENAI)
ONE_PATH = {
    "messages": OnePath(FULL_CHAT, OPENAI, MESSAGES, b"/y/v1/chat/completions", translated=True),
    "responses": OnePath(FULL_CHAT, OPENAI, b"/v1/responses", b"/y/v1/chat/completions", translated=True),
    "chat": OnePath(FULL_CHAT, OPENAI, CHAT + b"?x=1", b"/y/v1/chat/completions?x=1", translated=False),
    "odd": OnePath(FULL_CHAT, OPENAI, b"/else", b"/y/v1/chat/completions", translated=False),
    "overridden": OnePath(
        PathRule(PathKind.OVERRIDE, "/z/chat/completions?v=1"), OPENAI, b"/v1/responses", b"/z/chat/completions?v=1",
        translated=True,
    ),
    "no formats": OnePath(FULL_CHAT, ANY, MESSAGES, b"/y/v1/chat/completions", translated=True),
    "served elsewhere": OnePath(FULL_CHAT, BOTH, MESSAGES, b"/y/v1/chat/completions", translated=True),
    "to messages": OnePath(
        PathRule(PathKind.FULL, "/y/v1/messages"), BOTH, MESSAGES, b"/y/v1/messages?beta=true", translated=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_PATH)
async def test_one_path_for_all(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Where all requests go to one path, a call in another API's words is translated into those of that path."""
    case = ONE_PATH[name]
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    backend = Backend("up", Target("127.0.0.1", provider.port), provider=case.provider, path=case.rule)
    asked = {"model": "m", "input": "Hi"} if case.asked == b"/v1/responses" else ASKED
    got = await ask(await line(backend=backend), connect, post(asked, case.asked))
    (request,) = provider.requests
    assert (got.status, request.start) == (200, b"POST " + case.sent + b" HTTP/1.1")
    assert (request.body != encoded(asked)) == case.translated
    assert (got.body != encoded(COMPLETION)) == case.translated


@pytest.mark.parametrize("provider", [OPENAI, ANY, BOTH], ids=["openai", "any", "both"])
async def test_nothing_else_is_asked_at_one_path(
    provider: Provider, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Where all requests go to chat completions nobody is asked to count: that would be a call, and cost one."""
    chat = await upstream(each(answer(body=encoded(COMPLETION))))
    backend = Backend("up", Target("127.0.0.1", chat.port), provider=provider, path=FULL_CHAT)
    got = await ask(await line(backend=backend), connect, post(ASKED, COUNT))
    assert (got.status, got.body.startswith(b'{"input_tokens":'), chat.requests) == (200, True, [])


async def test_a_path_of_its_own(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider with an unusual path is asked there, natively and by translation; its key in the query stays."""
    provider = await upstream(each(answer(body=encoded(MESSAGE))))
    auth = BackendAuth(Secret("k"), name="key", place=CredentialPlace.QUERY)
    backend = Backend(
        "custom",
        Target("127.0.0.1", provider.port),
        provider=Provider(ProviderKind.CUSTOM, formats=(Format("messages", "/anthropic/v1/messages"),)),
        auth=auth,
    )
    started = await line(backend=backend)
    assert (await ask(started, connect, post(ASKED))).status == 200
    assert (await ask(started, connect, post(CHAT_ASKED, CHAT + b"?x=1", b""))).status == 200
    native, translated = provider.requests
    assert native.start == b"POST /anthropic/v1/messages?beta=true&key=k HTTP/1.1"
    assert translated.start == b"POST /anthropic/v1/messages?key=k HTTP/1.1"
    assert translated.value(b"anthropic-version") == b"2023-06-01"


# keys and other headers

SECRETS = b"Authorization: Bearer a\r\nX-Api-Key: b\r\nApi-Key: c\r\nX-Goog-Api-Key: d\r\n"
OWN = BackendAuth(Secret("own"))


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
async def test_a_clients_keys_stay(path: bytes, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A provider with a key of its own gets no key of the client's, in whatever field; what is configured is sent."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    header = HeaderModifier(set=(("api-key", "configured"),))
    for modifier, expected in ((None, None), (header, b"configured")):
        started = await line(backend=openai(provider.port, auth=OWN, request_headers=modifier))
        assert (await ask(started, connect, post(ASKED, path, SECRETS))).status == 200
        request = provider.requests[-1]
        assert [value for name, value in request.fields if name == b"authorization"] == [b"Bearer own"]
        assert not request.names & {b"x-api-key", b"x-goog-api-key"}
        assert request.value(b"api-key") == expected


class Keys(NamedTuple):
    """What a client sends, and what a provider without a key of its own gets."""

    sent: bytes
    authorization: bytes | None
    key: bytes | None


@pytest.mark.parametrize(
    "keys",
    [
        Keys(b"", None, None),
        Keys(b"X-Api-Key: k\r\n", b"Bearer k", None),
        Keys(b"Authorization: Bearer t\r\n", b"Bearer t", None),
        Keys(b"X-Api-Key: k\r\nAuthorization: Bearer t\r\n", b"Bearer t", None),
    ],
)
async def test_keys_for_a_chat_provider(keys: Keys, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A client's key goes on where the other API has it, when the provider has none of its own."""
    provider = await upstream(each(answer(body=encoded(COMPLETION))))
    started = await line(provider.port)
    await ask(started, connect, post(ASKED, fields=keys.sent))
    request = provider.requests[0]
    assert (request.value(b"authorization"), request.value(b"x-api-key")) == (keys.authorization, keys.key)


@pytest.mark.parametrize(
    "keys",
    [
        Keys(b"", None, None),
        Keys(b"Authorization: bearer sk-1\r\n", None, b"sk-1"),
        Keys(b"Authorization: Bearer sk-ant-oat01-x\r\n", b"Bearer sk-ant-oat01-x", None),
        Keys(b"X-Api-Key: k\r\n", None, b"k"),
        Keys(b"Authorization: Basic x\r\n", b"Basic x", None),
    ],
)
async def test_keys_for_anthropic(keys: Keys, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The same the other way round; OAuth tokens stay where Anthropic takes them."""
    provider = await upstream(each(answer(body=encoded(MESSAGE))))
    started = await line(backend=anthropic(provider.port))
    await ask(started, connect, post(CHAT_ASKED, CHAT, keys.sent))
    request = provider.requests[0]
    assert (request.value(b"authorization"), request.value(b"x-api-key")) == (keys.authorization, keys.key)


async def test_a_get_is_not_translated(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A HEAD of a path of Messages goes on without a body and comes back as it is."""
    provider = await upstream(each(b"HTTP/1.1 405 X\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n"))
    started = await line(provider.port)
    wire = await connect(started.port)
    await wire.send(b"HEAD /v1/messages HTTP/1.1\r\nHost: a\r\n\r\n")
    got = await wire.message(bodiless=True)
    assert (got.status, got.value(b"content-type")) == (405, b"text/plain")
