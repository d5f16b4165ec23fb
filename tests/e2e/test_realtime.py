"""OpenAI's own realtime client in a session with a scripted server, through the gateway in a process of its own."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.realtime import RealtimeConversationItemUserMessageParam
from websockets.exceptions import ConnectionClosedError
from websockets.http11 import Request
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.e2e.conftest import StartGateway
from tests.e2e.routes import ai_route, bind

_WORDS = ("Hel", "lo ", "there")
_TEXT: RealtimeConversationItemUserMessageParam = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Say hello."}],
}


class Realtime:
    """A session as OpenAI's server leads it: `received` are the client's events, `requests` how it came."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.port = 0

    def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.requests.append(socket.request)
        session = {"type": "realtime", "model": "gpt-realtime"}
        _tell(socket, "session.created", session=session)
        for message in socket:
            event = json.loads(message)
            self.received.append(event)
            match event["type"]:
                case "session.update":
                    _tell(socket, "session.updated", session=session | event["session"])
                case "response.create":
                    self._respond(socket)

    def _respond(self, socket: ServerConnection) -> None:
        place = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
        for word in _WORDS:
            _tell(socket, "response.output_text.delta", delta=word, **place)
        _tell(socket, "response.output_text.done", text="".join(_WORDS), **place)
        usage = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
        _tell(socket, "response.done", response={"id": "r1", "status": "completed", "usage": usage})


def _tell(socket: ServerConnection, kind: str, **members: Any) -> None:
    socket.send(json.dumps({"type": kind, "event_id": "e1", **members}))


@pytest.fixture
def realtime() -> Iterator[Realtime]:
    """The server, on a free port."""
    script = Realtime()
    with serve(script, "127.0.0.1", 0) as server:
        script.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield script
        server.shutdown()
        thread.join()


def test_a_session(realtime: Realtime, gateway: StartGateway) -> None:
    """A session is set up, a text goes in, its answer comes in deltas, with the configuration's model and key."""
    policies = "backendAuth: {key: sk-ours}"
    host = f'hostOverride: "127.0.0.1:{realtime.port}"'
    running = gateway(bind([ai_route("x", host, policies, "openAI: {model: gpt-realtime}", "{}")]))
    client = openai.OpenAI(api_key="sk-theirs", base_url=f"{running.base_url}/v1")
    heard = []
    with client.realtime.connect(model="mine") as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        updated = connection.recv()
        assert updated.type == "session.updated"
        connection.conversation.item.create(item=_TEXT)
        connection.response.create()
        for event in connection:
            if event.type == "response.output_text.delta":
                heard.append(event.delta)
            if event.type == "response.done":
                break
    assert heard == list(_WORDS)
    assert [event["type"] for event in realtime.received] == [
        "session.update", "conversation.item.create", "response.create"
    ]  # fmt: skip
    (request,) = realtime.requests
    assert request.path == "/v1/realtime?model=gpt-realtime"
    assert request.headers["Authorization"] == "Bearer sk-ours"
    line = running.request_line("/v1/realtime")
    assert "http.status=101" in line
    assert "gen_ai.operation.name=realtime" in line
    assert "gen_ai.request.model=gpt-realtime" in line
    assert "reason=" not in line


@pytest.mark.parametrize("workers", [1, 2], ids=["one-worker", "two-workers"])
def test_a_drain(workers: int, realtime: Realtime, gateway: StartGateway) -> None:
    """A session goes on while its gateway drains, and is cut with the deadline; the gateway ends, and has it logged."""
    deadline = "config:\n  connectionTerminationDeadline: 3s\n"
    route = ai_route("x", f'hostOverride: "127.0.0.1:{realtime.port}"', matches="{}")
    running = gateway(bind([route], top=deadline), workers=workers)
    with connect(f"ws://127.0.0.1:{running.port}/v1/realtime", proxy=None) as socket:
        assert json.loads(socket.recv())["type"] == "session.created"
        running.signal(signal.SIGTERM)
        running.wait_for_log("draining")
        socket.send(json.dumps({"type": "session.update", "session": {}}))
        assert json.loads(socket.recv())["type"] == "session.updated"
        with pytest.raises(ConnectionClosedError):
            socket.recv(timeout=20)
    assert running.wait() == 0
    assert "cut off" in running.log
    assert "http.status=101" in running.request_line("/v1/realtime")
