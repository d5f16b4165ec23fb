"""Forms (audio, images) through a whole gateway: which model takes one, and what the configuration changes in it."""

from __future__ import annotations

import json

import pytest

from tests.http.calls import answer, ask, call
from tests.http.conftest import Connect, StartLine, StartUpstream, routed, served_by
from tests.http.test_models import form, route, served
from tests.http.wire import each
from torana.model.backend import Backend, BodyEdits, Provider, ProviderKind, Target, alone
from torana.model.config import Limits
from torana.model.route import ModelRoute, Route

FILE = ("file", b"RIFF" * 50_000)


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


# which model


def serving(port: int, *names: str, model: str | None = None) -> Route:
    return route(*(ModelRoute(name, (alone(served(port, name, model)),)) for name in names))


async def test_a_model_behind_a_long_file(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Where there is a choice, a form's model is looked for behind its files too, where OpenAI's SDKs have it."""
    provider = await upstream(each(answer()))
    started = await served_by(line, serving(provider.port, "*", "whisper-*", "gpt-4o"))
    for model, entry in ((b"whisper-1", b"whisper-*"), (b"gpt-4o", b"gpt-4o"), (b"else", b"*")):
        asked = form(FILE, ("model", model))
        assert (await ask(started, connect, asked)).status == 200
        assert provider.requests[-1].value(b"x-entry") == entry
        assert provider.requests[-1].body == body_of(asked)


@pytest.mark.parametrize("limit", [1_000, 100_000])
async def test_a_model_too_far_behind(limit: int, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """One behind more than may be held is not guessed: the client is told where to put it."""
    provider = await upstream(each(answer()))
    started = await line(limits=Limits(max_body_bytes=limit))
    await started.apply(routed(started.config, serving(provider.port, "*", "whisper-1")))
    got = await ask(started, connect, form(FILE, ("model", b"whisper-1")))
    assert (got.status, json.loads(got.body)["error"]["code"]) == (400, "missing_model")
    assert f"no `model` in its first {limit:,} bytes. Put it before the files" in got.body.decode()
    assert not provider.requests
    assert (await ask(started, connect, form(("model", b"whisper-1"), FILE))).status == 200


@pytest.mark.parametrize(("name", "sent"), [("*", b"mine"), ("whisper-1", b"large-v3")])
async def test_one_model_takes_all(
    name: str, sent: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """Without a choice nothing is held to make one; an only model is what such a form gets."""
    provider = await upstream(each(answer()))
    started = await line(limits=Limits(max_body_bytes=1_000))
    model = "large-v3" if name != "*" else None
    await started.apply(routed(started.config, serving(provider.port, name, model=model)))
    assert (await ask(started, connect, form(FILE, ("model", b"mine")))).status == 200
    assert provider.requests[0].body == body_of(form(FILE, ("model", sent)))
    await started.logged(f"gen_ai.request.model={sent.decode()} ")


# overrides and defaults

EDITS = BodyEdits(
    overrides=(("temperature", "0"), ("language", '"en"'), ("tags", '["a"]'), ("none", "null")),
    defaults=(("response_format", '"verbose_json"'), ("stream", "false"), ("prompt", '"Hi\\n"')),
)


def edited(port: int, model: str | None = None) -> Backend:
    provider = Provider(ProviderKind.OPENAI, model, edits=EDITS)
    return Backend("up", Target("127.0.0.1", port), provider=provider)


async def test_edits(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Overrides replace a form's fields, defaults are added where there is none; lists and null are for JSON alone."""
    provider = await upstream(each(answer()))
    started = await line(backend=edited(provider.port, "m"))
    asked = form(("temperature", b"1"), ("prompt", b"x"), FILE, ("temperature", b"2"), ("model", b"mine"))
    assert (await ask(started, connect, asked)).status == 200
    assert provider.requests[0].body == body_of(
        form(
            ("temperature", b"0"),
            ("prompt", b"x"),
            FILE,
            ("temperature", b"0"),
            ("model", b"m"),
            ("response_format", b"verbose_json"),
            ("stream", b"false"),
            ("language", b"en"),
        )
    )


async def test_edits_of_json_for_an_operation_with_files(
    line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """A JSON body of an operation that takes forms gets all of them."""
    provider = await upstream(each(answer()))
    started = await line(backend=edited(provider.port))
    asked = call(b'{"model":"m","stream":true}', b"/v1/images/edits", b"Content-Type: application/json\r\n")
    assert (await ask(started, connect, asked)).status == 200
    told = json.loads(provider.requests[0].body)
    assert (told["tags"], told["none"], told["stream"], told["prompt"]) == (["a"], None, True, "Hi\n")


async def test_what_nothing_can_be_set_in(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A body that is neither JSON nor a form goes nowhere when the configuration overrides a field."""
    provider = await upstream(each(answer()))
    started = await line(backend=edited(provider.port))
    got = await ask(started, connect, call(b"RIFF", b"/v1/audio/transcriptions", b"Content-Type: audio/wav\r\n"))
    assert (got.status, provider.requests) == (400, [])
