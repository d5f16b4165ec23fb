"""Bodies far larger than the memory they may take: they pass through a gateway's process, and are never in it."""

from __future__ import annotations

import json
import random
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.routes import ai_route, bind
from tests.e2e.stand_in import StandIn, Visit
from tests.e2e.wire import Connection

_MIB = 1024 * 1024
_PIECE = random.Random(1).randbytes(_MIB)
_UPLOAD = 200  # pieces
_DOWNLOAD = 100
_MOST_MEMORY = 20 * _MIB
_STUCK = 0.2  # seconds without progress after which a sender waits for its receiver

_BOUNDARY = "----a1b2"
_FORM = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def _part(disposition: str, content: str = "") -> bytes:
    return f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}".encode()


def _form(model: str) -> Iterator[bytes]:
    """The model last, where nobody can know it before the file has passed."""
    yield _part('name="language"', "en\r\n")
    yield _part('name="file"; filename="a.wav"')
    for _ in range(_UPLOAD):
        yield _PIECE
    yield b"\r\n" + _part('name="model"', model) + f"\r\n--{_BOUNDARY}--\r\n".encode()


class Told(NamedTuple):
    """A long row of bytes: how many, and their checksum."""

    size: int
    checksum: int

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> Told:
        size = checksum = 0
        for piece in pieces:
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
        return cls(size, checksum)


class Transcriber:
    """Reads a form as it comes, after it has let its sender wait; answers with what a transcription tells."""

    def __init__(self) -> None:
        self.sent = 0
        """How much of the body the client could hand over so far."""
        self.held = 0
        """How much of it that was when nobody had read any."""
        self.told: Told | None = None

    def __call__(self, visit: Visit) -> None:
        self.held = self._still()
        length = visit.seen["content-length"]
        pieces = _of_length(visit, int(length)) if length else iter(visit.reader.chunk, b"")
        self.told = Told.of(pieces)
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
        visit.document(200, {"text": "hello", "usage": usage})

    def _still(self) -> int:
        before = -1
        while before != self.sent:
            before = self.sent
            time.sleep(_STUCK)
        return before

    def send(self, connection: Connection, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            connection.send(piece)
            self.sent += len(piece)


def _of_length(visit: Visit, size: int) -> Iterator[bytes]:
    while size:
        piece = visit.reader.some()
        size -= len(piece)
        yield piece


class Memory:
    """The memory of a process, in bytes: what it had, and the most it had since (proc_pid_status(5))."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew
        self.before = self._read("VmRSS")

    @property
    def grown(self) -> int:
        return self._read("VmHWM") - self.before

    def _read(self, name: str) -> int:
        found = re.search(rf"^{name}:\s*(\d+) kB$", self._status.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


@pytest.fixture
def provider(stand_in: StartStandIn) -> StandIn:
    return stand_in()


def _binds(port: int, model: str) -> str:
    kind = f"openAI: {{model: {model}}}" if model else "openAI: {}"
    return bind([ai_route("x", f'hostOverride: "127.0.0.1:{port}"', provider=kind, matches="{}")])


def _llm(port: int, model: str) -> str:
    """One model that takes any, or one alone with a name."""
    params = f'hostOverride: "127.0.0.1:{port}"' + (f", model: {model}" if model else "")
    name = "warm" if model else "'*'"
    entry = f"{{name: {name}, provider: openAI, params: {{{params}}}}}"
    return f"llm: {{port: $GATEWAY_PORT, models: [{entry}]}}"


def _running(gateway: StartGateway, provider: StandIn, text: str) -> Gateway:
    running = gateway(text)
    with Connection(running.port) as connection:  # what is loaded with the first call is none of the body's
        connection.request("POST", "/v1/chat/completions", None, b'{"model": "warm"}')
        assert connection.answer().status == 200
    provider.forget()
    return running


@pytest.mark.parametrize("written", [_binds, _llm])
@pytest.mark.parametrize("model", ["", "whisper-large-v3-turbo"], ids=["the client's model", "a configured model"])
def test_an_upload(written: Callable[[int, str], str], model: str, gateway: StartGateway, provider: StandIn) -> None:
    """200 MB of audio pass byte for byte but for the model, which the log has, with its length where that stays."""
    running = _running(gateway, provider, written(provider.port, model))
    transcriber = Transcriber()
    provider.script, provider.early = transcriber, True
    sent = Told.of(_form("whisper-1"))
    memory = Memory(running.pid)
    with Connection(running.port) as connection:
        connection.request("POST", "/v1/audio/transcriptions", {**_FORM, "Content-Length": str(sent.size)})
        sending = threading.Thread(target=transcriber.send, args=(connection, _form("whisper-1")))
        sending.start()
        answer = connection.answer()
        sending.join()
    grown = memory.grown
    assert (answer.status, json.loads(answer.body)["text"]) == (200, "hello")
    assert transcriber.told == (Told.of(_form(model)) if model else sent)
    assert transcriber.held < 30 * _MIB, "the client is read no faster than the upstream reads"
    assert grown < _MOST_MEMORY
    seen = provider.one
    assert (seen["content-length"], seen["transfer-encoding"]) == (
        (None, "chunked") if model else (str(sent.size), None)
    )
    line = running.request_line("/v1/audio/transcriptions")
    assert f"gen_ai.request.model={model or 'whisper-1'} " in line
    assert "gen_ai.usage.input_tokens=14 gen_ai.usage.output_tokens=101" in line
    assert f'gen_ai_request_model="{model or "whisper-1"}"' in running.metrics()


def test_a_download(gateway: StartGateway, provider: StandIn) -> None:
    """100 MB of speech, without a length, reach a client that is slow to read."""
    running = _running(gateway, provider, _binds(provider.port, "tts-1"))

    def speak(visit: Visit) -> None:
        visit.begin("audio/mpeg")
        for _ in range(_DOWNLOAD):
            visit.chunk(_PIECE)
        visit.end()

    provider.script = speak
    memory = Memory(running.pid)
    with Connection(running.port) as connection:
        connection.request("POST", "/v1/audio/speech", None, b'{"model": "mine", "input": "Hello", "voice": "alloy"}')
        connection.start()
        time.sleep(2 * _STUCK)  # of not reading
        told = Told.of(iter(connection.reader.chunk, b""))
    assert told == Told.of(_PIECE for _ in range(_DOWNLOAD))
    assert memory.grown < _MOST_MEMORY
    assert json.loads(provider.one.body)["model"] == "tts-1"
