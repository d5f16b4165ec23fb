"""kgateway's guide to OpenAI-compatible providers on a machine without a cluster.

Its documents are piped through the shell verbatim, TLS included. The providers' names lead to stand-ins through
`--resolve`; their certificates are by a private CA that SSL_CERT_FILE names, so connecting, SNI and the check are real.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import StartStandIn
from tests.e2e.harness import environment, replace_text
from tests.e2e.manifests import GATEWAY, TORANA, ManifestGateway, guide, heredocs
from tests.e2e.stand_in import Script, StandIn
from tests.e2e.wire import Answer, post

KEYS = {"MISTRAL_API_KEY": "sk-of-mistral", "DEEPSEEK_API_KEY": "sk-of-deepseek"}
BODY = {
    "model": "",
    "messages": [{"role": "system", "content": "You are a poet."}, {"role": "user", "content": "Write a haiku."}],
}


NAMES = ("secret", "backend", "route", "tls")
"""Of files for the four documents of a provider."""
SERVICE_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat}
spec:
  parentRefs: [{name: gateway}]
  rules: [{backendRefs: [{name: chat, port: 80}]}]
"""


class Provider(NamedTuple):
    """What the guide promises of one provider."""

    name: str
    host: str
    model: str
    key: str
    answer: bytes


_ANSWERS = [answer.encode() for answer in guide().answers]
PROVIDERS = [
    Provider("mistral", "api.mistral.ai", "mistral-medium-2505", "sk-of-mistral", _ANSWERS[0]),
    Provider("deepseek", "api.deepseek.com", "deepseek-chat", "sk-of-deepseek", _ANSWERS[1]),
]
providers = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


class Running(NamedTuple):
    gateway: ManifestGateway
    stand_ins: dict[str, StandIn]


@pytest.fixture(scope="module")
def running(
    shared_stand_in: StartStandIn, trust: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The whole guide and a Gateway, as one would type it: heredocs, a pipe, and the command."""
    stand_ins = {provider.name: shared_stand_in(provider.host) for provider in PROVIDERS}
    script = f"{heredocs([*guide().documents, GATEWAY])} | {TORANA} kubernetes --manifests -"
    resolve = [word for provider in PROVIDERS for word in stand_ins[provider.name].resolve(provider.host, 443)]
    gateway = ManifestGateway(script, tmp_path_factory.mktemp("guide"), *resolve, env=KEYS | trust)
    yield Running(gateway, stand_ins)
    gateway.stop()
    print(f"--- the log:\n{gateway.log}")  # noqa: T201 - pytest shows it when the test has failed


def test_the_guide_has_eight_documents() -> None:
    """Nothing of the guide is left out: four documents for each of its two providers, and an answer each."""
    found = guide()
    assert len(found.documents) == 8
    assert len(found.answers) == 2


@providers
@pytest.mark.parametrize("below", ["", "/anything", "?a=b"])
def test_serves(provider: Provider, below: str, running: Running) -> None:
    """The provider gets its own path, Host, SNI, key and model; the client gets the sample answer byte for byte."""
    stand_in = running.stand_ins[provider.name]
    stand_in.forget()
    stand_in.script = _answer(provider.answer)
    answer = post(running.gateway.port, f"/{provider.name}{below}", BODY)
    assert (answer.status, answer.body) == (200, provider.answer)
    seen = stand_in.one
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen["host"] == provider.host
    assert seen.tls
    assert seen.sni == provider.host
    assert seen["authorization"] == f"Bearer {provider.key}"
    assert json.loads(seen.body) == BODY | {"model": provider.model}


def test_a_prefix_ends_at_a_slash(running: Running) -> None:
    """Gateway API: PathPrefix compares whole elements of a path, so /mistralx belongs to no route."""
    assert post(running.gateway.port, "/mistralx", BODY).status == 404


def test_no_key_is_told(running: Running) -> None:
    """A key of a Secret is in no dump of the configuration and in no line of the log."""
    told = json.dumps(running.gateway.config_dump()) + running.gateway.log
    assert not [key for key in KEYS.values() if key in told]


# --- Changes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mistral(
    stand_in: StartStandIn, trust: dict[str, str], tmp_path: Path
) -> Iterator[tuple[ManifestGateway, StandIn, Path]]:
    """Mistral's documents in a folder, a file each, served with a Gateway that is supplied."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for name, document in zip(NAMES, guide().documents[:4], strict=True):
        (folder / f"{name}.yaml").write_text(document.replace("$MISTRAL_API_KEY", "sk-first"))
    provider = stand_in("api.mistral.ai")
    script = f"{TORANA} kubernetes --manifests {folder} --implicit-gateway $GATEWAY_PORT"
    gateway = ManifestGateway(script, tmp_path, *provider.resolve("api.mistral.ai", 443), env=trust)
    yield gateway, provider, folder
    gateway.stop()
    print(f"--- the log:\n{gateway.log}")  # noqa: T201 - pytest shows it when the test has failed


def test_a_rotated_secret_is_live(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """A Secret that changes in its file is used by the next request, without a restart."""
    gateway, provider, folder = mistral
    assert _key_sent(gateway, provider) == "Bearer sk-first"
    _replace(folder / "secret.yaml", "sk-first", "sk-second")
    gateway.wait_for_log("configuration reloaded")
    assert _key_sent(gateway, provider) == "Bearer sk-second"


def test_a_broken_file_changes_nothing(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """A file that is refused is told with its place; what ran goes on, and the mended file takes effect."""
    gateway, provider, folder = mistral
    _replace(folder / "backend.yaml", "port: 443", "prot: 443")
    line = gateway.wait_for_log("backend.yaml:")
    assert 'spec.ai.llm.prot: unknown field; did you mean "port"?' in line
    assert _key_sent(gateway, provider) == "Bearer sk-first"
    _replace(folder / "secret.yaml", "sk-first", "sk-second")
    _replace(folder / "backend.yaml", "prot: 443", "port: 443")
    gateway.wait_for_log("configuration reloaded")
    assert _key_sent(gateway, provider) == "Bearer sk-second"


def test_a_new_file_is_seen(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """A file that is put into the folder, and one that is taken away, count without a restart."""
    gateway, provider, folder = mistral
    more = folder / "more" / "second.yaml"
    text = (folder / "route.yaml").read_text().replace("name: mistral\n  namespace", "name: second\n  namespace", 1)
    more.parent.mkdir()
    replace_text(more, text.replace("value: /mistral", "value: /second"))
    gateway.wait_for_log("configuration reloaded")
    assert post(gateway.port, "/second", BODY).status == 200
    provider.wait()
    more.unlink()
    gateway.wait_for_log("configuration reloaded", 2)
    assert post(gateway.port, "/second", BODY).status == 404


def test_a_folder_that_is_swapped(stand_in: StartStandIn, trust: dict[str, str], tmp_path: Path) -> None:
    """A ConfigMap that is mounted changes by a symbolic link two levels up, all files at once, and that is seen."""
    provider = stand_in("api.mistral.ai")
    folder = tmp_path / "mounted"
    for revision, key in (("..1", "sk-first"), ("..2", "sk-second")):
        (folder / revision).mkdir(parents=True)
        for name, document in zip(NAMES, guide().documents[:4], strict=True):
            (folder / revision / f"{name}.yaml").write_text(document.replace("$MISTRAL_API_KEY", key))
    (folder / "..data").symlink_to("..1")
    for name in NAMES:
        (folder / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    script = f"{TORANA} kubernetes {folder} --implicit-gateway $GATEWAY_PORT"
    with served(ManifestGateway(script, tmp_path, *provider.resolve("api.mistral.ai", 443), env=trust)) as gateway:
        assert _key_sent(gateway, provider) == "Bearer sk-first"
        (folder / "..next").symlink_to("..2")
        (folder / "..next").rename(folder / "..data")
        gateway.wait_for_log("configuration reloaded")
        assert _key_sent(gateway, provider) == "Bearer sk-second"


def test_a_refused_file_is_told_to_operators(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """While the newest files are refused the gateway is ready, says so, and its metric is 0."""
    gateway, _, folder = mistral
    assert gateway.get(gateway.readiness, "/healthz/ready").text == "ready\n"
    _replace(folder / "backend.yaml", "port: 443", "port: [")
    gateway.wait_for_log("is refused")
    ready = gateway.get(gateway.readiness, "/healthz/ready")
    assert (ready.status, ready.text[:12]) == (200, "ready; confi")
    assert "the newest is refused" in ready.text
    assert "agentgateway_config_synchronized 0.0" in gateway.metrics()
    _replace(folder / "backend.yaml", "port: [", "port: 443")
    gateway.wait_for_log("configuration reloaded")
    assert gateway.get(gateway.readiness, "/healthz/ready").text == "ready\n"


# --- Ports and Services ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hosts"),
    [("", ["127.0.0.1"]), ("--address 0.0.0.0", ["127.0.0.1", "127.0.0.2"]), ("--address 127.0.0.2", ["127.0.0.2"])],
    ids=["as it is", "all", "one"],
)
def test_addresses(words: str, hosts: list[str], tmp_path: Path) -> None:
    """Manifests are served on localhost alone, as the log says; --address chooses where instead."""
    file = tmp_path / "gateway.yaml"
    script = f"{TORANA} kubernetes {file} --port-map 80=$GATEWAY_PORT {words}"
    file.write_text(GATEWAY.replace("$GATEWAY_PORT", "80"))
    with served(ManifestGateway(script, tmp_path)) as gateway:
        assert [host for host in ("127.0.0.1", "127.0.0.2") if _open(host, gateway.port)] == hosts
        said = "0.0.0.0" if "0.0.0.0" in words else hosts[0]
        gateway.wait_for_log(f"is ready on {said}:{gateway.port}")


def test_a_taken_port(tmp_path: Path) -> None:
    """A port that cannot be opened ends the start, and the option that helps is told."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = "ADMIN_ADDR=off STATS_ADDR=off READINESS_ADDR=off"
        gateway = GATEWAY.replace("$GATEWAY_PORT", "80")
        done = _command(f"echo '{gateway}' | {words} {TORANA} kubernetes - --port-map 80={port}", tmp_path)
    assert done.returncode == 1
    assert f"torana: cannot listen on 127.0.0.1:{port}: Address already in use; --port-map 80={port + 1}" in done.stderr


def test_a_service(stand_in: StartStandIn, tmp_path: Path) -> None:
    """A Service's requests go where --resolve says, with the client's Host."""
    service = stand_in()
    file = tmp_path / "route.yaml"
    file.write_text(SERVICE_ROUTE)
    script = f"{TORANA} kubernetes {file} --implicit-gateway $GATEWAY_PORT"
    resolve = f"--resolve=chat.default:80=127.0.0.1:{service.port}"
    with served(ManifestGateway(script, tmp_path, resolve)) as gateway:
        assert post(gateway.port, "/x", BODY).status == 200
        assert service.one["host"] == f"127.0.0.1:{gateway.port}"


# --- Validating -----------------------------------------------------------------------------------------------------


def test_validates_for_ci(tmp_path: Path) -> None:
    """The whole guide is good: a table with every object, and exit code 0; no socket is opened."""
    done = _command(
        f"{heredocs([*guide().documents, GATEWAY])} | {TORANA} kubernetes --validate-only --manifests -", tmp_path
    )
    assert done.returncode == 0, done
    rows = [line.split()[:4] for line in done.stdout.splitlines()]
    assert ["Backend", "gloo-system", "mistral", "True"] in rows
    assert ["HTTPRoute", "gloo-system", "deepseek", "True"] in rows


def test_a_missing_key_fails_in_ci(tmp_path: Path) -> None:
    """With the variable of a key unset the Secret has no value: the Backend is not accepted, and the exit code is 1."""
    script = f"unset MISTRAL_API_KEY; {heredocs([*guide().documents, GATEWAY])} | {TORANA} status --manifests -"
    done = _command(script, tmp_path)
    assert done.returncode == 1, done
    row = next(line for line in done.stdout.splitlines() if line.split()[:3] == ["Backend", "gloo-system", "mistral"])
    assert row.split()[3] == "False"
    assert "mistral-secret" in row


def test_explains(tmp_path: Path) -> None:
    """What would happen to a request is told of manifests too, its key masked."""
    words = "--implicit-gateway 8080 --manifests - -d '{}' http://localhost:8080/mistral"
    done = _command(f"{heredocs(guide().documents)} | {TORANA} explain {words}", tmp_path)
    assert done.returncode == 0, done
    assert "SNI api.mistral.ai" in done.stdout
    assert "authorization: Bearer ***" in done.stdout


def _command(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        env=environment(KEYS | {"GATEWAY_PORT": "8080"}, folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def served(gateway: ManifestGateway) -> Iterator[ManifestGateway]:
    """The gateway for a while; its log is what pytest shows when the test has failed."""
    try:
        yield gateway
    finally:
        gateway.stop()
        print(f"--- the log:\n{gateway.log}")  # noqa: T201


def _open(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


def _answer(body: bytes) -> Script:
    return lambda visit: visit.reply(200, [("Content-Type", "application/json")], body)


def _key_sent(gateway: ManifestGateway, provider: StandIn) -> str | None:
    provider.forget()
    answer: Answer = post(gateway.port, "/mistral", BODY)
    assert answer.status == 200, answer
    return provider.one["authorization"]


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    replace_text(file, text.replace(old, new))


# --- Anthropic ------------------------------------------------------------------------------------------------------

CLAUDE = """
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: claude}}
spec:
  type: AI
  ai:
    llm:
      anthropic: {{authToken: {{kind: Inline, inline: sk-ant}}, model: claude-1, apiVersion: "2099-01-01"}}
      host: 127.0.0.1
      port: {port}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{{name: gateway}}]
  rules: [{{backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: claude}}]}}]
"""


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_anthropic(path: str, stand_in: StartStandIn, tmp_path: Path) -> None:
    """Whatever API the client speaks, Anthropic is asked by its own, with the Backend's key, version and model."""
    provider = stand_in()
    content = [{"type": "text", "text": "Hello"}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "1", "type": "message", "role": "assistant", "model": "claude-1", "content": content}
    provider.script = lambda visit: visit.document(200, message | {"stop_reason": "end_turn", "usage": usage})
    (tmp_path / "manifests.yaml").write_text(CLAUDE.format(port=provider.port))
    script = f"{TORANA} kubernetes {tmp_path}/manifests.yaml --implicit-gateway $GATEWAY_PORT"
    theirs = {"Authorization": "Bearer sk-of-the-client", "anthropic-version": "2023-06-01"}
    body = {"model": "", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    with served(ManifestGateway(script, tmp_path)) as gateway:
        assert post(gateway.port, path, body, theirs).status == 200
    seen = provider.one
    assert seen.line == "POST /v1/messages HTTP/1.1"
    assert [seen["x-api-key"], seen["anthropic-version"], seen["authorization"]] == ["sk-ant", "2099-01-01", None]
    assert seen.json()["model"] == "claude-1"
