"""Routes by the model that a call names, and the list of models, through a whole gateway."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.http.calls import answer, ask, call, silent
from tests.http.conftest import Connect, Line, StartLine, StartUpstream, served_by
from tests.http.wire import Message, Upstream, each
from tests.ports import free_port
from torana.model.backend import Backend, BackendRef, Provider, ProviderKind, Target, alone
from torana.model.policy import (
    BodyBuffer,
    Buffer,
    DirectResponse,
    HeaderModifier,
    RateLimit,
    Retry,
    RoutePolicies,
    Timeout,
)
from torana.model.route import ModelRoute, Route, ValueMatch

CHAT = b"/v1/chat/completions"


class Models(NamedTuple):
    """A route whose every model is served by the same upstream, which tells them apart by `x-entry`."""

    line: Line
    provider: Upstream
    connect: Connect

    async def ask(self, request: bytes) -> Message:
        return await ask(self.line, self.connect, request)

    async def entry(self, request: bytes) -> str:
        """Which of the models took a request: their backends are told apart by a header."""
        got = await self.ask(request)
        assert got.status == 200, got.body
        return (self.provider.requests[-1].value(b"x-entry") or b"").decode()


def served(port: int, entry: str, model: str | None = None) -> Backend:
    return Backend(
        entry,
        Target("127.0.0.1", port),
        provider=Provider(ProviderKind.CUSTOM, model),
        request_headers=HeaderModifier(set=(("x-entry", entry),)),
    )


def route(*models: ModelRoute, **members: Any) -> Route:
    return Route("llm", models=models, **members)


def chat(model: object, fields: bytes = b"", **members: object) -> bytes:
    return call(json.dumps({"model": model, "messages": [], **members}).encode(), CHAT, fields)


def get(path: str, fields: bytes = b"", method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, path.encode(), fields)


@pytest.fixture
async def models(line: StartLine, upstream: StartUpstream, connect: Connect) -> Models:
    """Exact names, patterns, one name with headers, one with conditions, and one for everything else with a header."""
    provider = await upstream(each(answer()))

    def entry(name: str, told: str = "", **members: Any) -> ModelRoute:
        return ModelRoute(name, (alone(served(provider.port, told or name)),), **members)

    started = await served_by(
        line,
        route(
            entry("gpt-*"),
            entry("gpt-4*"),
            entry("*-mini"),
            entry("gpt-4o"),
            entry("team/own"),
            entry("m", "m for a", headers=(ValueMatch("x-team", "a"),)),
            entry("m", "m for others", headers=(ValueMatch("x-team", "[b-z]+", regex=True),)),
            entry("smart", "long", condition="size(llmRequest.messages) > 1", virtual=True),
            entry("smart", "paid", condition='request.headers["x-plan"] == "paid"', virtual=True),
            entry("*", headers=(ValueMatch("x-any", "1"),)),
        ),
    )
    return Models(started, provider, connect)


@pytest.mark.parametrize(
    ("model", "fields", "entry"),
    [
        ("gpt-4o", b"", "gpt-4o"),
        ("gpt-4.1", b"", "gpt-4*"),
        ("gpt-5", b"", "gpt-*"),
        ("gpt-4-mini", b"", "gpt-4*"),
        ("o4-mini", b"", "*-mini"),
        ("team/own", b"", "team/own"),
        ("m", b"X-Team: a\r\n", "m for a"),
        ("m", b"X-Team: bcd\r\n", "m for others"),
        ("m", b"X-Any: 1\r\n", "*"),
        ("else", b"X-Any: 1\r\n", "*"),
        ("smart", b"X-Plan: paid\r\n", "paid"),
    ],
)
async def test_which_takes_it(model: str, fields: bytes, entry: str, models: Models) -> None:
    """An exact name comes first, then the pattern that spells out most, each with all that must hold beside it."""
    assert await models.entry(chat(model, fields)) == entry
    assert models.provider.requests[-1].body == chat(model, fields).partition(b"\r\n\r\n")[2]
    await models.line.logged(f"route=llm/{entry if 'for' not in entry and entry != 'paid' else model} ")


async def test_a_condition_on_the_body(models: Models) -> None:
    """A condition may ask for the body of the call; the first that holds counts."""
    request = call(b'{"model":"smart","messages":[1,2]}', CHAT, b"X-Plan: paid\r\n")
    assert await models.entry(request) == "long"


@pytest.mark.parametrize("fields", [b"", b"X-Plan: free\r\nX-Any: 1\r\n"])
async def test_no_condition_holds(fields: bytes, models: Models) -> None:
    """A virtual model of which nothing takes a call is a 400; no pattern takes its name instead."""
    got = await models.ask(chat("smart", fields))
    assert (got.status, got.value(b"x-should-retry")) == (400, b"false")
    assert json.loads(got.body)["error"]["code"] == "virtual_model_no_matching_target"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gtp-4o", "'gtp-4o' does not exist here. Did you mean 'gpt-4o'"),
        ("m", "'m' is not for this request: none of its `matches` fits."),
        ("zzz", "does not exist here. There are: gpt-*, gpt-4*, *-mini, gpt-4o, team/own, m, smart, *."),
        ("z" * 300, "z" * 200 + "…'"),
    ],
)
async def test_no_such_model(model: str, words: str, models: Models) -> None:
    """A model that is not there is a 404 that names the nearest; one that is not for this request says so."""
    got = await models.ask(chat(model))
    assert (got.status, got.value(b"x-should-retry")) == (404, b"false")
    error = json.loads(got.body)["error"]
    assert (error["code"], error["param"], error["type"]) == ("model_not_found", "model", "invalid_request_error")
    assert words in error["message"]


async def test_no_such_model_for_messages(models: Models) -> None:
    """On a path of Messages that is Anthropic's not_found_error."""
    got = await models.ask(call(b'{"model":"zzz"}', b"/v1/messages"))
    assert (got.status, json.loads(got.body)["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"messages":[]}', "missing_model"),
        (b'{"model":""}', "missing_model"),
        (b'{"model":null}', "missing_model"),
        (b'{"model":7}', "invalid_model"),
        (b"[]", "invalid_request_body"),
        (b'{"model":"gpt-4o"', "invalid_request_body"),
    ],
)
async def test_a_call_that_names_none(body: bytes, code: str, models: Models) -> None:
    """What names no model, or is no JSON object, is refused with the code that agentgateway has for it."""
    got = await models.ask(call(body, CHAT))
    assert (got.status, json.loads(got.body)["error"]["code"]) == (400, code)
    assert not models.provider.requests


# where a model may be named


def form(*parts: tuple[str, bytes]) -> bytes:
    pieces = [b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (n.encode(), v) for n, v in parts]
    return call(
        b"".join(pieces) + b"--b--\r\n",
        b"/v1/audio/transcriptions",
        b"Content-Type: multipart/form-data; boundary=b\r\n",
    )


@pytest.mark.parametrize(
    "request_",
    [
        form(("model", b"gpt-4o"), ("file", b"x" * 100_000)),
        form(("file", b"x" * 1000), ("model", b"gpt-4o")),
        get("/v1/realtime?x=1&model=gpt-4o"),
        call(b'{"model":"gpt-4o"}', b"/v1/something/new", b"Content-Type: application/json\r\n"),
        call(b'{"model":"gpt-4o"}', b"/v1/images/edits", b"Content-Type: application/json\r\n"),
    ],
    ids=["form", "form with its model last", "query", "unknown path", "JSON instead of a form"],
)
async def test_where_a_model_is_named(request_: bytes, models: Models) -> None:
    """A form, a query and the body of an operation that is not known yet are routed by their model too."""
    assert await models.entry(request_) == "gpt-4o"
    sent = models.provider.requests[-1]
    assert sent.body == request_.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "request_",
    [
        call(b'{"model":"gpt-5","Model":"evil"}', CHAT),
        call(b'{"model":"evil","model":"gpt-5"}', CHAT),
        get("/v1/realtime?model=gpt-5&model=evil"),
        form(("model", b"gpt-5"), ("model", b"evil")),
    ],
    ids=["look-alike", "twice", "query", "form"],
)
async def test_no_other_model_is_asked(request_: bytes, models: Models) -> None:
    """What a pattern let through is all that the provider can read."""
    assert await models.entry(request_) == "gpt-*"
    sent = models.provider.requests[-1]
    assert b"evil" not in sent.start + sent.body


@pytest.mark.parametrize(
    "request_",
    [
        get("/v1/files"),
        get("/v1/responses/r1"),
        call(b"data", b"/v1/files", b"Content-Type: multipart/form-data; boundary=b\r\n"),
        call(b"[1]", b"/v1/something/new", b"Content-Type: application/json\r\n"),
        call(b"text", b"/v1/something/new", b"Content-Type: text/plain\r\n"),
        call(b'{"input":"x"}', b"/v1/moderations"),
    ],
    ids=["files", "by id", "upload", "no object", "text", "moderations"],
)
async def test_requests_without_a_model(request_: bytes, models: Models) -> None:
    """What names no model goes where any model does, or nowhere."""
    got = await models.ask(request_)
    assert (got.status, json.loads(got.body)["error"]["code"]) == (400, "missing_model")
    head, _, body = request_.partition(b"\r\n\r\n")
    assert await models.entry(head + b"\r\nX-Any: 1\r\n\r\n" + body) == "*"
    assert models.provider.requests[-1].body == body


# the list


async def test_the_list_of_models(models: Models) -> None:
    """All names in the order of the configuration, each once, patterns as they are written; HEAD has no body."""
    for path in ("/v1/models", "/models", "/v1/models/"):
        got = await models.ask(get(path))
        listed = json.loads(got.body)
        assert (got.status, got.value(b"content-type"), listed["object"]) == (200, b"application/json", "list")
        assert [each["id"] for each in listed["data"]] == [
            "gpt-*", "gpt-4*", "*-mini", "gpt-4o", "team/own", "m", "smart", "*",
        ]  # fmt: skip
        assert {each["object"] for each in listed["data"]} == {"model"}
    wire = await models.connect(models.line.port)
    await wire.send(get("/v1/models", method=b"HEAD"))
    assert (await wire.message(bodiless=True)).status == 200
    assert not models.provider.requests


@pytest.mark.parametrize("name", ["gpt-4o", "team/own", "smart", "gpt-*", "gpt-4.1"])
async def test_one_model(name: str, models: Models) -> None:
    """One model by its name, escaped or not; one that a pattern takes is told as asked for."""
    for path in (f"/v1/models/{name}", f"/v1/models/{quote(name, safe='')}"):
        got = await models.ask(get(path))
        assert (got.status, json.loads(got.body)["id"]) == (200, name)


async def test_a_model_that_is_not_listed(models: Models) -> None:
    """Any other name is a 404 with the nearest; a pattern with `matches` takes names of requests that fit."""
    got = await models.ask(get("/v1/models/team/owm"))
    assert got.status == 404
    assert "'team/own'" in json.loads(got.body)["error"]["message"]
    assert (await models.ask(get("/v1/models/team/owm", b"X-Any: 1\r\n"))).status == 200


# what a model has of its own, and what of the route


async def test_headers_of_a_model(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A model's rules on headers and those of its route both hold, both ways."""
    provider = await upstream(each(answer(fields=b"X-A: up\r\nX-B: up\r\n")))
    own = RoutePolicies(
        request_headers=HeaderModifier(set=(("x-1", "model"),)),
        response_headers=HeaderModifier(set=(("x-a", "model"),)),
    )
    outer = RoutePolicies(
        request_headers=HeaderModifier(set=(("x-2", "route"),)),
        response_headers=HeaderModifier(set=(("x-b", "route"),)),
    )
    model = ModelRoute("m", (alone(served(provider.port, "m")),), policies=own)
    started = await served_by(line, route(model, policies=outer))
    got = await ask(started, connect, chat("m"))
    sent = provider.requests[0]
    assert (sent.value(b"x-1"), sent.value(b"x-2")) == (b"model", b"route")
    assert (got.value(b"x-a"), got.value(b"x-b")) == (b"model", b"route")
    listed = await ask(started, connect, get("/v1/models"))
    assert listed.value(b"x-b") == b"route"


async def test_policies_of_a_model(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A model's own policies run after those of the route: a limit on its bodies, an answer of its own."""
    provider = await upstream(each(answer()))
    small = RoutePolicies(buffer=Buffer(request=BodyBuffer(40)))
    direct = RoutePolicies(direct_response=DirectResponse(418, "tea"))
    started = await served_by(
        line,
        route(
            ModelRoute("small", (alone(served(provider.port, "small")),), policies=small),
            ModelRoute("direct", (alone(served(provider.port, "direct")),), policies=direct),
        ),
    )
    assert (await ask(started, connect, chat("small"))).status == 200
    assert (await ask(started, connect, chat("small", user="x" * 40))).status == 413
    got = await ask(started, connect, chat("direct"))
    assert (got.status, got.body) == (418, b"tea")
    assert len(provider.requests) == 1


async def test_the_routes_limits_hold_for_all_models(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A rate limit of the route counts the calls of every model together, and is told to each client."""
    provider = await upstream(each(answer()))
    limits = RoutePolicies(rate_limits=(RateLimit(2, 2, 3600),))
    names = ("a", "b", "c")
    entries = [ModelRoute(name, (alone(served(provider.port, name)),)) for name in names]
    started = await served_by(line, route(*entries, policies=limits))
    answers = [await ask(started, connect, chat(name)) for name in names]
    assert [each.status for each in answers] == [200, 200, 429]
    assert [each.value(b"x-ratelimit-remaining") for each in answers] == [b"1", b"0", b"0"]
    assert answers[2].value(b"retry-after") is not None
    assert answers[2].value(b"x-should-retry") is None


async def test_retries(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A model without rules on retries has those of its route; one with its own has these."""
    provider = await upstream(each(answer(500), answer(500), answer(), answer(500), answer()))
    outer = RoutePolicies(retry=Retry(attempts=2, backoff=0.001, budget=1))
    own = RoutePolicies(retry=Retry(attempts=0))
    started = await served_by(
        line,
        route(
            ModelRoute("inherits", (alone(served(provider.port, "a")),)),
            ModelRoute("own", (alone(served(provider.port, "b")),), policies=own),
            policies=outer,
        ),
    )
    assert (await ask(started, connect, chat("inherits"))).status == 200
    assert len(provider.requests) == 3
    assert (await ask(started, connect, chat("own"))).status == 500


async def test_timeouts(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """The time a route gives its calls is that of its models, unless they have their own."""
    provider = await upstream(silent)
    own = RoutePolicies(timeout=Timeout(request=0.2))
    started = await served_by(
        line,
        route(
            ModelRoute("inherits", (alone(served(provider.port, "a")),)),
            ModelRoute("own", (alone(served(provider.port, "b")),), policies=own),
            policies=RoutePolicies(timeout=Timeout(request=0.1)),
        ),
    )
    for model, limit in (("inherits", b"0.1"), ("own", b"0.2")):
        got = await ask(started, connect, chat(model))
        assert got.status == 504
        assert limit in got.body


async def test_weights(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A virtual model divides its calls by weight; each target gets its own model."""
    provider = await upstream(each(answer()))
    refs = (alone(served(provider.port, "a", "model-a"), 3), alone(served(provider.port, "b", "model-b"), 1))
    started = await served_by(line, route(ModelRoute("mixed", refs, virtual=True)))
    for _ in range(200):  # by chance the fewer are not half of them: that would be eight standard deviations off
        assert (await ask(started, connect, chat("mixed"))).status == 200
    counted = Counter(json.loads(each.body)["model"] for each in provider.requests)
    assert counted["model-a"] > counted["model-b"] > 0


async def test_failover(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A virtual model goes to its next target when one cannot be reached."""
    provider = await upstream(each(answer()))
    groups = ((served(free_port(), "a", "model-a"),), (served(provider.port, "b", "model-b"),))
    started = await served_by(line, route(ModelRoute("safe", (BackendRef(groups),), virtual=True)))
    assert (await ask(started, connect, chat("safe"))).status == 200
    assert json.loads(provider.requests[0].body)["model"] == "model-b"
    await started.logged("gen_ai.request.model=model-b")


@pytest.mark.parametrize("request_", [call(), form(("file", b"x" * 1000), ("model", b"mine"))], ids=["JSON", "form"])
async def test_a_client_that_is_late(
    request_: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """The time for an answer holds while the model is looked for: no provider is asked for what nobody waits for."""
    provider = await upstream(each(answer()))
    policies = RoutePolicies(timeout=Timeout(request=0.2))
    names = (ModelRoute(name, (alone(served(provider.port, name)),)) for name in ("mine", "other"))
    started = await served_by(line, route(*names, policies=policies))
    got = await ask(started, connect, request_[:-60])
    assert (got.status, json.loads(got.body)["error"]["code"]) == (408, "request_timeout")
    assert not provider.requests
