"""What each operation's answer tells of usage is counted, in whichever form it comes; what tells none passes unread."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import pytest

from tests.http.calls import ask, in_order, llm, once
from tests.http.conftest import Connect, StartLine, StartUpstream
from tests.http.wire import Script, Upstream, Wire, each, until
from torana.model.backend import Backend, Provider, ProviderKind, Target
from torana.model.config import Limits

_JSON = b"application/json"
_EVENTS = b"text/event-stream; charset=utf-8"
_FORM = b"multipart/form-data; boundary=b"
_TOKENS = {"input_tokens": 14, "output_tokens": 5, "total_tokens": 19}


def _form(*fields: tuple[str, str]) -> bytes:
    parts = (f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields)
    return "".join((*parts, "--b--\r\n")).encode()


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


class Told(NamedTuple):
    """An exchange: the path, the request's body, the answer's kind and body, and the tokens in and out of it."""

    path: bytes
    asked: bytes
    kind: bytes
    answer: bytes
    tokens: tuple[int, int] | None


_AUDIO = _form(("model", "m"), ("file", "RIFF"))
_CALL = b'{"model":"m","input":"x"}'
_PNG = {"created": 1, "data": [{"b64_json": "iVBORw0KGgo="}]}

TOLD = {
    "embeddings": Told(
        b"/v1/embeddings", _CALL, _JSON,
        b'{"object":"list","data":[{"embedding":[0.1,0.2]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}',
        (8, 0),
    ),
    "responses": Told(
        b"/v1/responses", _CALL, _JSON, json.dumps({"object": "response", "output": [], "usage": _TOKENS}).encode(),
        (14, 5),
    ),
    "responses, compacted": Told(
        b"/v1/responses/compact", _CALL, _JSON,
        json.dumps({"object": "response.compaction", "output": [], "usage": _TOKENS}).encode(),
        (14, 5),
    ),
    "rerank of Cohere, by searches": Told(
        b"/v2/rerank", b'{"model":"m","query":"q","documents":["d"]}', _JSON,
        b'{"results":[{"index":0,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}', None,
    ),
    "rerank of Jina": Told(
        b"/v1/rerank", b'{"model":"m","query":"q","documents":["d"]}', _JSON,
        b'{"model":"jina-reranker-v3","usage":{"total_tokens":815},"results":[]}', (815, 0),
    ),
    "images": Told(
        b"/v1/images/generations", b'{"model":"m","prompt":"a cat"}', _JSON,
        json.dumps({**_PNG, "usage": {**_TOKENS, "input_tokens_details": {"text_tokens": 14}}}).encode(), (14, 5),
    ),
    "images without usage": Told(
        b"/v1/images/generations", b'{"model":"m","prompt":"a cat"}', _JSON, json.dumps(_PNG).encode(), None,
    ),
    "an edited image": Told(
        b"/v1/images/edits", _form(("model", "m"), ("image", "PNG")), _JSON,
        json.dumps({**_PNG, "usage": _TOKENS}).encode(), (14, 5),
    ),
    "an edited image, streamed": Told(
        b"/v1/images/edits", _form(("model", "m"), ("stream", "true")), _EVENTS,
        _event("image_edit.partial_image", b64_json="iVBO") + _event("image_edit.completed", usage=_TOKENS), (14, 5),
    ),
    "a transcription": Told(
        b"/v1/audio/transcriptions", _AUDIO, _JSON,
        json.dumps({"text": "hello", "usage": {"type": "tokens", **_TOKENS}}).encode(), (14, 5),
    ),
    "a transcription by its length": Told(
        b"/v1/audio/transcriptions", _AUDIO, _JSON, b'{"text":"hello","usage":{"type":"duration","seconds":9}}', None,
    ),
    "a transcription as text": Told(b"/v1/audio/transcriptions", _AUDIO, b"text/plain", b"hello\n", None),
    "a transcription, streamed": Told(
        b"/v1/audio/transcriptions", _AUDIO, _EVENTS,
        _event("transcript.text.delta", delta="hello") + _event("transcript.text.done", text="hello", usage=_TOKENS),
        (14, 5),
    ),
    "speech": Told(b"/v1/audio/speech", _CALL, b"audio/mpeg", b'{"usage":{"prompt_tokens":9}}', None),
    "speech, streamed": Told(
        b"/v1/audio/speech", _CALL, _EVENTS,
        _event("speech.audio.delta", audio="UklG") + _event("speech.audio.done", usage=_TOKENS), (14, 5),
    ),
    "a moderation": Told(b"/v1/moderations", b'{"input":"x"}', _JSON, b'{"id":"m","model":"om","results":[]}', None),
    "a file": Told(b"/v1/files", _form(("purpose", "batch")), _JSON, b'{"id":"f","usage":{"prompt_tokens":1}}', None),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
async def test_usage(name: str, line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Tokens are in the log as the answer tells them, and the answer is what the upstream sent."""
    told = TOLD[name]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (told.kind, len(told.answer))
    provider = await upstream(each(head + told.answer))
    started = await line(provider.port)
    kind = _FORM if told.asked.startswith(b"--b") else _JSON
    answer = await ask(started, connect, _post(told.path, kind, told.asked))
    assert (answer.status, answer.body) == (200, told.answer)
    assert provider.requests[0].body == told.asked
    await started.logged("http.status=200")
    text = started.log.read_text()
    if told.tokens is None:
        assert "gen_ai.usage" not in text
    else:
        assert f"gen_ai.usage.input_tokens={told.tokens[0]} gen_ai.usage.output_tokens={told.tokens[1]}" in text
    if kind is _FORM and told.path != b"/v1/files":
        assert "gen_ai.request.model=m " in text


def _post(path: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (path, kind, len(body)) + body


async def test_a_form_that_is_here_goes_elsewhere(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A form that came at once can be sent again, each time with the model that the endpoint wants."""
    bad, good = await upstream(once(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")), await upstream(each(_OK))
    started = await line(shares=in_order(_with_model(bad.port, "one"), _with_model(good.port, "two")))
    asked = _post(b"/v1/audio/transcriptions", _FORM, _AUDIO)
    assert (await ask(started, connect, asked)).status == 200
    assert bad.requests[0].body == _form(("model", "one"), ("file", "RIFF"))
    assert good.requests[0].body == _form(("model", "two"), ("file", "RIFF"))
    await started.logged("gen_ai.request.model=two")


@pytest.mark.parametrize("kind", [b"application/x-www-form-urlencoded", _FORM + b"; boundary=c"])
async def test_a_body_that_no_model_can_be_set_in(
    kind: bytes, line: StartLine, upstream: StartUpstream, connect: Connect
) -> None:
    """What is neither JSON nor a form beyond doubt goes nowhere when the configuration says the model."""
    provider = await upstream(each(_OK))
    started = await line(shares=in_order(_with_model(provider.port, "one")))
    answer = await ask(started, connect, _post(b"/v1/audio/transcriptions", kind, _AUDIO))
    assert (answer.status, provider.requests) == (400, [])
    assert b"one boundary" in answer.body


_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def _with_model(port: int, model: str) -> Backend:
    return Backend(f"up{port}", Target("127.0.0.1", port), provider=Provider(ProviderKind.OPENAI, model))


_LONGER = _form(("model", "m"), ("file", "RIFF" * 10))  # its end is held until it is known to be none of a delimiter


async def test_a_form_that_streams_is_spent(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """Of a form too long to be kept nothing is, so its first answer is the answer."""
    refused = asyncio.Event()

    def refusing(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            provider.requests.append(await wire.head())
            assert b"RIFF" in await wire.some()
            await wire.send(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno")
            refused.set()
            await wire.rest()

        return script

    bad, other = await upstream(refusing), await upstream(each(_OK))
    started = await line(shares=in_order(llm(bad.port), llm(other.port)), limits=Limits(max_body_bytes=16))
    wire = await connect(started.port)
    await wire.send(_post(b"/v1/audio/transcriptions", _FORM, _LONGER)[:-10])
    async with asyncio.timeout(5):
        await refused.wait()
    answer = await wire.message()
    assert (answer.status, answer.body) == (503, b"no")
    assert not other.requests
    assert bad.requests[0].value(b"content-length") == b"%d" % len(_LONGER)


async def test_a_form_streams_on(line: StartLine, upstream: StartUpstream, connect: Connect) -> None:
    """A form is not gathered: what has come of it is on its way, chunked where a model is set in it."""
    got: list[bytes] = []

    def make(provider: Upstream) -> Script:
        async def script(wire: Wire) -> None:
            provider.requests.append(await wire.head())
            while b"0\r\n\r\n" not in (piece := await wire.some()):
                got.append(piece)
            got.append(piece)
            await wire.send(_OK)

        return script

    provider = await upstream(make)
    started = await line(backend=_with_model(provider.port, "large"))
    wire = await connect(started.port)
    asked = _post(b"/v1/audio/transcriptions", _FORM, _LONGER)
    await wire.send(asked[:-10])
    await until(lambda: b"RI" in b"".join(got))
    await wire.send(asked[-10:])
    assert (await wire.message()).status == 200
    assert b"large" in b"".join(got)
    assert provider.requests[0].value(b"transfer-encoding") == b"chunked"
    assert provider.requests[0].value(b"content-length") is None
    await started.logged("gen_ai.request.model=large")
