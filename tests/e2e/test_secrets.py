"""Canaries: secrets that can be told from all else are planted everywhere, all is exercised, and none comes out."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, command, environment
from tests.e2e.routes import ai_route, bind, host_route
from tests.e2e.stand_in import StandIn, Visit, delta
from tests.e2e.wire import Connection, IncompleteError, ask, post
from tests.ports import free_port

HOST = "hostOverride: provider.example"


class Planted(NamedTuple):
    """A gateway with secrets in all places, and the secrets: what must never be found, by where it was planted."""

    gateway: Gateway
    provider: StandIn
    secure_port: int
    canaries: dict[str, list[str]]
    env: dict[str, str]


def canary(place: str) -> str:
    return f"canary-{place}-{uuid.uuid4().hex}"


@pytest.fixture(params=["text", "json"])
def planted(
    request: pytest.FixtureRequest, gateway: StartGateway, stand_in: StartStandIn, ca: trustme.CA, tmp_path: Path
) -> Planted:
    provider = stand_in()
    secrets = {place: canary(place) for place in ("env", "file", "header", "query", "cookie", "literal", "default")}
    env = {f"{place.upper()}_KEY": secrets[place] for place in ("env", "header", "query", "cookie")}
    (tmp_path / "key").write_text(secrets["file"] + "\n")
    leaf = ca.issue_cert("gateway.example")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    pem = [line for line in leaf.private_key_pem.bytes().decode().splitlines() if "-----" not in line]
    location = "backendAuth: {{key: {{value: ${}_KEY, location: {{{}}}}}}}".format
    secure_port = free_port()
    routes = [
        ai_route("env", HOST, "backendAuth: {key: $ENV_KEY}"),
        ai_route("file", HOST, f"backendAuth: {{key: {{file: {tmp_path}/key}}}}"),
        ai_route("header", HOST, location("HEADER", "header: {name: x-api-key}")),
        ai_route("query", HOST, location("QUERY", "queryParameter: {name: key}")),
        ai_route("cookie", HOST, location("COOKIE", "cookie: {name: session}")),
        ai_route("literal", HOST, f"backendAuth: {{key: {secrets['literal']}}}"),
        ai_route("default", HOST, f'backendAuth: {{key: "${{NO_KEY:-{secrets["default"]}}}"}}'),
        ai_route("none", HOST),
        host_route("plain", "provider.example:80", "backendAuth: {key: $ENV_KEY}"),
        ai_route("refused", 'hostOverride: "127.0.0.1:1"', "backendAuth: {key: $ENV_KEY}"),
        ai_route("slow", HOST, "backendAuth: {key: $QUERY_KEY}, timeout: {requestTimeout: 100ms}"),
    ]
    text = bind(routes) + (
        f"- port: {secure_port}\n  listeners:\n  - protocol: HTTPS\n"
        f"    tls: {{cert: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}\n"
        "    routes: [{policies: {directResponse: {status: 200}}}]\n"
        f"config:\n  logging: {{level: debug, format: {request.param}}}\n"
    )
    running = gateway(text, *provider.resolve("provider.example", 80), env=env)
    client = {"client": [canary("client")], "prompt": [canary("prompt")], "pem": pem}
    return Planted(running, provider, secure_port, {name: [text] for name, text in secrets.items()} | client, env)


def test_canaries(planted: Planted, ca: trustme.CA, tmp_path: Path) -> None:
    """No secret is in a log line, a metric, the dump, what `explain` says, or an answer; nor is a prompt in the log."""
    gateway, provider = planted.gateway, planted.provider
    answers = exercise(planted)
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with Connection(planted.secure_port, tls=context, name="gateway.example") as connection:
        assert connection.ask("GET", "/").status == 200

    # the secrets really were in use
    sent = [text for seen in provider.seen for text in (seen.target, *(text for _, text in seen.headers))]
    for place, (secret, *_) in planted.canaries.items():
        if place not in ("pem", "prompt"):
            assert any(secret in text for text in sent), f"the secret of `{place}` never reached the upstream"

    texts = {f"answer {number}": text for number, text in enumerate(answers)}
    texts["metrics"] = gateway.metrics()
    texts["config_dump"] = gateway.get(gateway.admin, "/config_dump").text
    texts["explain"] = explain(planted, tmp_path)
    texts["refused reload"] = refuse(planted)
    texts["log"] = gateway.log
    for where, text in texts.items():
        for place, secrets in planted.canaries.items():
            for secret in secrets:
                assert secret not in text, f"the secret of `{place}` is in {where}"
    assert "***" in texts["config_dump"]
    assert "***" in texts["explain"]


def exercise(planted: Planted) -> list[str]:
    """Success and every kind of failure, on every route; the answers that the gateway made itself."""
    port, provider = planted.gateway.port, planted.provider
    headers = {"Authorization": f"Bearer {planted.canaries['client'][0]}", "Cookie": "a=1"}
    body: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": planted.canaries["prompt"][0]}]}
    places = ("env", "file", "header", "query", "cookie", "literal", "default", "none")
    for place in places:
        path = f"/{place}/v1/chat/completions"
        assert post(port, path, body, headers).status == 200
        assert post(port, path, {**body, "stream": True}, headers).status == 200
    assert ask(port, "GET", "/plain/x", headers).status == 200

    answers = []

    def expect(status: int, path: str, document: object = body) -> None:
        answer = post(port, path, document, headers)
        assert answer.status == status, answer
        answers.append(f"{answer.headers} {answer.body!r}")

    expect(503, "/refused/v1/chat/completions")
    expect(404, "/nowhere")
    expect(400, "/env/v1/chat/completions", b'{"messages": ' + planted.canaries["prompt"][0].encode())
    provider.script = Visit.stall
    expect(504, "/slow/v1/chat/completions")
    for script in (_garbage, Visit.close, Visit.reset):
        provider.script = script
        for place in places:
            expect(502, f"/{place}/v1/chat/completions")
    provider.script = _dies
    stream = {**body, "stream": True}
    return [*answers, *(broken_stream(planted, f"/{place}/v1/chat/completions", headers, stream) for place in places)]


def _garbage(visit: Visit) -> None:
    visit.send(b"this is no HTTP\r\n\r\n")
    visit.stall()


def _dies(visit: Visit) -> None:
    visit.begin()
    visit.event(delta("Hello"))
    visit.close()


def broken_stream(planted: Planted, path: str, headers: dict[str, str], body: dict[str, object]) -> str:
    text = b""
    with Connection(planted.gateway.port) as connection:
        connection.request("POST", path, headers, json.dumps(body).encode())
        connection.start()
        with pytest.raises(IncompleteError):
            text += _rest(connection)
    return text.decode()


def _rest(connection: Connection) -> bytes:
    text = b""
    while chunk := connection.reader.chunk():
        text += chunk
    return text


def explain(planted: Planted, folder: Path) -> str:
    """What `explain` says of each route, in both of its forms."""
    said = ""
    for form in ([], ["--json"]):
        for place in ("env", "query", "cookie", "header"):
            url = f"http://gateway.example:{planted.gateway.port}/{place}/v1/chat/completions"
            client = f"Authorization: Bearer {planted.canaries['client'][0]}"
            words = command(
                "explain", "-f", str(planted.gateway.file), url, "-H", client, "-d", '{"model": "m"}', *form
            )
            done = subprocess.run(
                words, env=environment(planted.env, folder), capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done
            said += done.stdout + done.stderr
    return said


def refuse(planted: Planted) -> str:
    """Reloads that fail at the very places where a secret stands."""
    gateway = planted.gateway
    text = gateway.file.read_text()
    faults = [
        text.replace("backendAuth: {key: $ENV_KEY}", "backendAuth: {kez: $ENV_KEY}"),
        text.replace(
            "backendAuth: {key: $ENV_KEY}", "backendTLS: {hostname: $ENV_KEY }, backendAuth: {key: [$ENV_KEY]}"
        ),
        text.replace("hostOverride: provider.example", "hostOverride: 'http://$ENV_KEY/x/y'"),
        text.replace("$QUERY_KEY", "$QUERY_KEY: {"),
        text.replace(f"key: {planted.canaries['literal'][0]}", f"key: {planted.canaries['literal'][0]}, oops: 1"),
    ]
    for fault in faults:
        assert fault != text
        gateway.reload(fault, "is refused, the former one stays")
    return gateway.log


def test_prometheus_labels_hold_no_query(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A client's query, which may hold keys, is in no log line and no metric."""
    provider = stand_in()
    running = gateway(bind([host_route("x", "provider.example:80")]), *provider.resolve("provider.example", 80))
    secret = canary("query")
    assert ask(running.port, "GET", f"/x/logged?key={secret}").status == 200
    assert ask(running.port, "GET", f"/elsewhere?key={secret}").status == 404
    running.request_line("/x/logged")
    running.wait_for_log(re.compile("http.status=404"))
    assert secret not in running.log
    assert secret not in running.metrics()
