"""The list of models of a route whose rules say that a path is one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.http.calls import answer, ask, closed, silent
from tests.http.conftest import Connect, Line, StartLine, StartUpstream, routed, served_by
from tests.http.wire import Message, Script, Upstream, Wire, each
from tests.ports import free_port
from torana.model.backend import Backend, Provider, ProviderKind, Target, alone
from torana.model.policy import BackendAuth, PathKind, PathRule, RoutePolicies, Timeout
from torana.model.route import OperationRule, Route
from torana.model.secret import Secret
from torana.proxy import model_list

RULES = (OperationRule("/models", "models"), OperationRule("*", "passthrough"))
LISTED = answer(body=b'{"object":"list","data":[{"id":"a","owned_by":"x","new":[1.0]},{"id":"b"}]}')


def backend(port: int, name: str, kind: ProviderKind = ProviderKind.CUSTOM, **members: Any) -> Backend:
    provider = Provider(kind, members.pop("model", None), aliases=members.pop("aliases", ()))
    return Backend(name, Target("127.0.0.1", port), provider=provider, **members)


def route(*backends: Backend, operations: tuple[OperationRule, ...] = RULES) -> Route:
    return Route("r", backends=tuple(map(alone, backends)), operations=operations)


def get(path: bytes = b"/v1/models", fields: bytes = b"", method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, path, fields)


def ids(message: Message) -> list[str]:
    return [model["id"] for model in json.loads(message.body)["data"]]


async def test_a_merged_list(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Models that are set and exact aliases come from the configuration, others as upstreams say them, each id once."""
    first, second = await upstream(each(LISTED)), await upstream(each(answer(body=b'[{"id":"b","of":2},{"id":"c"}]')))
    started = await served_by(
        line,
        route(
            backend(1, "set", model="gpt"),
            backend(first.port, "first", aliases=(("fast", "a"), ("x-*", "a"))),
            backend(second.port, "second"),
            Backend("plain", Target("127.0.0.1", 1)),
        ),
    )
    got = await ask(started, connect, get())
    assert (got.status, got.value(b"content-type")) == (200, b"application/json")
    assert got.value(b"x-torana-partial") is None
    assert ids(got) == ["gpt", "fast", "a", "b", "c"]
    assert b'{"id":"a","owned_by":"x","new":[1.0]},{"id":"b"}' in got.body
    assert json.loads(got.body)["object"] == "list"
    await started.logged("protocol=llm ")
    await started.logged("reason=DirectResponse ")


async def test_the_form_of_anthropic(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Anthropic's SDK gets its list's form; Anthropic is asked for all at once, with its version and key."""
    claude = await upstream(each(answer(body=b'{"data":[{"type":"model","id":"c1"}],"has_more":false}')))
    auth = BackendAuth(Secret("own"), name="x-api-key", prefix="")
    started = await served_by(line, route(backend(claude.port, "up", ProviderKind.ANTHROPIC, auth=auth)))
    got = await ask(started, connect, get(fields=b"anthropic-version: 2023-06-01\r\nx-api-key: client\r\n"))
    assert json.loads(got.body) == {
        "data": [{"type": "model", "id": "c1"}], "has_more": False, "first_id": "c1", "last_id": "c1",
    }  # fmt: skip
    sent = claude.requests[0]
    assert sent.start == b"GET /v1/models?limit=1000 HTTP/1.1"
    assert (sent.value(b"x-api-key"), sent.value(b"anthropic-version")) == (b"own", b"2023-06-01")


@pytest.mark.parametrize(
    ("rule", "sent"),
    [
        (PathRule(PathKind.BASE, "/openai/v1"), b"/openai/v1/models"),
        (PathRule(PathKind.OVERRIDE, "/x/chat/completions?api-version=1"), b"/x/models?api-version=1"),
        (PathRule(PathKind.KEEP), b"/v1/models"),
    ],
)
async def test_where_upstreams_are_asked(
    rule: PathRule, sent: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Whatever path the list has here, an upstream is asked below its own base, and the client's query stays here."""
    provider = await upstream(each(LISTED))
    rules = (OperationRule("/catalogue", "models"),)
    started = await served_by(line, route(backend(provider.port, "up", path=rule), operations=rules))
    assert ids(await ask(started, connect, get(b"/catalogue?after=1"))) == ["a", "b"]
    assert provider.requests[0].start == b"GET " + sent + b" HTTP/1.1"


async def test_a_list_is_kept(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A list is asked for once, by many clients at the same time and after a reload too; HEAD gets its head."""
    provider = await upstream(each(LISTED, LISTED))
    served = route(backend(provider.port, "up"))
    started = await served_by(line, served)
    await asyncio.gather(*(ask(started, connect, get(fields=b"x-n: %d\r\n" % n)) for n in range(5)))
    await started.apply(routed(started.config, msgspec.structs.replace(served, name="other")))
    assert ids(await ask(started, connect, get())) == ["a", "b"]
    wire = await connect(started.port)
    await wire.send(get(method=b"HEAD"))
    assert (await wire.message(bodiless=True)).status == 200
    assert len(provider.requests) == 1


async def test_an_old_list(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too old is asked for again."""
    monkeypatch.setattr(model_list, "_KEPT", 0.0)
    provider = await upstream(each(LISTED, answer(body=b'{"data":[]}')))
    started = await served_by(line, route(backend(provider.port, "up")))
    assert [ids(await ask(started, connect, get())) for _ in range(2)] == [["a", "b"], []]


async def test_lists_of_clients_with_keys(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Where clients' own keys go on, none gets what another's key shows; how many lists are kept is bounded."""
    provider = await upstream(each(*(answer(body=b'[{"id":"%d"}]' % number) for number in range(20))))
    started = await served_by(line, route(backend(provider.port, "up")))
    for number in [*range(20), 19]:
        got = await ask(started, connect, get(fields=b"Authorization: Bearer k%d\r\n" % number))
        assert ids(got) == [str(number)]
        assert provider.requests[-1].value(b"authorization") == b"Bearer k%d" % number
    assert [len(endpoint.listings) for endpoint in endpoints(started)] == [8]


def endpoints(line: Line) -> list[Any]:
    return [*line.worker._runtime._endpoints.values()]


async def test_a_partial_list(
    line: StartLine, upstream: StartUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstreams that fail, are late or say no list are named in a header and the log; they are asked again."""
    monkeypatch.setattr(model_list, "_LONGEST_WAIT", 1.0)
    large = answer(body=b'{"data":[],"x":"' + b"x" * 1_100_000 + b'"}')
    failing = [
        (await upstream(each(answer(401))), "401"),
        (await upstream(each(answer(body=b'{"models":[]}'))), "bad_upstream_answer"),
        (await upstream(each(answer(body=b'{"data":[1]}'))), "bad_upstream_answer"),
        (await upstream(each(large)), "upstream_answer_too_large"),
        (await upstream(silent), "upstream_timeout"),
        (await upstream(closed), "upstream_closed"),
    ]
    well = await upstream(each(LISTED))
    backends = [backend(provider.port, f"up{number}") for number, (provider, _) in enumerate(failing)]
    started = await served_by(line, route(*backends, backend(well.port, "well")))
    got = await ask(started, connect, get())
    assert (got.status, ids(got)) == (200, ["a", "b"])
    missing = [f"127.0.0.1:{provider.port}" for provider, _ in failing]
    assert got.value(b"x-torana-partial") == b", ".join(b"up%d" % number for number in range(len(failing)))
    told = ", ".join(f"{text} {why}" for text, (_, why) in zip(missing, failing, strict=True))
    await started.logged(f'attempts="{told}"')
    assert ids(await ask(started, connect, get())) == ["a", "b"]
    assert (len(failing[4][0].requests), len(well.requests)) == (2, 1)
    assert all(endpoint.vitals.pending == 0 for endpoint in endpoints(started))


async def test_addresses_are_the_operators(line: StartLine, connect: Connect) -> None:
    """Who is missing is told by name, on one line whatever it is; by address only with `attemptHeaders`."""
    refused = backend(free_port(), "a\r\nb: ü")
    started = await line()
    for shows, told in ((False, b"a%0D%0Ab: %C3%BC"), (True, str(refused.target).encode())):
        settings = msgspec.structs.replace(started.config.settings, attempt_headers=shows)
        await started.apply(msgspec.structs.replace(routed(started.config, route(refused)), settings=settings))
        assert (await ask(started, connect, get())).value(b"x-torana-partial") == told


async def test_a_list_that_is_late(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """No upstream is waited for longer than the route waits for an answer; who is late then is in the next list."""
    go_on = asyncio.Event()

    def late(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            await provider.take(wire)
            await go_on.wait()
            await wire.send(LISTED)

        return script

    slow, well = await upstream(late), await upstream(each(answer(body=b'[{"id":"c"}]')))
    backends = backend(slow.port, "slow"), backend(well.port, "well")
    policies = RoutePolicies(timeout=Timeout(request=1.0))
    started = await served_by(line, msgspec.structs.replace(route(*backends), policies=policies))
    got = await ask(started, connect, get())
    assert (got.status, ids(got)) == (200, ["c"])
    assert got.value(b"x-torana-partial") == b"slow"
    await started.logged("upstream_timeout")
    go_on.set()
    assert sorted(ids(await ask(started, connect, get()))) == ["a", "b", "c"]
    assert len(slow.requests) == 1


@pytest.mark.parametrize(
    ("request_", "rules"),
    [
        (get(), ()),
        (get(), (OperationRule("*", "passthrough"),)),
        (get(b"/v1/models/a"), (OperationRule("*", "models"),)),
        (get(method=b"DELETE"), RULES),
    ],
    ids=["no rules", "passthrough", "one model", "another method"],
)
async def test_what_goes_upstream(
    request_: bytes, rules: tuple[OperationRule, ...], line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Without a rule that says `models`, and for all but the list, the upstream answers as it does any request."""
    provider = await upstream(each(answer(body=b"its own")))
    started = await served_by(line, route(backend(provider.port, "up", model="set"), operations=rules))
    assert (await ask(started, connect, request_)).body == b"its own"
    assert provider.requests[0].start == request_.partition(b"\r\n")[0]
